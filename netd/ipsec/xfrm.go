package ipsec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	netlinksocket "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// xfrm is the kernel's side: policies and security associations.
type xfrm struct{ handle *netlink.Handle }

// openXFRM opens a socket to the kernel, in the network namespace of the
// thread.
func openXFRM() (xfrm, error) {
	h, err := netlink.NewHandle(unix.NETLINK_XFRM)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return xfrm{}, fmt.Errorf("ipsec: the kernel lacks XFRM (CONFIG_XFRM_USER, module xfrm_user): %w", err)
	}
	if err != nil {
		return xfrm{}, fmt.Errorf("ipsec: %w", err)
	}
	return xfrm{h}, nil
}

func (x xfrm) close() { x.handle.Close() }

// policies are netd's in the kernel. They are known by their number and by
// having the priority 0, which charon gives none of its own; flannel's look
// the same and are taken over.
func (x xfrm) policies() ([]Policy, error) {
	all, err := x.handle.XfrmPolicyList(netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("xfrm policies: %w", err)
	}
	var own []Policy
	for _, p := range all {
		if p.Dir > netlink.Dir(Forward) || p.Priority != 0 || len(p.Tmpls) != 1 {
			continue // those of sockets have higher numbers
		}
		t := p.Tmpls[0]
		if t.Reqid != ReqID || t.Proto != netlink.XFRM_PROTO_ESP || t.Mode != netlink.XFRM_MODE_TUNNEL {
			continue
		}
		policy := Policy{Direction: Direction(p.Dir), Src: prefix(p.Src), Dst: prefix(p.Dst), From: addr(t.Src), To: addr(t.Dst)}
		if p.Action != netlink.XFRM_POLICY_ALLOW || t.Optional != 0 || p.Ifindex != 0 || p.Proto != 0 {
			policy.From = netip.Addr{} // somebody changed it: like none that is wanted
		}
		own = append(own, policy)
	}
	return own, nil
}

// spis are the numbers of the security associations of netd's policies.
func (x xfrm) spis() (map[uint32]bool, error) {
	all, err := x.handle.XfrmStateList(netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("xfrm states: %w", err)
	}
	spis := make(map[uint32]bool, len(all))
	for _, s := range all {
		if s.Reqid == ReqID && s.Proto == netlink.XFRM_PROTO_ESP {
			spis[uint32(s.Spi)] = true
		}
	}
	return spis, nil
}

// set adds a policy, or replaces the one for the same packets.
func (x xfrm) set(p Policy) error {
	if err := x.handle.XfrmPolicyUpdate(p.kernel()); err != nil {
		return fmt.Errorf("set %s: %w", p, err)
	}
	return nil
}

// drop removes a policy.
func (x xfrm) drop(p Policy) error {
	if err := x.handle.XfrmPolicyDel(p.kernel()); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s: %w", p, err)
	}
	return nil
}

// kernel is the policy in the kernel's terms.
func (p Policy) kernel() *netlink.XfrmPolicy {
	return &netlink.XfrmPolicy{
		Src: ipNet(p.Src), Dst: ipNet(p.Dst), Dir: netlink.Dir(p.Direction), Action: netlink.XFRM_POLICY_ALLOW,
		Tmpls: []netlink.XfrmPolicyTmpl{{
			Src: p.From.AsSlice(), Dst: p.To.AsSlice(),
			Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL, Reqid: ReqID,
		}},
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefix and addr are zero for what is not IPv4.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr(n.IP), ones)
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip.To4())
	return a
}

// A monitor tells when policies or security associations change.
type monitor struct{ conn *netlinksocket.Conn }

// openMonitor subscribes, in the network namespace of the thread.
func openMonitor() (monitor, error) {
	conn, err := netlinksocket.Dial(unix.NETLINK_XFRM, nil)
	if err != nil {
		return monitor{}, fmt.Errorf("subscribe to xfrm: %w", err)
	}
	for _, group := range []uint32{nl.XFRMNLGRP_SA, nl.XFRMNLGRP_POLICY} {
		if err := conn.JoinGroup(group); err != nil {
			conn.Close()
			return monitor{}, fmt.Errorf("subscribe to xfrm: %w", err)
		}
	}
	return monitor{conn}, nil
}

// run calls changed after each change, until ctx ends.
func (m monitor) run(ctx context.Context, changed func()) error {
	defer m.conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		_, err := m.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, unix.ENOBUFS): // then something was missed
			return fmt.Errorf("xfrm events: %w", err)
		}
		changed()
	}
}

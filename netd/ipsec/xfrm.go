package ipsec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/kernel/socket"
)

// xfrm is the kernel's side: policies and security associations.
type xfrm struct{ conn *socket.Conn }

// openXFRM opens a socket to the kernel, in the network namespace of the
// thread.
func openXFRM() (xfrm, error) {
	conn, err := socket.Open(unix.NETLINK_XFRM)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return xfrm{}, fmt.Errorf("ipsec: the kernel lacks XFRM (CONFIG_XFRM_USER, module xfrm_user): %w", err)
	}
	if err != nil {
		return xfrm{}, fmt.Errorf("ipsec: %w", err)
	}
	return xfrm{conn}, nil
}

// dump calls each with all messages of a kind, anew after reset when they have
// changed meanwhile; under a constant stream of changes it gives up.
func (x xfrm) dump(kind int, reset func(), each func(b []byte)) (err error) {
	for range 20 {
		reset()
		if err = x.conn.Dump(nl.NewNetlinkRequest(kind, 0), each); !errors.Is(err, socket.ErrInterrupted) {
			return err
		}
	}
	return err
}

// policies are netd's in the kernel. They are known by their number and by
// having the priority 0, which charon gives none of its own; flannel's look
// the same and are taken over.
func (x xfrm) policies() (own []Policy, err error) {
	err = x.dump(nl.XFRM_MSG_GETPOLICY, func() { own = own[:0] }, func(b []byte) {
		if p, ok := decodePolicy(b); ok {
			own = append(own, p)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("xfrm policies: %w", err)
	}
	return own, nil
}

// decodePolicy reads an XFRM_MSG_NEWPOLICY message; not ok is one that is not
// netd's.
func decodePolicy(b []byte) (p Policy, ok bool) {
	if len(b) < nl.SizeofXfrmUserpolicyInfo {
		return p, false
	}
	m := nl.DeserializeXfrmUserpolicyInfo(b)
	if m.Sel.Family != unix.AF_INET || m.Priority != 0 || m.Dir > uint8(Forward) {
		return p, false // those of sockets have higher numbers
	}
	var t *nl.XfrmUserTmpl
	socket.Attributes(b[nl.SizeofXfrmUserpolicyInfo:], func(kind uint16, v []byte) {
		if kind == uint16(nl.XFRMA_TMPL) && len(v) == nl.SizeofXfrmUserTmpl { // one, not several
			t = nl.DeserializeXfrmUserTmpl(v)
		}
	})
	if t == nil || t.Reqid != ReqID || t.XfrmId.Proto != unix.IPPROTO_ESP || t.Mode != uint8(netlink.XFRM_MODE_TUNNEL) {
		return p, false
	}
	p = Policy{Direction: Direction(m.Dir), Src: netip.PrefixFrom(address(m.Sel.Saddr), int(m.Sel.PrefixlenS)),
		Dst:  netip.PrefixFrom(address(m.Sel.Daddr), int(m.Sel.PrefixlenD)),
		From: address(t.Saddr), To: address(t.XfrmId.Daddr), Index: m.Index}
	if m.Action != uint8(netlink.XFRM_POLICY_ALLOW) || t.Optional != 0 || m.Sel.Ifindex != 0 || m.Sel.Proto != 0 {
		p.From = netip.Addr{} // somebody changed it: like none that is wanted
	}
	return p, true
}

// address is an IPv4 address of the kernel's.
func address(a nl.XfrmAddress) netip.Addr { return netip.AddrFrom4([4]byte(a[:4])) }

// spis are the numbers of the security associations of netd's policies.
func (x xfrm) spis() (map[uint32]bool, error) {
	spis := map[uint32]bool{}
	err := x.dump(nl.XFRM_MSG_GETSA, func() { clear(spis) }, func(b []byte) {
		if len(b) < nl.SizeofXfrmUsersaInfo {
			return
		}
		m := nl.DeserializeXfrmUsersaInfo(b)
		if m.Family == unix.AF_INET && m.Reqid == ReqID && m.Id.Proto == unix.IPPROTO_ESP {
			spis[nl.Swap32(m.Id.Spi)] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("xfrm states: %w", err)
	}
	return spis, nil
}

// set adds policies, or replaces those for the same packets.
func (x xfrm) set(policies []Policy) error {
	const size = nl.SizeofXfrmUserpolicyInfo + unix.SizeofRtAttr + nl.SizeofXfrmUserTmpl
	return x.change(policies, "set", nl.XFRM_MSG_UPDPOLICY, size, 0, func(_ int, p Policy, b []byte) {
		m := nl.DeserializeXfrmUserpolicyInfo(b)
		m.Sel, m.Dir, m.Action = p.kernel(), uint8(p.Direction), uint8(netlink.XFRM_POLICY_ALLOW)
		m.Lft.SoftByteLimit, m.Lft.HardByteLimit = nl.XFRM_INF, nl.XFRM_INF
		m.Lft.SoftPacketLimit, m.Lft.HardPacketLimit = nl.XFRM_INF, nl.XFRM_INF
		b = b[nl.SizeofXfrmUserpolicyInfo:]
		binary.NativeEndian.PutUint16(b, uint16(len(b)))
		binary.NativeEndian.PutUint16(b[2:], uint16(nl.XFRMA_TMPL))
		t := nl.DeserializeXfrmUserTmpl(b[unix.SizeofRtAttr:])
		t.Family, t.Reqid, t.Mode = unix.AF_INET, ReqID, uint8(netlink.XFRM_MODE_TUNNEL)
		t.Aalgos, t.Ealgos, t.Calgos = ^uint32(0), ^uint32(0), ^uint32(0)
		t.XfrmId.Proto = unix.IPPROTO_ESP
		copy(t.XfrmId.Daddr[:], p.To.AsSlice())
		copy(t.Saddr[:], p.From.AsSlice())
	})
}

// drop removes policies.
//
// They are named by their numbers. For each that is named by what it is for,
// the kernel walks all that are left of its direction, to tidy up its trees
// (net/xfrm/xfrm_policy.c, xfrm_policy_bysel_ctx): 1.6 ms each where 10,000
// peers are. So only the last of a direction is, and tidies up behind the
// others.
func (x xfrm) drop(policies []Policy) error {
	last := map[Direction]int{}
	for i, p := range policies {
		last[p.Direction] = i
	}
	return x.change(policies, "remove", nl.XFRM_MSG_DELPOLICY, nl.SizeofXfrmUserpolicyId, unix.ENOENT, func(i int, p Policy, b []byte) {
		m := nl.DeserializeXfrmUserpolicyId(b)
		m.Sel, m.Dir = p.kernel(), uint8(p.Direction)
		if last[p.Direction] != i {
			m.Index = p.Index
		}
	})
}

// atOnce is how many messages are made before they are sent: those of some
// thousand peers would take as many megabytes.
const atOnce = 1000

// change sends a message of a kind and size in bytes for each policy, which
// write fills in; one that fails does not keep the others from being sent. An
// answer that is benign is no failure.
func (x xfrm) change(policies []Policy, verb string, kind uint16, size int, benign unix.Errno, write func(int, Policy, []byte)) error {
	var errs []error
	for first := 0; first < len(policies); first += atOnce {
		part := policies[first:min(first+atOnce, len(policies))]
		data := make([]byte, size*len(part))
		requests, send := make([]nl.NetlinkRequest, len(part)), make([]*nl.NetlinkRequest, len(part))
		for i, p := range part {
			r := &requests[i]
			r.Type, r.Flags, r.RawData, send[i] = kind, unix.NLM_F_REQUEST, data[i*size:(i+1)*size], r
			write(first+i, p, r.RawData)
		}
		answers, err := x.conn.Batch(send)
		for i, answer := range answers {
			if answer != nil && !errors.Is(answer, benign) {
				errs = append(errs, fmt.Errorf("%s %s: %w", verb, part[i], answer))
			}
		}
		if err != nil {
			return summary(append(errs, fmt.Errorf("%s xfrm policies: %w", verb, err)))
		}
	}
	return summary(errs)
}

// kernel is what the policy is for, in the kernel's terms.
func (p Policy) kernel() (s nl.XfrmSelector) {
	s.Family, s.PrefixlenS, s.PrefixlenD = unix.AF_INET, uint8(p.Src.Bits()), uint8(p.Dst.Bits())
	copy(s.Saddr[:], p.Src.Addr().AsSlice())
	copy(s.Daddr[:], p.Dst.Addr().AsSlice())
	return s
}

// listen subscribes to changes of policies and security associations, in the
// network namespace of the thread; netd's own are not among them.
func (x xfrm) listen() (*socket.Listener, error) {
	l, err := x.conn.Listen(unix.NETLINK_XFRM, []int{nl.XFRMNLGRP_SA, nl.XFRMNLGRP_POLICY},
		nl.XFRM_MSG_NEWPOLICY, nl.XFRM_MSG_UPDPOLICY, nl.XFRM_MSG_DELPOLICY)
	if err != nil {
		return nil, fmt.Errorf("subscribe to xfrm: %w", err)
	}
	return l, nil
}

// hear calls changed after each change, until ctx ends.
func hear(ctx context.Context, l *socket.Listener, changed func()) error {
	for _, err := range l.Datagrams(ctx) {
		if err != nil && !errors.Is(err, socket.ErrLost) { // what was lost is news, too
			return fmt.Errorf("xfrm events: %w", err)
		}
		changed()
	}
	return nil
}

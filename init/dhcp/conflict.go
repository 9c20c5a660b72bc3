package dhcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// An ARP packet for Ethernet and IPv4 (RFC 826).
const (
	arpSize    = 28
	arpRequest = 1
	arpReply   = 2
)

// watchFor is how long answers to the probe of a new address are waited for;
// RFC 5227 section 2.1.1 takes about as long for all its probes.
//
// The address is used meanwhile. To wait first, as RFC 5227 wants it, would
// cost every boot seconds for a fault that is rare; an address that proves to
// be taken is given up at once.
const watchFor = 3 * time.Second

// probe is an ARP probe (RFC 5227 section 1.1): a question for an address
// that names no address of its own, so that it changes nobody's table.
func probe(mac net.HardwareAddr, address netip.Addr) []byte {
	p := make([]byte, arpSize)
	copy(p, []byte{0, 1, 8, 0, 6, 4, 0, arpRequest}) // Ethernet, IPv4
	copy(p[8:14], mac)
	target := address.As4()
	copy(p[24:28], target[:])
	return p
}

// claims reports whether an ARP packet says that a machine other than mac
// uses address, and which.
func claims(p []byte, mac net.HardwareAddr, address netip.Addr) (net.HardwareAddr, bool) {
	if len(p) < arpSize || !bytes.Equal(p[:6], []byte{0, 1, 8, 0, 6, 4}) {
		return nil, false
	}
	if op := binary.BigEndian.Uint16(p[6:]); op != arpRequest && op != arpReply {
		return nil, false
	}
	sender, target := net.HardwareAddr(bytes.Clone(p[8:14])), address.As4()
	return sender, bytes.Equal(p[14:18], target[:]) && !bytes.Equal(sender, mac)
}

// watch asks who has an address and calls taken for a machine that answers,
// within watchFor.
func watch(ctx context.Context, link Link, address netip.Addr, taken func(net.HardwareAddr)) error {
	fail := func(err error) error {
		return fmt.Errorf("address %s on %s: ask who has it: %w", address, link.Name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap16(unix.ETH_P_ARP), Ifindex: link.Index}); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	sock := os.NewFile(uintptr(fd), "arp:"+link.Name)
	defer sock.Close()
	to := unix.SockaddrLinklayer{
		Protocol: swap16(unix.ETH_P_ARP), Ifindex: link.Index, Halen: 6,
		Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	if err := unix.Sendto(fd, probe(link.MAC, address), 0, &to); err != nil {
		return fail(err)
	}
	if err := sock.SetReadDeadline(time.Now().Add(watchFor)); err != nil {
		return fail(err)
	}
	defer context.AfterFunc(ctx, func() { sock.Close() })()
	buf := make([]byte, 128)
	for {
		n, err := sock.Read(buf)
		if err != nil {
			return nil // the time is over, or the link went away
		}
		// Linux answers for an address on every device of the node.
		if by, yes := claims(buf[:n], link.MAC, address); yes && !ours(by) {
			taken(by)
			return nil
		}
	}
}

// ours reports whether a hardware address is one of the node's own devices.
func ours(mac net.HardwareAddr) bool {
	devices, err := net.Interfaces()
	return err == nil && slices.ContainsFunc(devices, func(d net.Interface) bool { return bytes.Equal(d.HardwareAddr, mac) })
}

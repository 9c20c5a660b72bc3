package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
)

// A Link is the network device a client works on.
type Link struct {
	// Index and Name are the kernel's, MAC is its hardware address.
	Index int
	Name  string
	MAC   net.HardwareAddr
}

// A Client runs a machine on a link.
type Client struct {
	// Link is the device.
	Link Link
	// Machine is the protocol.
	Machine *Machine
	// Carrier tells when the link comes up and goes down.
	Carrier <-chan bool
	// Lease is called with each lease and the time it counts from.
	Lease func(l Lease, since time.Time)
	// Lost is called when the lease no longer holds, with the reason.
	Lost func(l Lease, why string)
	// Problem is called when a message cannot be sent.
	Problem func(error)
}

// Run works until ctx ends. It returns early only when the link cannot be
// listened to.
func (c Client) Run(ctx context.Context) error {
	sock, err := open(c.Link)
	if err != nil {
		return err
	}
	defer sock.Close()
	messages := make(chan *dhcpv4.DHCPv4)
	go receive(ctx, sock, messages)
	conflicts := make(chan conflict)

	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	up := false
	for {
		if next, ok := c.Machine.Next(); ok {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		held, _, _ := c.Machine.Lease()
		var actions []Action
		select {
		case <-ctx.Done():
			return nil
		case carrier := <-c.Carrier:
			if carrier == up {
				continue
			}
			if up = carrier; up {
				actions = c.Machine.LinkUp(time.Now())
			} else {
				c.Machine.LinkDown()
			}
		case m := <-messages:
			actions = c.Machine.Receive(time.Now(), m)
		case taken := <-conflicts:
			actions = c.Machine.Conflict(time.Now(), taken.address, taken.by)
		case <-timer.C:
			actions = c.Machine.Timeout(time.Now())
		}
		for _, a := range actions {
			c.do(sock, a, held)
			if a.Lease != nil && a.Lease.Address.Addr() != held.Address.Addr() {
				go c.watch(ctx, a.Lease.Address.Addr(), conflicts)
			}
		}
	}
}

// conflict is an address that another machine uses.
type conflict struct {
	address netip.Addr
	by      net.HardwareAddr
}

// watch tells whether another machine uses an address that is new.
func (c Client) watch(ctx context.Context, address netip.Addr, conflicts chan<- conflict) {
	err := watch(ctx, c.Link, address, func(by net.HardwareAddr) {
		select {
		case conflicts <- conflict{address, by}:
		case <-ctx.Done():
		}
	})
	if err != nil {
		c.Problem(err)
	}
}

// do carries out one action; held is the lease before it.
func (c Client) do(sock *os.File, a Action, held Lease) {
	switch {
	case a.Lease != nil:
		_, since, _ := c.Machine.Lease()
		c.Lease(*a.Lease, since)
	case a.Lost != "":
		c.Lost(held, a.Lost)
	case a.Send != nil && a.To.IsValid():
		if err := unicast(c.Link.Name, a.Send, a.To); err != nil {
			c.Problem(fmt.Errorf("dhcp on %s: renew from %s: %w", c.Link.Name, a.To, err))
		}
	case a.Send != nil:
		if err := broadcast(sock, c.Link.Index, a.Send); err != nil {
			c.Problem(fmt.Errorf("dhcp on %s: %w", c.Link.Name, err))
		}
	}
}

// open opens a packet socket that sees the IPv4 packets of one link, filtered
// in the kernel to UDP for the client's port.
func open(link Link) (*os.File, error) {
	// Protocol 0: no packet is queued before filter and device are set.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("dhcp on %s: socket: %w", link.Name, err)
	}
	filter := clientFilter
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("dhcp on %s: filter: %w", link.Name, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap16(unix.ETH_P_IP), Ifindex: link.Index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("dhcp on %s: bind: %w", link.Name, err)
	}
	return os.NewFile(uintptr(fd), "dhcp:"+link.Name), nil
}

// clientFilter is classic BPF (Documentation/networking/filter.rst) over the
// IPv4 packet: protocol UDP, no later fragment, destination port 68.
var clientFilter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 6},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x1fff, Jt: 4},
	{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: clientPort, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// swap16 turns a protocol number into network byte order. Both architectures
// weft runs on are little-endian.
func swap16(v uint16) uint16 { return v<<8 | v>>8 }

// receive passes on the messages that arrive until ctx ends or the socket is
// closed.
func receive(ctx context.Context, sock *os.File, messages chan<- *dhcpv4.DHCPv4) {
	buf := make([]byte, maxPacket)
	for {
		n, err := sock.Read(buf)
		if err != nil {
			// A link that goes down is an error once (ENETDOWN); the socket
			// works again when it comes back.
			if ctx.Err() != nil || !isNetDown(err) {
				return
			}
			continue
		}
		m, err := unwrap(buf[:n])
		if err != nil {
			continue
		}
		select {
		case messages <- m:
		case <-ctx.Done():
			return
		}
	}
}

// broadcast sends a message to everyone on the link.
func broadcast(sock *os.File, index int, m *dhcpv4.DHCPv4) error {
	to := unix.SockaddrLinklayer{
		Protocol: swap16(unix.ETH_P_IP), Ifindex: index, Halen: 6,
		Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	packet := wrap(m.ToBytes())
	var sent error
	err = raw.Control(func(fd uintptr) { sent = unix.Sendto(int(fd), packet, 0, &to) })
	if err != nil {
		return err
	}
	if sent != nil {
		return fmt.Errorf("send: %w", sent)
	}
	return nil
}

// unicast sends a message to a server from the client's own address. The
// answer is read from the packet socket like any other.
func unicast(device string, m *dhcpv4.DHCPv4, to netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.BindToDevice(fd, device); err != nil {
		return err
	}
	from, ok := v4(m.ClientIPAddr)
	if !ok {
		return fmt.Errorf("no address of its own")
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: clientPort, Addr: from.As4()}); err != nil {
		return err
	}
	return unix.Sendto(fd, m.ToBytes(), 0, &unix.SockaddrInet4{Port: serverPort, Addr: to.As4()})
}

// isNetDown reports whether a read failed because the link is down.
func isNetDown(err error) bool { return errors.Is(err, unix.ENETDOWN) }

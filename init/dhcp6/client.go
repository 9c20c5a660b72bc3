package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/sys/unix"
)

// Ports and the address of all servers and relays (RFC 8415 section 7.1, 7.2).
const (
	clientPort = 546
	serverPort = 547
)

var allServers = net.ParseIP("ff02::1:2")

// maxPacket is the longest message taken, in bytes: what fits any link.
const maxPacket = 64 << 10

// A Client runs a machine on a link.
type Client struct {
	// Device is the link's name.
	Device string
	// Machine is the protocol.
	Machine *Machine
	// Carrier tells when the link comes up and goes down, Modes what its
	// routers want.
	Carrier <-chan bool
	Modes   <-chan Mode
	// Lease is called with each lease and the time it counts from.
	Lease func(l Lease, since time.Time)
	// Lost is called when the lease no longer holds, with the reason.
	Lost func(l Lease, why string)
	// Problem is called when a message cannot be sent.
	Problem func(error)
}

// Run works until ctx ends. It opens its socket only when a router first asks
// for it: most links have no such server.
func (c Client) Run(ctx context.Context) {
	var (
		conn     *net.UDPConn
		messages = make(chan *dhcpv6.Message)
		timer    = time.NewTimer(time.Hour)
	)
	defer timer.Stop()
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
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
			return
		case up := <-c.Carrier:
			if up {
				actions = c.Machine.LinkUp(time.Now())
			} else {
				c.Machine.LinkDown()
			}
		case mode := <-c.Modes:
			actions = c.Machine.Want(time.Now(), mode)
		case m := <-messages:
			actions = c.Machine.Receive(time.Now(), m)
		case <-timer.C:
			actions = c.Machine.Timeout(time.Now())
		}
		for _, a := range actions {
			switch {
			case a.Lease != nil:
				_, since, _ := c.Machine.Lease()
				c.Lease(*a.Lease, since)
			case a.Lost != "":
				c.Lost(held, a.Lost)
			case a.Send != nil:
				if conn == nil {
					var err error
					if conn, err = listen(ctx, c.Device); err != nil {
						c.Problem(err)
						continue
					}
					go receive(ctx, conn, messages)
				}
				if err := send(conn, c.Device, a.Send); err != nil {
					c.Problem(err)
				}
			}
		}
	}
}

// listen opens the client's port on one device.
func listen(ctx context.Context, device string) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = errors.Join(
				unix.BindToDevice(int(fd), device),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			)
		})
		return errors.Join(err, failed)
	}}
	conn, err := lc.ListenPacket(ctx, "udp6", fmt.Sprintf("[::]:%d", clientPort))
	if err != nil {
		return nil, fmt.Errorf("dhcpv6 on %s: %w", device, err)
	}
	return conn.(*net.UDPConn), nil
}

// send sends a message to all servers of the link.
func send(conn *net.UDPConn, device string, m *dhcpv6.Message) error {
	to := &net.UDPAddr{IP: allServers, Port: serverPort, Zone: device}
	if _, err := conn.WriteToUDP(m.ToBytes(), to); err != nil {
		return fmt.Errorf("dhcpv6 on %s: send: %w", device, err)
	}
	return nil
}

// receive passes on the messages that arrive until ctx ends or the socket is
// closed.
func receive(ctx context.Context, conn *net.UDPConn, messages chan<- *dhcpv6.Message) {
	buf := make([]byte, maxPacket)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			continue // a link that goes down is an error once
		}
		m, err := dhcpv6.MessageFromBytes(buf[:n])
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

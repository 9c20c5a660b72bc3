package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/profiles"
)

// A node whose underlay has no address for a while sends WireGuard's datagrams
// from the address of the tunnel device, which is a pod's; they must not leave.
func TestTunnelsDoNotLeaveFromAPodsAddress(t *testing.T) {
	packetFilters(t, func(t *testing.T, mode string) {
		w := newWire(t)
		network := testNetwork(true)
		network.Firewall.Mode = mode
		network.Backend = profiles.Backend{Type: profiles.BackendWireGuardNative}
		w.protect(t, network)
		for _, f := range wireFamilies {
			for _, c := range []struct {
				from string
				port uint16
				want error
			}{
				{f.tunnel[0], 51820, unix.EPERM},
				{f.tunnel[0], 51821, unix.EPERM},
				{f.tunnel[0], 51822, unix.EPERM},
				{f.tunnel[0], 51823, unix.EPERM},
				{f.node[0], 51820, nil},
				{f.tunnel[0], 51824, nil},
			} {
				if err := send(w.node[0], c.from, c.port, f.outside); !errors.Is(err, c.want) {
					t.Errorf("%s: from port %d of %s: %v, want %v", f.name, c.port, c.from, err, c.want)
				}
			}
		}
		network.Backend = profiles.Backend{Type: profiles.BackendVXLAN}
		w.protect(t, network)
		for _, f := range wireFamilies {
			if err := send(w.node[0], f.tunnel[0], 51820, f.outside); err != nil {
				t.Errorf("%s: with another backend: %v", f.name, err)
			}
		}
	})
}

// send sends a datagram from an address and port of a node.
func send(n *nstest.Node, from string, port uint16, to string) error {
	return n.Do(func() error {
		local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), port))
		conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), 9)))
		if err != nil {
			return fmt.Errorf("a socket: %w", err)
		}
		defer conn.Close()
		_, err = conn.Write([]byte("tunnel"))
		return err
	})
}

// The ports are those that the backend is told to use, and their lanes.
func TestTunnelPortsAreTheBackends(t *testing.T) {
	for _, c := range []struct {
		name    string
		backend profiles.Backend
		want    []uint16
	}{
		{"as shipped", profiles.Backend{Type: profiles.BackendWireGuard}, []uint16{51820, 51821, 51822, 51823}},
		{"one device", profiles.Backend{Type: profiles.BackendWireGuard, Mode: profiles.ModeIPv6, ListenPort: 4000}, []uint16{4000, 51822}},
		{"no tunnel of WireGuard", profiles.Backend{Type: profiles.BackendHostGW}, nil},
	} {
		network := testNetwork(true)
		network.Backend = c.backend
		for _, table := range Wanted(testNode, network).Tables {
			var have []uint16
			for _, r := range table.Output {
				have = append(have, r.FromPort)
			}
			if !slices.Equal(have, c.want) {
				t.Errorf("%s: ports are %v, want %v", c.name, have, c.want)
			}
		}
	}
}

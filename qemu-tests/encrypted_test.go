package qemutests

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"testing"
)

// refusesTunnel reports whether a packet says of a datagram between two nodes
// that it could not be delivered (RFC 4443, section 3.1).
func refusesTunnel(p packet) bool {
	const icmp6, unreachable, udp, header = 58, 1, 17, 8
	if p.protocol != icmp6 || len(p.payload) < header+40 || p.payload[0] != unreachable || isPod(p.to) {
		return false
	}
	quoted := p.payload[header:]
	return quoted[6] == udp && !isPod(netip.AddrFrom16([16]byte(quoted[8:]))) && !isPod(netip.AddrFrom16([16]byte(quoted[24:])))
}

// onlyWireGuard checks the frames on the wire between the nodes: between their
// addresses there is nothing but WireGuard on these ports, and what nodes need to
// find each other on a link.
func onlyWireGuard(t *testing.T, pcap string, ports ...uint16) {
	t.Helper()
	f, err := os.Open(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const icmp, udp, icmp6 = 1, 17, 58
	count := map[uint16]int{}
	strange := map[string]int{}
	if err := eachFrame(f, func(frame []byte) {
		p, ok := parse(frame)
		switch {
		case !ok:
		case refusesTunnel(p):
			// The node that has moved gets packets for its old address. While
			// its new one is being checked (RFC 4862, section 5.4) it has
			// none to say so from but that of its tunnel device.
		case isPod(p.from) || isPod(p.to):
			strange[fmt.Sprintf("protocol %d of a pod, %s to %s", p.protocol, p.from, p.to)]++
		case p.protocol == udp && len(p.payload) >= 9:
			// The first byte is the type of the message, 1 to 4 (WireGuard
			// paper, section 5.4).
			port := binary.BigEndian.Uint16(p.payload[2:])
			if kind := p.payload[8]; kind < 1 || kind > 4 {
				strange[fmt.Sprintf("UDP port %d, not WireGuard", port)]++
			}
			count[port]++
		case p.protocol == icmp6 || p.protocol == 0: // neighbours; reports of multicast groups
		case p.protocol == icmp && len(p.payload) > 0 && (p.payload[0] == 3 || p.payload[0] == 5):
			// "Unreachable" and "redirect" (RFC 792): the node that has moved
			// gets packets for its old address.
		default:
			strange[fmt.Sprintf("protocol %d, %s to %s", p.protocol, p.from, p.to)]++
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("packets by UDP port: %v", count)
	for what, n := range strange {
		t.Errorf("on the wire: %s (%d times)", what, n)
	}
	for _, port := range ports {
		if count[port] < 6 {
			t.Errorf("%d packets to UDP port %d; want some of each pair of nodes", count[port], port)
		}
		delete(count, port)
	}
	if len(count) > 0 {
		t.Errorf("packets to other ports: %v", count)
	}
}

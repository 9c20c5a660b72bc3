package qemutests

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"testing"

	"weft/profiles"
)

// pods are the ranges that the dual-stack profile takes pod addresses from.
var pods = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd42::/48")}

// isPod reports whether an address is a pod's.
func isPod(a netip.Addr) bool { return pods[0].Contains(a) || pods[1].Contains(a) }

// onlyTunnelled checks the frames on the wire between the nodes: packets of
// pods are there, of both families, and all of them inside VXLAN.
func onlyTunnelled(t *testing.T, pcap string) {
	t.Helper()
	// A request and an answer, at least.
	if tunnelled := tunnelled(t, pcap); tunnelled[false] < 2 || tunnelled[true] < 2 {
		t.Errorf("packets of pods in VXLAN: %d by IPv4, %d by IPv6; want some of each", tunnelled[false], tunnelled[true])
	}
}

// tunnelled counts the packets of pods inside VXLAN, by whether they are IPv6.
// It fails the test when there is one outside.
func tunnelled(t *testing.T, pcap string) map[bool]int {
	t.Helper()
	f, err := os.Open(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tunnelled := map[bool]int{} // by: is IPv6
	if err := eachFrame(f, func(frame []byte) {
		outer, ok := parse(frame)
		if !ok {
			return
		}
		if isPod(outer.from) || isPod(outer.to) {
			t.Errorf("a packet of a pod is bare on the wire: %s to %s", outer.from, outer.to)
		}
		// UDP, to VXLAN's port: 8 bytes of UDP and 8 of VXLAN before the
		// inner frame (RFC 7348, section 5).
		if outer.protocol != 17 || len(outer.payload) < 16 || binary.BigEndian.Uint16(outer.payload[2:]) != profiles.DefaultPort {
			return
		}
		if vni := binary.BigEndian.Uint32(outer.payload[12:]) >> 8; vni != profiles.DefaultVNI {
			t.Errorf("a tunnelled packet has the network identifier %d", vni)
		}
		if inner, ok := parse(outer.payload[16:]); ok && isPod(inner.from) && isPod(inner.to) {
			if inner.from.Is6() != outer.from.Is6() {
				t.Errorf("%s to %s is tunnelled by the other family, %s to %s", inner.from, inner.to, outer.from, outer.to)
			}
			tunnelled[inner.from.Is6()]++
		}
	}); err != nil {
		t.Fatal(err)
	}
	return tunnelled
}

// A packet is what matters here of an IP packet.
type packet struct {
	from, to netip.Addr
	protocol byte
	payload  []byte
}

// parse reads an Ethernet frame that holds an IPv4 or IPv6 packet; IPv6
// packets with extension headers keep those as their payload.
func parse(frame []byte) (packet, bool) {
	const ethernet, v4, v6 = 14, 20, 40 // lengths of headers
	if len(frame) < ethernet {
		return packet{}, false
	}
	ip := frame[ethernet:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if len(ip) < v4 || len(ip) < int(ip[0]&15)*4 {
			return packet{}, false
		}
		return packet{netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), ip[9], ip[int(ip[0]&15)*4:]}, true
	case 0x86dd:
		if len(ip) < v6 {
			return packet{}, false
		}
		return packet{netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), ip[6], ip[v6:]}, true
	}
	return packet{}, false
}

// eachFrame calls f for every frame of a pcap file as package hub writes it:
// little-endian, 24 bytes of file header, 16 before each frame.
func eachFrame(r io.Reader, f func([]byte)) error {
	header := make([]byte, 24)
	if _, err := io.ReadFull(r, header); err != nil {
		return err
	}
	for {
		if _, err := io.ReadFull(r, header[:16]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		frame := make([]byte, binary.LittleEndian.Uint32(header[8:]))
		if _, err := io.ReadFull(r, frame); err != nil {
			return err
		}
		f(frame)
	}
}

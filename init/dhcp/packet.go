package dhcp

import (
	"encoding/binary"
	"errors"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// UDP ports of the protocol (RFC 2131 section 4.1).
const (
	serverPort = 67
	clientPort = 68
)

const (
	ipHeader  = 20
	udpHeader = 8
	// maxPacket bounds what is read: an Ethernet frame's payload.
	maxPacket = 1514
)

// ErrPacket says that a packet carries no DHCP message for a client.
var ErrPacket = errors.New("not a DHCP packet")

// wrap puts a message into an IPv4 packet from nobody to everyone, as a
// client without an address sends it.
func wrap(payload []byte) []byte {
	b := make([]byte, ipHeader+udpHeader+len(payload))
	ip, udp := b[:ipHeader], b[ipHeader:]
	ip[0] = 0x45 // version 4, five words
	binary.BigEndian.PutUint16(ip[2:], uint16(len(b)))
	ip[8] = 64 // time to live
	ip[9] = 17 // UDP
	copy(ip[16:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	binary.BigEndian.PutUint16(udp, clientPort)
	binary.BigEndian.PutUint16(udp[2:], serverPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[udpHeader:], payload)
	// The UDP checksum is optional in IPv4 (RFC 768), but some servers drop
	// packets without one.
	pseudo := make([]byte, 12, 12+len(udp))
	copy(pseudo, ip[12:20])
	pseudo[9] = 17
	binary.BigEndian.PutUint16(pseudo[10:], uint16(len(udp)))
	sum := checksum(append(pseudo, udp...))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return b
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for len(b) >= 2 {
		sum += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// unwrap returns the message of an IPv4 packet to a DHCP client. The UDP
// checksum is not looked at: a server on the same host, a hypervisor's say,
// hands over packets whose checksum its network card would have filled in.
// The transaction id guards against strays.
func unwrap(packet []byte) (*dhcpv4.DHCPv4, error) {
	if len(packet) < ipHeader || packet[0]>>4 != 4 || packet[9] != 17 {
		return nil, ErrPacket
	}
	header := int(packet[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(packet[2:]))
	fragment := binary.BigEndian.Uint16(packet[6:]) & 0x3fff // more to come, or not the first
	if header < ipHeader || total > len(packet) || total < header+udpHeader || fragment != 0 {
		return nil, ErrPacket
	}
	udp := packet[header:total]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp[2:]) != clientPort || length < udpHeader || length > len(udp) {
		return nil, ErrPacket
	}
	m, err := dhcpv4.FromBytes(udp[udpHeader:length])
	if err != nil {
		return nil, errors.Join(ErrPacket, err)
	}
	return m, nil
}

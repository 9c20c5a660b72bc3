package lab

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// Types of Ethernet frames, and protocols in IP packets (IANA).
const (
	typeARP   = 0x0806
	typeIPv4  = 0x0800
	typeIPv6  = 0x86dd
	protoUDP  = 17
	protoICMP = 58 // ICMPv6
)

// packet is what a frame holds, as far as a lab cares.
type packet struct {
	mac      net.HardwareAddr // of the sender
	src, dst netip.Addr
	from, to uint16 // UDP ports
	udp      []byte
	icmp6    []byte
	arp      []byte
}

// parse takes a frame apart; false for what a lab does not care for.
func parse(frame []byte) (p packet, ok bool) {
	if len(frame) < 14 {
		return p, false
	}
	p.mac = net.HardwareAddr(bytes.Clone(frame[6:12]))
	body := frame[14:]
	var proto byte
	switch binary.BigEndian.Uint16(frame[12:]) {
	case typeARP:
		if len(body) < 28 {
			return p, false
		}
		p.arp = body
		return p, true
	case typeIPv4:
		if len(body) < 20 {
			return p, false
		}
		header, length := int(body[0]&15)*4, int(binary.BigEndian.Uint16(body[2:]))
		if header < 20 || length < header || length > len(body) {
			return p, false
		}
		proto = body[9]
		p.src, _ = netip.AddrFromSlice(body[12:16])
		p.dst, _ = netip.AddrFromSlice(body[16:20])
		body = body[header:length]
	case typeIPv6:
		if len(body) < 40 {
			return p, false
		}
		length := int(binary.BigEndian.Uint16(body[4:]))
		if length > len(body)-40 {
			return p, false
		}
		proto = body[6]
		p.src, _ = netip.AddrFromSlice(body[8:24])
		p.dst, _ = netip.AddrFromSlice(body[24:40])
		body = body[40 : 40+length]
	default:
		return p, false
	}
	switch {
	case proto == protoUDP && len(body) >= 8:
		p.from, p.to = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
		p.udp = body[8:]
		return p, true
	case proto == protoICMP && len(body) >= 8:
		p.icmp6 = body
		return p, true
	}
	return p, false
}

// broadcast is everybody on the link.
var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ethernet puts a body into a frame of the router's.
func ethernet(to net.HardwareAddr, kind uint16, body []byte) []byte {
	frame := make([]byte, 0, 14+len(body))
	frame = append(append(frame, to...), RouterMAC...)
	frame = binary.BigEndian.AppendUint16(frame, kind)
	return append(frame, body...)
}

// udp4 puts a payload into a UDP packet over IPv4.
func udp4(to net.HardwareAddr, src, dst netip.Addr, from, port uint16, payload []byte) []byte {
	h := make([]byte, 20, 28+len(payload))
	h[0], h[8], h[9] = 0x45, 64, protoUDP
	binary.BigEndian.PutUint16(h[2:], uint16(28+len(payload)))
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(h[10:], ^sum(0, h))
	h = binary.BigEndian.AppendUint16(h, from)
	h = binary.BigEndian.AppendUint16(h, port)
	h = binary.BigEndian.AppendUint16(h, uint16(8+len(payload)))
	h = append(h, 0, 0) // no checksum, which IPv4 allows (RFC 768)
	return ethernet(to, typeIPv4, append(h, payload...))
}

// udp6 is the same over IPv6, where the checksum is a must (RFC 8200 section
// 8.1).
func udp6(to net.HardwareAddr, src, dst netip.Addr, from, port uint16, payload []byte) []byte {
	u := binary.BigEndian.AppendUint16(nil, from)
	u = binary.BigEndian.AppendUint16(u, port)
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(payload)))
	u = append(append(u, 0, 0), payload...)
	return ipv6(to, src, dst, protoUDP, 64, u, 6)
}

// icmp6 puts a message into a packet; neighbours take only those that no
// router passed on.
func icmp6(to net.HardwareAddr, src, dst netip.Addr, message []byte) []byte {
	return ipv6(to, src, dst, protoICMP, 255, message, 2)
}

// ipv6 makes a packet and fills in the checksum at an offset of its body.
func ipv6(to net.HardwareAddr, src, dst netip.Addr, proto, hops byte, body []byte, at int) []byte {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(pseudo, 0, 0, 0, proto)
	check := ^sum(uint32(sum(0, pseudo)), body)
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(body[at:], check)
	h := []byte{0x60, 0, 0, 0}
	h = binary.BigEndian.AppendUint16(h, uint16(len(body)))
	h = append(h, proto, hops)
	h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
	return ethernet(to, typeIPv6, append(h, body...))
}

// sum adds up 16-bit words in one's complement (RFC 1071).
func sum(start uint32, data []byte) uint16 {
	total := start
	for len(data) > 1 {
		total += uint32(binary.BigEndian.Uint16(data))
		data = data[2:]
	}
	if len(data) == 1 {
		total += uint32(data[0]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

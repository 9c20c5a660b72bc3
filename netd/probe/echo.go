package probe

import (
	"encoding/binary"
)

// Types of ICMP messages (RFC 792, RFC 4443 section 4).
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// echoLen is the length of an echo message without data.
const echoLen = 8

// echo is an echo request or reply. The data after it is not used.
type echo struct {
	id, seq uint16
}

// request is the echo request in wire format.
func (e echo) request(ipv6 bool) []byte {
	b := make([]byte, echoLen)
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.seq)
	if ipv6 {
		b[0] = echoRequest6 // the kernel fills in the checksum (RFC 3542 section 3.1)
		return b
	}
	b[0] = echoRequest4
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// parseReply reads an echo reply; not ok is anything else.
func parseReply(b []byte, ipv6 bool) (e echo, ok bool) {
	kind := byte(echoReply4)
	if ipv6 {
		kind = echoReply6
	}
	if len(b) < echoLen || b[0] != kind || b[1] != 0 {
		return e, false
	}
	return echo{id: binary.BigEndian.Uint16(b[4:]), seq: binary.BigEndian.Uint16(b[6:])}, true
}

// checksum is the Internet checksum (RFC 1071) of b, whose length is even.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

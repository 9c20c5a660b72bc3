package firewall

import (
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

func comment(r Rule) []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.Comment)
}

// Where the addresses are in the headers (RFC 791 section 3.1, RFC 8200
// section 3).
const (
	source4, destination4 = 12, 16
	source6, destination6 = 8, 24
)

// expressions are a rule in the kernel's terms, in the form in which the
// kernel gives them back.
func expressions(r Rule, ipv6 bool) []expr.Any {
	var all []expr.Any
	if r.Mark != 0 {
		bits := binaryutil.NativeEndian.PutUint32(r.Mark)
		all = append(all,
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: bits, Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bits})
	}
	source, destination := uint32(source4), uint32(destination4)
	if ipv6 {
		source, destination = source6, destination6
	}
	all = append(all, match(r.From, source)...)
	all = append(all, match(r.To, destination)...)
	if r.FromPort != 0 {
		all = append(all, fromPort(r.FromPort)...)
	}
	switch r.Verdict {
	case Masquerade:
		return append(all, &expr.Masq{})
	case MasqueradeRandom:
		return append(all, &expr.Masq{FullyRandom: true})
	case Accept:
		return append(all, &expr.Verdict{Kind: expr.VerdictAccept})
	case Drop:
		return append(all, &expr.Verdict{Kind: expr.VerdictDrop})
	case Clamp:
		return append(all, clamp()...)
	}
	return append(all, &expr.Verdict{Kind: expr.VerdictReturn})
}

// match loads an address from the header, keeps the bits of the prefix and
// compares them.
func match(m Match, offset uint32) []expr.Any {
	if !m.Prefix.IsValid() {
		return nil
	}
	address := m.Prefix.Masked().Addr().AsSlice()
	n := uint32(len(address))
	all := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n}}
	if bits := m.Prefix.Bits(); bits < len(address)*8 {
		mask := make([]byte, n)
		for i := range bits {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		all = append(all, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: mask, Xor: make([]byte, n)})
	}
	op := expr.CmpOpEq
	if m.Not {
		op = expr.CmpOpNeq
	}
	return append(all, &expr.Cmp{Op: op, Register: 1, Data: address})
}

// fromPort matches UDP datagrams from a port, the first two bytes of their
// header (RFC 768).
func fromPort(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
	}
}

// The flags of a TCP packet (RFC 9293, section 3.1), and the option that says
// the segment size: its kind, and where in it the two bytes of the size are
// (section 3.2).
const (
	tcpFlagsOffset, tcpSYN, tcpRST = 13, 0x02, 0x04
	tcpOptionMSS, mssOffset        = 2, 2
)

// clamp matches packets that open a TCP connection and sets the segment size
// they announce, as `tcp flags syn / syn,rst tcp option maxseg size set rt
// mtu` of the nft tool does; the kernel only ever lowers it
// (net/netfilter/nft_exthdr.c, nft_exthdr_tcp_set_eval).
func clamp() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlagsOffset, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{tcpSYN | tcpRST}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{tcpSYN}},
		&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Exthdr{SourceRegister: 1, Type: tcpOptionMSS, Offset: mssOffset, Len: 2, Op: expr.ExthdrOpTcpopt},
	}
}

// readable leaves out the expressions that the library writes and cannot
// read: it passes them over in what the kernel gives back.
func readable(all []expr.Any) []expr.Any {
	return slices.DeleteFunc(all, func(e expr.Any) bool {
		switch e.(type) {
		case *expr.Rt, *expr.Byteorder:
			return true
		}
		return false
	})
}

package lab

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
)

// answerARP answers for the router.
func (l *Lab) answerARP(p packet) {
	target, _ := netip.AddrFromSlice(p.arp[24:28])
	if p.arp[7] != 1 || target != Router4 {
		return
	}
	reply := append(bytes.Clone(p.arp[:6]), 0, 2)
	reply = append(append(reply, RouterMAC...), Router4.AsSlice()...)
	reply = append(append(reply, p.arp[8:14]...), p.arp[14:18]...)
	l.send(ethernet(p.mac, typeARP, reply))
}

// Messages of neighbour discovery (RFC 4861 section 4).
const (
	solicitRouter    = 133
	advertiseRouter  = 134
	solicitNeighbour = 135
	tellNeighbour    = 136
)

// allNodes are all nodes of the link, and their MAC address (RFC 2464).
var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// answerICMP6 answers questions for routers, and for the router's address.
func (l *Lab) answerICMP6(p packet) {
	switch p.icmp6[0] {
	case solicitRouter:
		if l.config("RS").Advert != nil {
			l.Advertise()
		}
	case solicitNeighbour:
		if len(p.icmp6) < 24 {
			return
		}
		if target := netip.AddrFrom16([16]byte(p.icmp6[8:24])); target == Router6 {
			m := []byte{tellNeighbour, 0, 0, 0, 0xe0, 0, 0, 0} // router, solicited, override
			m = append(append(m, target.AsSlice()...), 2, 1)
			l.send(icmp6(p.mac, Router6, p.src, append(m, RouterMAC...)))
		}
	}
}

// Advertise sends a router advertisement to all.
func (l *Lab) Advertise() {
	l.mu.Lock()
	a := l.conf.Advert
	l.mu.Unlock()
	if a == nil {
		return
	}
	var flags byte
	if a.Managed {
		flags |= 0x80
	}
	if a.Other {
		flags |= 0x40
	}
	m := []byte{advertiseRouter, 0, 0, 0, 64, flags}
	m = binary.BigEndian.AppendUint16(m, uint16(a.Lifetime/time.Second))
	m = append(m, make([]byte, 8)...)
	m = append(append(m, 1, 1), RouterMAC...)
	if a.Prefix {
		m = append(m, 3, 4, 64, 0xc0) // on link, autonomous
		m = binary.BigEndian.AppendUint32(m, 3600)
		m = binary.BigEndian.AppendUint32(m, 1800)
		m = append(append(m, 0, 0, 0, 0), Prefix6.Addr().AsSlice()...)
	}
	if a.DNS {
		m = append(m, 25, 3, 0, 0)
		m = append(binary.BigEndian.AppendUint32(m, 600), DNS6.AsSlice()...)
		m = append(m, 31, 2, 0, 0)
		m = append(binary.BigEndian.AppendUint32(m, 600), "\x03lab\x00\x00\x00\x00"...)
	}
	l.send(icmp6(allNodesMAC, Router6, allNodes, m))
}

// answerDHCP4 lends Node4.
func (l *Lab) answerDHCP4(p packet) {
	question, err := dhcpv4.FromBytes(p.udp)
	if err != nil {
		return
	}
	conf := l.config(question.MessageType().String()).DHCP4
	if conf == nil {
		return
	}
	answer, err := dhcpv4.NewReplyFromRequest(question)
	if err != nil {
		return
	}
	kind := dhcpv4.MessageTypeOffer
	switch question.MessageType() {
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
		if conf.Refuse {
			kind = dhcpv4.MessageTypeNak
		}
	case dhcpv4.MessageTypeDiscover:
		if conf.Refuse {
			return
		}
	default:
		return // a decline or a release needs no answer
	}
	answer.UpdateOption(dhcpv4.OptMessageType(kind))
	answer.UpdateOption(dhcpv4.OptServerIdentifier(Router4.AsSlice()))
	if kind != dhcpv4.MessageTypeNak {
		lease := conf.Lease
		if lease == 0 {
			lease = time.Hour
		}
		answer.YourIPAddr = Node4.Addr().AsSlice()
		answer.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(Node4.Bits(), 32)))
		answer.UpdateOption(dhcpv4.OptRouter(Router4.AsSlice()))
		answer.UpdateOption(dhcpv4.OptDNS(DNS4.AsSlice()))
		answer.UpdateOption(dhcpv4.OptIPAddressLeaseTime(lease))
		if conf.Hostname != "" {
			answer.UpdateOption(dhcpv4.OptHostName(conf.Hostname))
		}
		if conf.Time {
			answer.UpdateOption(dhcpv4.OptNTPServers(Router4.AsSlice()))
		}
	}
	to := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	l.send(udp4(broadcast, Router4, to, 67, 68, answer.ToBytes()))
}

// answerDHCP6 lends Node6, and names a server.
func (l *Lab) answerDHCP6(p packet) {
	question, err := dhcpv6.MessageFromBytes(p.udp)
	if err != nil || !l.config(question.MessageType.String()).DHCP6 || question.Options.ClientID() == nil {
		return
	}
	answer := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: question.TransactionID}
	if question.MessageType == dhcpv6.MessageTypeSolicit {
		answer.MessageType = dhcpv6.MessageTypeAdvertise
	}
	answer.AddOption(dhcpv6.OptClientID(question.Options.ClientID()))
	answer.AddOption(dhcpv6.OptServerID(&dhcpv6.DUIDUUID{UUID: [16]byte{7}}))
	if ia := question.Options.OneIANA(); ia != nil {
		given := &dhcpv6.OptIANA{IaId: ia.IaId}
		given.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: Node6.AsSlice(), PreferredLifetime: time.Hour, ValidLifetime: 2 * time.Hour})
		answer.AddOption(given)
	}
	answer.AddOption(dhcpv6.OptDNS(DNS6.AsSlice()))
	l.send(udp6(p.mac, Router6, p.src, 547, 546, answer.ToBytes()))
}

// answerNTP tells the time of the lab's clock.
func (l *Lab) answerNTP(p packet) {
	clock := l.config("NTP").Clock
	if clock == nil || len(p.udp) < 48 {
		return
	}
	now := time.Now().Add(*clock)
	a := make([]byte, 48)
	a[0], a[1], a[2], a[3] = 4<<3|4, 1, 6, 0xec // version 4, server, stratum 1
	copy(a[12:], "LAB\x00")
	stamp(a[16:], now)
	copy(a[24:32], p.udp[40:48])
	stamp(a[32:], now)
	stamp(a[40:], now)
	if p.dst.Is4() {
		l.send(udp4(p.mac, p.dst, p.src, 123, p.from, a))
		return
	}
	l.send(udp6(p.mac, p.dst, p.src, 123, p.from, a))
}

// stamp writes a time in NTP's form (RFC 5905 section 6).
func stamp(at []byte, t time.Time) {
	const since1900 = 2208988800
	binary.BigEndian.PutUint32(at, uint32(t.Unix()+since1900))
	binary.BigEndian.PutUint32(at[4:], uint32((int64(t.Nanosecond())<<32)/1e9))
}

package dhcp6

import (
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// kinds are the messages of the states.
var kinds = map[state]dhcpv6.MessageType{
	soliciting: dhcpv6.MessageTypeSolicit,
	requesting: dhcpv6.MessageTypeRequest,
	confirming: dhcpv6.MessageTypeConfirm,
	renewing:   dhcpv6.MessageTypeRenew,
	rebinding:  dhcpv6.MessageTypeRebind,
	asking:     dhcpv6.MessageTypeInformationRequest,
}

// asksFor are the options a server is asked to give. SOL_MAX_RT must be among
// them in some messages (RFC 8415 section 21.24); it is not obeyed, since an
// hour between questions is rare enough.
var asksFor = []dhcpv6.OptionCode{
	dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList,
	dhcpv6.OptionNTPServer, dhcpv6.OptionSNTPServerList, dhcpv6.OptionSolMaxRT,
}

// message builds the state's message (RFC 8415 section 18.2 and 21).
func (m *Machine) message(now time.Time) *dhcpv6.Message {
	msg := &dhcpv6.Message{MessageType: kinds[m.state], TransactionID: m.xid}
	msg.AddOption(dhcpv6.OptClientID(m.duid))
	// In hundredths of a second, and no more than the field holds.
	msg.AddOption(dhcpv6.OptElapsedTime(min(now.Sub(m.began), 0xffff*10*time.Millisecond)))
	if m.state != confirming {
		asks := asksFor
		if m.state == asking {
			asks = append(asks[:len(asks):len(asks)], dhcpv6.OptionInformationRefreshTime)
		}
		msg.AddOption(dhcpv6.OptRequestedOption(asks...))
	}
	if m.state == asking {
		return msg
	}
	lease := m.lease
	switch m.state {
	case requesting:
		lease = m.offer
		msg.AddOption(dhcpv6.OptServerID(m.offer.server))
	case renewing:
		msg.AddOption(dhcpv6.OptServerID(m.lease.server))
	}
	ia := &dhcpv6.OptIANA{IaId: m.iaid}
	for _, a := range lease.Addresses {
		// Lifetimes are the server's to say: 0 asks for its own.
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.IP(a.Addr.AsSlice())})
	}
	msg.AddOption(ia)
	if name := m.name(); name != "" && m.state != confirming {
		msg.AddOption(&dhcpv6.OptFQDN{Flags: 1, DomainName: &rfc1035label.Labels{Labels: []string{name}}})
	}
	return msg
}

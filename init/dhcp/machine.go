// Package dhcp gets and keeps an IPv4 address from a DHCP server (RFC 2131).
//
// The protocol is a state machine that reads no clock and sends nothing: it
// is told what happened and answers what to do. [Client] runs one on a link.
// The messages are those of github.com/insomniacslk/dhcp/dhcpv4. It touches
// no address or route of the system; the caller does, from the lease.
package dhcp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// state is where the client is (RFC 2131 section 4.4, figure 5).
type state int

const (
	stopped    state = iota
	selecting        // DISCOVER is out
	requesting       // REQUEST for an offer is out
	rebooting        // REQUEST for the address it had is out
	bound
	renewing  // REQUEST to the server is out
	rebinding // REQUEST to any server is out
	declined  // somebody else has the address; a pause
)

// An Action is what the machine wants done. At most one of its fields, Send
// aside, is set.
type Action struct {
	// Send is a message to be sent: to everyone on the link, or by unicast
	// to To when that is valid.
	Send *dhcpv4.DHCPv4
	To   netip.Addr
	// Lease is the lease that now holds.
	Lease *Lease
	// Lost says why the lease no longer holds.
	Lost string
}

// Machine is the client's side of the protocol on one link.
type Machine struct {
	mac      net.HardwareAddr
	hostname func() string
	random   io.Reader

	state state
	xid   dhcpv4.TransactionID
	lease Lease     // when haveLease
	have  bool      // a lease holds
	since time.Time // when the lease was asked for
	began time.Time // when the present exchange began, for the secs field
	asked time.Time // when the last REQUEST went out
	offer Lease     // while requesting
	tries int       // messages sent in this state
	next  time.Time // when Timeout wants to be called; zero for never
}

// Times between messages: one second, doubled up to a minute, a little more
// or less at random (RFC 2131 section 4.1 starts at four; a link that has
// just come up often loses the first message, and boots wait for the second).
const (
	firstRetry = time.Second
	lastRetry  = 64 * time.Second
	// requestTries is how often an offer is asked for before it is given up,
	// rebootTries how often the old address is.
	requestTries = 4
	rebootTries  = 3
	// declinePause is the wait after an address was declined (RFC 2131
	// section 3.1, step 5: ten seconds at least).
	declinePause = 10 * time.Second
	// leastRenewal bounds the repeats while renewing (RFC 2131 section 4.4.5).
	leastRenewal = 60 * time.Second
)

// NewMachine returns a machine for the link with hardware address mac. What
// hostname returns at the time, when not empty, is told to the server.
func NewMachine(mac net.HardwareAddr, hostname func() string, random io.Reader) *Machine {
	return &Machine{mac: mac, hostname: hostname, random: random}
}

// Next is when Timeout is to be called; false when it is not.
func (m *Machine) Next() (time.Time, bool) { return m.next, !m.next.IsZero() }

// Lease returns the lease that holds, if any, and since when.
func (m *Machine) Lease() (Lease, time.Time, bool) { return m.lease, m.since, m.have }

// LinkUp says that the link has come up. A lease that holds is confirmed,
// since the cable may now lead to another network.
func (m *Machine) LinkUp(now time.Time) []Action {
	if m.have {
		return m.enter(now, rebooting)
	}
	return m.enter(now, selecting)
}

// LinkDown says that the link has gone down. The lease is kept.
func (m *Machine) LinkDown() {
	m.state, m.next = stopped, time.Time{}
	if m.have {
		m.next = m.since.Add(m.lease.Expire)
	}
}

// Timeout says that the time of Next has come.
func (m *Machine) Timeout(now time.Time) []Action {
	if m.next.IsZero() || now.Before(m.next) {
		return nil
	}
	if m.have && m.lease.Expire != Forever && !now.Before(m.since.Add(m.lease.Expire)) {
		return m.lose(now, fmt.Sprintf("the lease of %s has expired and no server answers", m.lease.Address.Addr()))
	}
	switch m.state {
	case selecting:
		return m.send(now)
	case requesting:
		if m.tries >= requestTries {
			return m.enter(now, selecting)
		}
		return m.send(now)
	case rebooting:
		if m.tries >= rebootTries {
			// Nobody says no: the lease stays good (RFC 2131 section 3.2).
			m.rest(now)
			return nil
		}
		return m.send(now)
	case bound:
		if now.Before(m.since.Add(m.lease.Rebind)) {
			return m.enter(now, renewing)
		}
		return m.enter(now, rebinding)
	case renewing:
		if !now.Before(m.since.Add(m.lease.Rebind)) {
			return m.enter(now, rebinding)
		}
		return m.send(now)
	case rebinding:
		return m.send(now)
	case declined:
		return m.enter(now, selecting)
	}
	m.next = time.Time{}
	return nil
}

// Conflict says that another machine uses an address. If it is the lease's,
// the lease is declined (RFC 2131 section 4.4.4) and another asked for after
// a pause.
func (m *Machine) Conflict(now time.Time, address netip.Addr, by net.HardwareAddr) []Action {
	if !m.have || m.lease.Address.Addr() != address {
		return nil
	}
	decline := m.blank(now)
	decline.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeDecline))
	decline.UpdateOption(dhcpv4.OptRequestedIPAddress(address.AsSlice()))
	decline.UpdateOption(dhcpv4.OptServerIdentifier(m.lease.Server.AsSlice()))
	m.lease, m.have = Lease{}, false
	m.state, m.next = declined, now.Add(declinePause)
	return []Action{{Send: decline}, {Lost: fmt.Sprintf("%s is already used by %s; the server was told", address, by)}}
}

// Receive takes a message from the link. Messages for others, and those that
// answer nothing, change nothing.
func (m *Machine) Receive(now time.Time, msg *dhcpv4.DHCPv4) []Action {
	if msg == nil || msg.OpCode != dhcpv4.OpcodeBootReply || msg.TransactionID != m.xid || msg.ClientHWAddr.String() != m.mac.String() {
		return nil
	}
	switch kind := msg.MessageType(); {
	case kind == dhcpv4.MessageTypeOffer && m.state == selecting:
		offer, err := Read(msg)
		if err != nil {
			return nil // another server may offer better
		}
		m.offer = offer
		return m.enter(now, requesting)
	case kind == dhcpv4.MessageTypeAck && m.waitsForAck():
		lease, err := Read(msg)
		if err != nil || m.state == requesting && lease.Address.Addr() != m.offer.Address.Addr() {
			return nil
		}
		m.lease, m.have, m.since = lease, true, m.asked
		m.rest(now)
		return []Action{{Lease: &lease}}
	case kind == dhcpv4.MessageTypeNak && m.waitsForAck():
		if m.have {
			return m.lose(now, fmt.Sprintf("the server took %s back", m.lease.Address.Addr()))
		}
		return m.enter(now, selecting)
	}
	return nil
}

func (m *Machine) waitsForAck() bool {
	return m.state == requesting || m.state == rebooting || m.state == renewing || m.state == rebinding
}

// lose gives up the lease and starts anew.
func (m *Machine) lose(now time.Time, why string) []Action {
	up := m.state != stopped
	m.lease, m.have = Lease{}, false
	actions := []Action{{Lost: why}}
	if !up {
		m.next = time.Time{}
		return actions
	}
	return append(actions, m.enter(now, selecting)...)
}

// rest waits, bound, for the next time something is due.
func (m *Machine) rest(now time.Time) {
	m.state, m.tries = bound, 0
	m.next = time.Time{}
	if m.lease.Expire == Forever {
		return
	}
	for _, d := range []time.Duration{m.lease.Renew, m.lease.Rebind, m.lease.Expire} {
		if at := m.since.Add(d); at.After(now) {
			m.next = at
			return
		}
	}
	m.next = now
}

// enter starts a state with its first message.
func (m *Machine) enter(now time.Time, s state) []Action {
	// A new exchange has a new id; asking for an offer belongs to the old one.
	if s != requesting {
		if _, err := io.ReadFull(m.random, m.xid[:]); err != nil {
			// Without randomness the id only has to differ from the last.
			m.xid[3]++
		}
		m.began = now
	}
	m.state, m.tries = s, 0
	return m.send(now)
}

// send sends the state's message and sets the time of the next.
func (m *Machine) send(now time.Time) []Action {
	wait := min(firstRetry<<min(m.tries, 10), lastRetry)
	var deadline time.Time
	switch m.state {
	case renewing:
		deadline = m.since.Add(m.lease.Rebind)
		wait = max(deadline.Sub(now)/2, leastRenewal)
	case rebinding:
		deadline = m.since.Add(m.lease.Expire)
		wait = max(deadline.Sub(now)/2, leastRenewal)
	default:
		wait += m.jitter(wait)
	}
	m.tries++
	m.next = now.Add(wait)
	for _, limit := range []time.Time{deadline, m.expiry()} {
		if !limit.IsZero() && m.next.After(limit) {
			m.next = limit
		}
	}
	action := Action{}
	action.Send, action.To = m.message(now)
	return []Action{action}
}

// expiry is when the lease that holds ends; zero for never.
func (m *Machine) expiry() time.Time {
	if !m.have || m.lease.Expire == Forever {
		return time.Time{}
	}
	return m.since.Add(m.lease.Expire)
}

// jitter is a random part of up to a tenth of d, either way, so that machines
// switched on together do not ask together.
func (m *Machine) jitter(d time.Duration) time.Duration {
	var b [1]byte
	if _, err := io.ReadFull(m.random, b[:]); err != nil {
		return 0
	}
	return d / 10 * time.Duration(int(b[0])-128) / 128
}

// asksFor are the options a server is asked to give (RFC 2132, RFC 3442).
var asksFor = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter,
	dhcpv4.OptionDomainNameServer, dhcpv4.OptionHostName, dhcpv4.OptionDomainName,
	dhcpv4.OptionInterfaceMTU, dhcpv4.OptionNTPServers, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
}

// message builds the state's message (RFC 2131 section 4.3.2 and table 5).
func (m *Machine) message(now time.Time) (*dhcpv4.DHCPv4, netip.Addr) {
	msg := m.blank(now)
	msg.UpdateOption(dhcpv4.OptParameterRequestList(asksFor...))
	msg.UpdateOption(dhcpv4.OptMaxMessageSize(1500))
	if name := m.hostname(); name != "" {
		msg.UpdateOption(dhcpv4.OptHostName(name))
	}
	if m.state == selecting {
		msg.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeDiscover))
		return msg, netip.Addr{}
	}
	msg.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRequest))
	m.asked = now
	switch m.state {
	case requesting:
		msg.UpdateOption(dhcpv4.OptRequestedIPAddress(m.offer.Address.Addr().AsSlice()))
		msg.UpdateOption(dhcpv4.OptServerIdentifier(m.offer.Server.AsSlice()))
	case rebooting:
		msg.UpdateOption(dhcpv4.OptRequestedIPAddress(m.lease.Address.Addr().AsSlice()))
	case renewing:
		msg.ClientIPAddr = m.lease.Address.Addr().AsSlice()
		return msg, m.lease.Server
	case rebinding:
		msg.ClientIPAddr = m.lease.Address.Addr().AsSlice()
	}
	return msg, netip.Addr{}
}

// blank is a message without options.
func (m *Machine) blank(now time.Time) *dhcpv4.DHCPv4 {
	return &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, // Ethernet, RFC 1700
		TransactionID: m.xid, ClientHWAddr: m.mac,
		NumSeconds:   uint16(min(now.Sub(m.began)/time.Second, 0xffff)),
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: make(dhcpv4.Options),
	}
}

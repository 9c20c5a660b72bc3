// Package dhcp6 gets and keeps IPv6 addresses from a DHCP server, or only what
// goes with addresses that routers gave (RFC 8415).
//
// The protocol is a state machine that reads no clock and sends nothing: it
// is told what happened and answers what to do. [Client] runs one on a link.
// The messages are those of github.com/insomniacslk/dhcp/dhcpv6. Whether a
// link has a server is for its routers to say; package link hears them. No
// prefixes are asked for, and no address of the system is touched here.
package dhcp6

import (
	"fmt"
	"io"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// Mode is what a router tells the link's hosts to ask for.
type Mode int

// The modes.
const (
	// Off asks for nothing.
	Off Mode = iota
	// Stateless asks for what goes with addresses (the O flag of router
	// advertisements, RFC 4861 section 4.2).
	Stateless
	// Stateful asks for addresses too (the M flag).
	Stateful
)

// state is where the client is (RFC 8415 section 18.2).
type state int

const (
	stopped    state = iota
	soliciting       // SOLICIT is out
	requesting       // REQUEST for an advertised lease is out
	confirming       // CONFIRM is out: the link was gone
	bound
	renewing  // RENEW to the server is out
	rebinding // REBIND to any server is out
	asking    // INFORMATION-REQUEST is out
	informed  // a stateless answer holds
)

// timing is how the message of a state is repeated: after initial, doubled up
// to most, and tries times (0 is for ever). RFC 8415 section 7.6.
type timing struct {
	initial, most time.Duration
	tries         int
}

var timings = map[state]timing{
	soliciting: {time.Second, 3600 * time.Second, 0},
	requesting: {time.Second, 30 * time.Second, 10},
	confirming: {time.Second, 4 * time.Second, 3},
	renewing:   {10 * time.Second, 600 * time.Second, 0},
	rebinding:  {10 * time.Second, 600 * time.Second, 0},
	asking:     {time.Second, 3600 * time.Second, 0},
}

// An Action is what the machine wants done: one of its fields is set.
type Action struct {
	// Send is a message for all servers of the link.
	Send *dhcpv6.Message
	// Lease is the lease that now holds.
	Lease *Lease
	// Lost says why the lease no longer holds.
	Lost string
}

// Machine is the client's side of the protocol on one link.
type Machine struct {
	id     func() dhcpv6.DUID
	duid   dhcpv6.DUID // once asked for
	iaid   [4]byte
	name   func() string
	random io.Reader

	mode  Mode
	up    bool
	state state
	xid   dhcpv6.TransactionID
	lease Lease     // when have
	have  bool      // a lease holds
	since time.Time // when it was asked for
	began time.Time // when the present exchange began
	asked time.Time // when the last message went out
	wait  time.Duration
	tries int
	offer Lease // while requesting
	next  time.Time
}

// NewMachine returns a machine for a link. What id returns when the first
// message is sent names the node for ever, and iaid the link on it; name is
// the node's name at the time, which a server may put into the DNS, or empty.
func NewMachine(id func() dhcpv6.DUID, iaid [4]byte, name func() string, random io.Reader) *Machine {
	return &Machine{id: id, iaid: iaid, name: name, random: random}
}

// Next is when Timeout is to be called; false when it is not.
func (m *Machine) Next() (time.Time, bool) { return m.next, !m.next.IsZero() }

// Lease returns the lease that holds, if any, and since when.
func (m *Machine) Lease() (Lease, time.Time, bool) { return m.lease, m.since, m.have }

// Want says what the link's routers tell hosts to ask for. What was asked for
// before is not given up when they want less: a lease is used to its end.
func (m *Machine) Want(now time.Time, mode Mode) []Action {
	if mode <= m.mode {
		return nil
	}
	m.mode = mode
	if !m.up {
		return nil
	}
	return m.start(now)
}

// LinkUp says that the link has come up. A lease that holds is confirmed,
// since the cable may now lead to another network.
func (m *Machine) LinkUp(now time.Time) []Action {
	m.up = true
	return m.start(now)
}

// LinkDown says that the link has gone down. The lease is kept.
func (m *Machine) LinkDown() {
	m.up, m.state, m.next = false, stopped, m.expiry()
}

// start begins what the mode asks for.
func (m *Machine) start(now time.Time) []Action {
	if m.mode != Off && m.duid == nil {
		m.duid = m.id()
	}
	switch {
	case m.mode == Off:
		return nil
	case m.mode == Stateless:
		return m.enter(now, asking)
	case m.have && len(m.lease.Addresses) > 0:
		return m.enter(now, confirming)
	}
	return m.enter(now, soliciting)
}

// Timeout says that the time of Next has come.
func (m *Machine) Timeout(now time.Time) []Action {
	if m.next.IsZero() || now.Before(m.next) {
		return nil
	}
	if end := m.expiry(); !end.IsZero() && !now.Before(end) {
		return m.lose(now, "the lease has expired and no server answers")
	}
	t := timings[m.state]
	if t.tries > 0 && m.tries >= t.tries {
		switch m.state {
		case confirming:
			// Nobody says no: the lease stays good (RFC 8415 section 18.2.3).
			m.rest(now)
			return nil
		default:
			return m.enter(now, soliciting)
		}
	}
	switch m.state {
	case bound, renewing:
		if !now.Before(m.since.Add(m.lease.Rebind)) {
			return m.enter(now, rebinding)
		}
		if m.state == bound {
			return m.enter(now, renewing)
		}
		return m.send(now)
	case informed:
		return m.enter(now, asking)
	case stopped:
		m.next = time.Time{}
		return nil
	}
	return m.send(now)
}

// Receive takes a message from the link. Messages for others, and those that
// answer nothing, change nothing.
func (m *Machine) Receive(now time.Time, msg *dhcpv6.Message) []Action {
	if msg == nil || msg.TransactionID != m.xid || m.state == stopped {
		return nil
	}
	if id := msg.Options.ClientID(); id == nil || !id.Equal(m.duid) {
		return nil
	}
	switch kind := msg.MessageType; {
	case kind == dhcpv6.MessageTypeAdvertise && m.state == soliciting:
		offer, err := read(msg, m.iaid, false)
		if err != nil {
			return nil // another server may offer better
		}
		m.offer = offer
		return m.enter(now, requesting)
	case kind != dhcpv6.MessageTypeReply:
		return nil
	case m.state == confirming:
		if s := msg.Options.Status(); s != nil && s.StatusCode != 0 {
			return m.lose(now, "the link is another one now")
		}
		m.rest(now)
		return nil
	case m.state == asking:
		lease, err := read(msg, m.iaid, true)
		if err != nil {
			return nil
		}
		m.lease, m.have, m.since = lease, true, m.asked
		m.state, m.next = informed, now.Add(lease.Renew)
		return []Action{{Lease: &lease}}
	case m.state == requesting, m.state == renewing, m.state == rebinding:
		lease, err := read(msg, m.iaid, false)
		if err != nil {
			if m.state == requesting {
				return m.enter(now, soliciting)
			}
			// The server does not know the lease (NoBinding): ask anew.
			return m.lose(now, err.Error())
		}
		m.lease, m.have, m.since = lease, true, m.asked
		m.rest(now)
		return []Action{{Lease: &lease}}
	}
	return nil
}

// lose gives up the lease and starts anew.
func (m *Machine) lose(now time.Time, why string) []Action {
	actions := []Action{{Lost: why}}
	m.lease, m.have = Lease{}, false
	if !m.up {
		m.state, m.next = stopped, time.Time{}
		return actions
	}
	return append(actions, m.start(now)...)
}

// rest waits, bound, for the next time something is due.
func (m *Machine) rest(now time.Time) {
	m.state, m.next = bound, time.Time{}
	for _, d := range []time.Duration{m.lease.Renew, m.lease.Rebind, m.lease.Expire} {
		if d == Forever {
			continue
		}
		if at := m.since.Add(d); at.After(now) {
			m.next = at
			return
		}
	}
}

// enter starts a state with its first message.
func (m *Machine) enter(now time.Time, s state) []Action {
	if _, err := io.ReadFull(m.random, m.xid[:]); err != nil {
		m.xid[2]++ // without randomness it only has to differ from the last
	}
	m.state, m.tries, m.wait, m.began = s, 0, 0, now
	return m.send(now)
}

// send sends the state's message and sets the time of the next (RFC 8415
// section 15: doubled, and a tenth more or less).
func (m *Machine) send(now time.Time) []Action {
	t := timings[m.state]
	switch {
	case m.tries == 0:
		m.wait = t.initial
	default:
		m.wait = min(2*m.wait, t.most)
	}
	m.tries++
	m.asked = now
	m.next = now.Add(m.wait + m.jitter(m.wait))
	if limit := m.limit(); !limit.IsZero() && m.next.After(limit) {
		m.next = limit
	}
	return []Action{{Send: m.message(now)}}
}

// limit is when the present state must end at the latest; zero for never.
func (m *Machine) limit() time.Time {
	if m.state == renewing && m.lease.Rebind != Forever {
		return m.since.Add(m.lease.Rebind)
	}
	return m.expiry()
}

// expiry is when the lease that holds ends; zero for never.
func (m *Machine) expiry() time.Time {
	if !m.have || len(m.lease.Addresses) == 0 || m.lease.Expire == Forever {
		return time.Time{}
	}
	return m.since.Add(m.lease.Expire)
}

// jitter is a random part of up to a tenth of d, either way.
func (m *Machine) jitter(d time.Duration) time.Duration {
	var b [1]byte
	if _, err := io.ReadFull(m.random, b[:]); err != nil {
		return 0
	}
	return d / 10 * time.Duration(int(b[0])-128) / 128
}

// String describes a lease for people.
func (l Lease) String() string {
	if len(l.Addresses) == 0 {
		return fmt.Sprintf("%d name servers", len(l.DNS))
	}
	text := ""
	for i, a := range l.Addresses {
		if i > 0 {
			text += " "
		}
		text += a.Addr.String()
	}
	return text
}

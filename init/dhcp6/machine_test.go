package dhcp6

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

var (
	start  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	client = &dhcpv6.DUIDUUID{UUID: [16]byte{1, 2, 3}}
	server = &dhcpv6.DUIDUUID{UUID: [16]byte{9, 9, 9}}
	iaid   = [4]byte{0, 0, 0, 7}
	given  = netip.MustParseAddr("2001:db8::77")
)

// zeros is randomness that is none: jitter is then a tenth less.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func newMachine() *Machine {
	return NewMachine(func() dhcpv6.DUID { return client }, iaid, func() string { return "node-1" }, zeros{})
}

// sent is the one message among actions.
func sent(t *testing.T, actions []Action, kind dhcpv6.MessageType) *dhcpv6.Message {
	t.Helper()
	for _, a := range actions {
		if a.Send != nil {
			if a.Send.MessageType != kind {
				t.Fatalf("sent %s, want %s", a.Send.MessageType, kind)
			}
			// What is sent must survive the wire.
			m, err := dhcpv6.MessageFromBytes(a.Send.ToBytes())
			if err != nil {
				t.Fatalf("%s cannot be read back: %v", kind, err)
			}
			return m
		}
	}
	t.Fatalf("nothing sent, want %s", kind)
	return nil
}

// answer answers a message as a server would; edit may spoil it.
func answer(m *dhcpv6.Message, kind dhcpv6.MessageType, edit func(*dhcpv6.Message, *dhcpv6.OptIANA)) *dhcpv6.Message {
	a := &dhcpv6.Message{MessageType: kind, TransactionID: m.TransactionID}
	a.AddOption(dhcpv6.OptClientID(client))
	a.AddOption(dhcpv6.OptServerID(server))
	ia := &dhcpv6.OptIANA{IaId: iaid, T1: 1000 * time.Second, T2: 1600 * time.Second}
	ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.IP(given.AsSlice()),
		PreferredLifetime: 2000 * time.Second, ValidLifetime: 3000 * time.Second})
	a.AddOption(dhcpv6.OptDNS(net.ParseIP("2001:db8::53"), net.ParseIP("::1")))
	if edit != nil {
		edit(a, ia)
	}
	if m.MessageType != dhcpv6.MessageTypeInformationRequest {
		a.AddOption(ia)
	}
	return a
}

// lease is the one lease among actions.
func lease(t *testing.T, actions []Action) Lease {
	t.Helper()
	for _, a := range actions {
		if a.Lease != nil {
			return *a.Lease
		}
	}
	t.Fatalf("no lease among %+v", actions)
	return Lease{}
}

// boundMachine is a machine that has a lease since start.
func boundMachine(t *testing.T) *Machine {
	t.Helper()
	m := newMachine()
	if a := m.LinkUp(start); len(a) != 0 {
		t.Fatalf("asks before a router wants it: %+v", a)
	}
	solicit := sent(t, m.Want(start, Stateful), dhcpv6.MessageTypeSolicit)
	request := sent(t, m.Receive(start, answer(solicit, dhcpv6.MessageTypeAdvertise, nil)), dhcpv6.MessageTypeRequest)
	if id := request.Options.ServerID(); id == nil || !id.Equal(server) {
		t.Error("the request names no server")
	}
	l := lease(t, m.Receive(start, answer(request, dhcpv6.MessageTypeReply, nil)))
	if len(l.Addresses) != 1 || l.Addresses[0].Addr != given || !slices.Equal(l.DNS, []netip.Addr{netip.MustParseAddr("2001:db8::53")}) {
		t.Fatalf("lease is %+v", l)
	}
	return m
}

func due(t *testing.T, m *Machine, want time.Duration) time.Time {
	t.Helper()
	next, ok := m.Next()
	if !ok || next.Sub(start) != want {
		t.Fatalf("next is %s after the start (%v), want %s", next.Sub(start), ok, want)
	}
	return next
}

func TestALeaseIsRenewedThenReboundThenLost(t *testing.T) {
	m := boundMachine(t)
	at := due(t, m, 1000*time.Second)
	renew := sent(t, m.Timeout(at), dhcpv6.MessageTypeRenew)
	if renew.Options.ServerID() == nil || renew.Options.OneIANA().Options.OneAddress() == nil {
		t.Error("RENEW names neither server nor address")
	}
	for m.state == renewing {
		at, _ = m.Next()
		m.Timeout(at)
	}
	if got := at.Sub(start); m.state != rebinding || got != 1600*time.Second {
		t.Fatalf("in state %d after %s, want rebinding at T2", m.state, got)
	}
	var lost string
	for lost == "" {
		at, _ = m.Next()
		for _, a := range m.Timeout(at) {
			lost += a.Lost
		}
	}
	if at.Sub(start) != 3000*time.Second || !strings.Contains(lost, "expired") {
		t.Errorf("lost after %s: %s", at.Sub(start), lost)
	}
	if m.state != soliciting {
		t.Error("it does not ask anew")
	}
}

func TestARenewalStartsTheTimesAnew(t *testing.T) {
	m := boundMachine(t)
	at := due(t, m, 1000*time.Second)
	renew := sent(t, m.Timeout(at), dhcpv6.MessageTypeRenew)
	lease(t, m.Receive(at.Add(time.Second), answer(renew, dhcpv6.MessageTypeReply, nil)))
	due(t, m, 2000*time.Second)
}

func TestANoBindingMakesItAskAnew(t *testing.T) {
	m := boundMachine(t)
	renew := sent(t, m.Timeout(due(t, m, 1000*time.Second)), dhcpv6.MessageTypeRenew)
	actions := m.Receive(start.Add(1001*time.Second), answer(renew, dhcpv6.MessageTypeReply, func(_ *dhcpv6.Message, ia *dhcpv6.OptIANA) {
		ia.Options.Options = dhcpv6.Options{&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoBinding}}
	}))
	if actions[0].Lost == "" {
		t.Errorf("the lease holds: %+v", actions)
	}
	sent(t, actions, dhcpv6.MessageTypeSolicit)
}

func TestALinkThatComesBackIsConfirmed(t *testing.T) {
	for name, c := range map[string]struct {
		status iana.StatusCode
		silent bool
		lost   bool
	}{
		"the same link":    {status: iana.StatusSuccess},
		"another link":     {status: iana.StatusNotOnLink, lost: true},
		"nobody answers":   {silent: true},
		"an expired lease": {silent: true, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := boundMachine(t)
			at := start.Add(10 * time.Second)
			m.LinkDown()
			if name == "an expired lease" {
				at, _ = m.Next()
				if a := m.Timeout(at); len(a) != 1 || a[0].Lost == "" {
					t.Fatalf("while the link is down: %+v", a)
				}
				return
			}
			confirm := sent(t, m.LinkUp(at), dhcpv6.MessageTypeConfirm)
			var actions []Action
			if c.silent {
				for m.state == confirming {
					at, _ = m.Next()
					actions = append(actions, m.Timeout(at)...)
				}
			} else {
				reply := answer(confirm, dhcpv6.MessageTypeReply, func(a *dhcpv6.Message, _ *dhcpv6.OptIANA) {
					a.AddOption(&dhcpv6.OptStatusCode{StatusCode: c.status})
				})
				actions = m.Receive(at, reply)
			}
			lost := slices.ContainsFunc(actions, func(a Action) bool { return a.Lost != "" })
			if lost != c.lost {
				t.Errorf("lost is %v, want %v", lost, c.lost)
			}
			if !c.lost {
				due(t, m, 1000*time.Second)
			}
		})
	}
}

func TestAStatelessLinkIsAskedForNamesOnly(t *testing.T) {
	m := newMachine()
	m.LinkUp(start)
	ask := sent(t, m.Want(start, Stateless), dhcpv6.MessageTypeInformationRequest)
	if ask.Options.OneIANA() != nil {
		t.Error("it asks for an address")
	}
	l := lease(t, m.Receive(start, answer(ask, dhcpv6.MessageTypeReply, func(a *dhcpv6.Message, _ *dhcpv6.OptIANA) {
		a.AddOption(dhcpv6.OptInformationRefreshTime(time.Hour))
	})))
	if len(l.Addresses) != 0 || len(l.DNS) != 1 {
		t.Errorf("lease is %+v", l)
	}
	sent(t, m.Timeout(due(t, m, time.Hour)), dhcpv6.MessageTypeInformationRequest)
}

func TestARouterThatWantsMoreGetsMore(t *testing.T) {
	m := newMachine()
	m.LinkUp(start)
	sent(t, m.Want(start, Stateless), dhcpv6.MessageTypeInformationRequest)
	sent(t, m.Want(start, Stateful), dhcpv6.MessageTypeSolicit)
	if a := m.Want(start, Stateless); len(a) != 0 {
		t.Errorf("wanting less does something: %+v", a)
	}
}

func TestAnswersThatAreNoneChangeNothing(t *testing.T) {
	m := newMachine()
	m.LinkUp(start)
	solicit := sent(t, m.Want(start, Stateful), dhcpv6.MessageTypeSolicit)
	for name, edit := range map[string]func(*dhcpv6.Message, *dhcpv6.OptIANA){
		"another question":   func(a *dhcpv6.Message, _ *dhcpv6.OptIANA) { a.TransactionID[0]++ },
		"another client":     func(a *dhcpv6.Message, _ *dhcpv6.OptIANA) { a.UpdateOption(dhcpv6.OptClientID(server)) },
		"no server":          func(a *dhcpv6.Message, _ *dhcpv6.OptIANA) { a.Options.Del(dhcpv6.OptionServerID) },
		"a loopback address": func(_ *dhcpv6.Message, ia *dhcpv6.OptIANA) { ia.Options.OneAddress().IPv6Addr = net.ParseIP("::1") },
		"another link's":     func(_ *dhcpv6.Message, ia *dhcpv6.OptIANA) { ia.IaId[0]++ },
		"no addresses left": func(a *dhcpv6.Message, _ *dhcpv6.OptIANA) {
			a.AddOption(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
		},
		"lifetimes reversed": func(_ *dhcpv6.Message, ia *dhcpv6.OptIANA) {
			ia.Options.OneAddress().PreferredLifetime = 4000 * time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			if a := m.Receive(start, answer(solicit, dhcpv6.MessageTypeAdvertise, edit)); len(a) != 0 {
				t.Errorf("it does %+v", a)
			}
		})
	}
	// A reply out of the blue, too.
	if a := m.Receive(start, answer(solicit, dhcpv6.MessageTypeReply, nil)); len(a) != 0 {
		t.Errorf("a reply to nothing does %+v", a)
	}
}

func TestQuestionsGetRarerButNeverStop(t *testing.T) {
	m := newMachine()
	m.LinkUp(start)
	m.Want(start, Stateful)
	at, count := start, 0
	for at.Before(start.Add(24 * time.Hour)) {
		at, _ = m.Next()
		sent(t, m.Timeout(at), dhcpv6.MessageTypeSolicit)
		count++
	}
	if count < 30 || count > 60 {
		t.Errorf("%d questions in a day", count)
	}
}

func FuzzReceive(f *testing.F) {
	m := newMachine()
	m.LinkUp(start)
	solicit := m.Want(start, Stateful)[0].Send
	f.Add(answer(solicit, dhcpv6.MessageTypeAdvertise, nil).ToBytes())
	f.Add(answer(solicit, dhcpv6.MessageTypeReply, nil).ToBytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := dhcpv6.MessageFromBytes(data)
		if err != nil {
			return
		}
		for _, s := range []state{soliciting, requesting, confirming, renewing, rebinding, asking} {
			m := newMachine()
			m.up, m.mode, m.state, m.xid, m.duid = true, Stateful, s, msg.TransactionID, client
			for _, a := range m.Receive(start, msg) {
				if a.Lease == nil {
					continue
				}
				for _, addr := range a.Lease.Addresses {
					if !addr.Addr.IsGlobalUnicast() || addr.Valid < minLease {
						t.Fatalf("lease %+v", a.Lease)
					}
				}
				if len(a.Lease.Addresses) > 0 && (a.Lease.Renew <= 0 || a.Lease.Rebind < a.Lease.Renew) {
					t.Fatalf("times of %+v", a.Lease)
				}
			}
			if next, ok := m.Next(); ok && next.Before(start) {
				t.Fatalf("next lies in the past: %s", next)
			}
		}
	})
}

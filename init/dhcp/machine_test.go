package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var mac = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// zeros is randomness without surprises: jitter is then a tenth less.
type zeros struct{ n byte }

func (z *zeros) Read(b []byte) (int, error) {
	for i := range b {
		z.n++
		b[i] = z.n
	}
	return len(b), nil
}

// talk is a machine with a clock and a server made of functions.
type talk struct {
	t    *testing.T
	m    *Machine
	now  time.Time
	last []Action
	name string
}

func newTalk(t *testing.T) *talk {
	k := &talk{t: t, now: time.Unix(1000, 0), name: "n1"}
	k.m = NewMachine(mac, func() string { return k.name }, &zeros{})
	return k
}

// sent is the one message the last step sent, or nil.
func (k *talk) sent() *dhcpv4.DHCPv4 {
	for _, a := range k.last {
		if a.Send != nil {
			return a.Send
		}
	}
	return nil
}

// expect checks the kind of what was sent; 0 for nothing.
func (k *talk) expect(kind dhcpv4.MessageType) {
	k.t.Helper()
	m := k.sent()
	switch {
	case m == nil && kind != 0:
		k.t.Fatalf("sent nothing, want %s", kind)
	case m != nil && m.MessageType() != kind:
		k.t.Fatalf("sent %s, want %s", m.MessageType(), kind)
	}
}

// answer gives the server's answer to what was last sent.
func (k *talk) answer(to *dhcpv4.DHCPv4, kind dhcpv4.MessageType, options ...dhcpv4.Option) {
	k.t.Helper()
	k.last = k.m.Receive(k.now, reply(k.t, to, kind, options...))
}

// reply makes an answer: 10.0.2.15/24 from 10.0.2.2 for an hour.
func reply(t testing.TB, to *dhcpv4.DHCPv4, kind dhcpv4.MessageType, options ...dhcpv4.Option) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.NewReplyFromRequest(to)
	if err != nil {
		t.Fatal(err)
	}
	m.UpdateOption(dhcpv4.OptMessageType(kind))
	m.UpdateOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 2, 2)))
	if kind != dhcpv4.MessageTypeNak {
		m.YourIPAddr = net.IPv4(10, 0, 2, 15)
		m.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(24, 32)))
		m.UpdateOption(dhcpv4.OptRouter(net.IPv4(10, 0, 2, 2)))
		m.UpdateOption(dhcpv4.OptIPAddressLeaseTime(time.Hour))
	}
	for _, o := range options {
		m.UpdateOption(o)
	}
	return m
}

// wait moves the clock to the next time and lets the machine act.
func (k *talk) wait() time.Duration {
	k.t.Helper()
	next, ok := k.m.Next()
	if !ok {
		k.t.Fatal("the machine waits for nothing")
	}
	d := next.Sub(k.now)
	k.now = next
	k.last = k.m.Timeout(k.now)
	return d
}

// bind goes through a whole exchange.
func (k *talk) bind(options ...dhcpv4.Option) {
	k.t.Helper()
	k.last = k.m.LinkUp(k.now)
	k.expect(dhcpv4.MessageTypeDiscover)
	k.answer(k.sent(), dhcpv4.MessageTypeOffer, options...)
	k.expect(dhcpv4.MessageTypeRequest)
	k.answer(k.sent(), dhcpv4.MessageTypeAck, options...)
	if len(k.last) != 1 || k.last[0].Lease == nil {
		k.t.Fatalf("no lease: %+v", k.last)
	}
}

func TestAnAddressIsAskedForAndTaken(t *testing.T) {
	k := newTalk(t)
	k.last = k.m.LinkUp(k.now)
	discover := k.sent()
	if discover.HostName() != "n1" || !discover.IsOptionRequested(dhcpv4.OptionClasslessStaticRoute) || discover.ClientHWAddr.String() != mac.String() {
		t.Errorf("discover %s", discover.Summary())
	}
	k.now = k.now.Add(3 * time.Second)
	k.answer(discover, dhcpv4.MessageTypeOffer)
	request := k.sent()
	if !request.RequestedIPAddress().Equal(net.IPv4(10, 0, 2, 15)) || !request.ServerIdentifier().Equal(net.IPv4(10, 0, 2, 2)) ||
		request.TransactionID != discover.TransactionID || request.NumSeconds != 3 {
		t.Errorf("request %s", request.Summary())
	}
	asked := k.now
	k.now = k.now.Add(time.Second)
	k.answer(request, dhcpv4.MessageTypeAck)
	lease, since, ok := k.m.Lease()
	if !ok || lease.Address != netip.MustParsePrefix("10.0.2.15/24") || !since.Equal(asked) {
		t.Errorf("lease %+v since %v, %v", lease, since, ok)
	}
	if next, _ := k.m.Next(); !next.Equal(asked.Add(30 * time.Minute)) {
		t.Errorf("renews after %v", next.Sub(asked))
	}
}

func TestSilenceIsAskedAgainEverSlower(t *testing.T) {
	k := newTalk(t)
	k.last = k.m.LinkUp(k.now)
	var waits []time.Duration
	for range 9 {
		waits = append(waits, k.wait().Round(time.Second))
		k.expect(dhcpv4.MessageTypeDiscover)
	}
	for i, w := range waits {
		want := min(time.Second<<i, lastRetry)
		if w < want*8/10 || w > want*12/10 {
			t.Errorf("waits %v", waits)
			break
		}
	}
}

func TestTheLeaseIsRenewedThenReboundThenLost(t *testing.T) {
	k := newTalk(t)
	k.bind()
	start := k.now

	k.wait() // T1
	k.expect(dhcpv4.MessageTypeRequest)
	if a := k.last[0]; a.To != netip.MustParseAddr("10.0.2.2") || !a.Send.ClientIPAddr.Equal(net.IPv4(10, 0, 2, 15)) || a.Send.ServerIdentifier() != nil {
		t.Errorf("renewal to %v: %s", a.To, a.Send.Summary())
	}
	if d := k.now.Sub(start); d != 30*time.Minute {
		t.Errorf("T1 came after %v", d)
	}
	var rebound time.Duration
	for range 50 {
		k.wait()
		if k.sent() == nil || k.last[0].Lost != "" {
			break
		}
		if !k.last[0].To.IsValid() && rebound == 0 {
			rebound = k.now.Sub(start)
		}
	}
	if rebound != 52*time.Minute+30*time.Second {
		t.Errorf("T2 came after %v", rebound)
	}
	if d := k.now.Sub(start); d != time.Hour || k.last[0].Lost == "" {
		t.Fatalf("after %v: %+v", d, k.last)
	}
	k.expect(dhcpv4.MessageTypeDiscover)
	if _, _, ok := k.m.Lease(); ok {
		t.Error("the lease still holds")
	}
}

func TestARenewalStartsTheTimesAnew(t *testing.T) {
	for name, waits := range map[string]int{"renewing": 1, "renewing, second try": 2} {
		k := newTalk(t)
		k.bind()
		for range waits {
			k.wait()
		}
		asked := k.now
		k.now = k.now.Add(2 * time.Second)
		k.answer(k.sent(), dhcpv4.MessageTypeAck)
		if next, _ := k.m.Next(); !next.Equal(asked.Add(30 * time.Minute)) {
			t.Errorf("%s: next after %v", name, next.Sub(asked))
		}
	}
}

func TestARefusalEndsTheLease(t *testing.T) {
	k := newTalk(t)
	k.bind()
	k.wait()
	k.answer(k.sent(), dhcpv4.MessageTypeNak)
	if len(k.last) != 2 || k.last[0].Lost == "" {
		t.Fatalf("actions %+v", k.last)
	}
	k.expect(dhcpv4.MessageTypeDiscover)
	// Refused before there was a lease: just start over.
	k = newTalk(t)
	k.last = k.m.LinkUp(k.now)
	k.answer(k.sent(), dhcpv4.MessageTypeOffer)
	k.answer(k.sent(), dhcpv4.MessageTypeNak)
	if len(k.last) != 1 {
		t.Errorf("actions %+v", k.last)
	}
	k.expect(dhcpv4.MessageTypeDiscover)
}

func TestAnOfferNobodyConfirmsIsGivenUp(t *testing.T) {
	k := newTalk(t)
	k.last = k.m.LinkUp(k.now)
	k.answer(k.sent(), dhcpv4.MessageTypeOffer)
	for range requestTries - 1 {
		k.wait()
		k.expect(dhcpv4.MessageTypeRequest)
	}
	k.wait()
	k.expect(dhcpv4.MessageTypeDiscover)
}

func TestAfterACablePullTheLeaseIsConfirmed(t *testing.T) {
	k := newTalk(t)
	k.bind()
	k.m.LinkDown()
	if _, _, ok := k.m.Lease(); !ok {
		t.Fatal("the lease was dropped with the carrier")
	}
	k.now = k.now.Add(time.Minute)
	k.last = k.m.LinkUp(k.now)
	k.expect(dhcpv4.MessageTypeRequest)
	if m := k.sent(); m.ServerIdentifier() != nil || !m.RequestedIPAddress().Equal(net.IPv4(10, 0, 2, 15)) {
		t.Errorf("request %s", m.Summary())
	}
	// Nobody answers: the lease stays as it was.
	for range rebootTries {
		k.wait()
	}
	k.expect(0)
	if next, ok := k.m.Next(); !ok || !next.Equal(time.Unix(1000, 0).Add(30*time.Minute)) {
		t.Errorf("next %v", next)
	}
	// Another network says no.
	k.m.LinkDown()
	k.last = k.m.LinkUp(k.now)
	k.answer(k.sent(), dhcpv4.MessageTypeNak)
	k.expect(dhcpv4.MessageTypeDiscover)
}

func TestALeaseRunsOutWithTheCableOut(t *testing.T) {
	k := newTalk(t)
	k.bind()
	k.m.LinkDown()
	if d := k.wait(); d != time.Hour || len(k.last) != 1 || k.last[0].Lost == "" {
		t.Fatalf("after %v: %+v", d, k.last)
	}
	if _, ok := k.m.Next(); ok {
		t.Error("it still waits for something")
	}
	k.m.LinkDown()
	if acts := k.m.Timeout(k.now.Add(time.Hour)); acts != nil {
		t.Errorf("actions %+v", acts)
	}
}

func TestAnEndlessLeaseIsNeverRenewed(t *testing.T) {
	k := newTalk(t)
	k.bind(dhcpv4.OptIPAddressLeaseTime(Forever))
	if next, ok := k.m.Next(); ok {
		t.Errorf("next %v", next)
	}
	k.m.LinkDown()
	k.last = k.m.LinkUp(k.now.Add(time.Hour))
	k.expect(dhcpv4.MessageTypeRequest)
}

func TestStrangersChangeNothing(t *testing.T) {
	k := newTalk(t)
	k.last = k.m.LinkUp(k.now)
	discover := k.sent()
	offer := func(change func(*dhcpv4.DHCPv4)) *dhcpv4.DHCPv4 {
		m := reply(t, discover, dhcpv4.MessageTypeOffer)
		change(m)
		return m
	}
	for name, m := range map[string]*dhcpv4.DHCPv4{
		"nothing":             nil,
		"a request":           discover,
		"another exchange":    offer(func(m *dhcpv4.DHCPv4) { m.TransactionID[0]++ }),
		"another client":      offer(func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = net.HardwareAddr{2, 0, 0, 0, 0, 9} }),
		"no address":          offer(func(m *dhcpv4.DHCPv4) { m.YourIPAddr = net.IPv4zero }),
		"no server":           offer(func(m *dhcpv4.DHCPv4) { m.Options.Del(dhcpv4.OptionServerIdentifier) }),
		"an ack out of place": reply(t, discover, dhcpv4.MessageTypeAck),
	} {
		if acts := k.m.Receive(k.now, m); acts != nil {
			t.Errorf("%s: %+v", name, acts)
		}
	}
	// An acknowledgement of another address than the offered one.
	k.answer(discover, dhcpv4.MessageTypeOffer)
	ack := reply(t, k.sent(), dhcpv4.MessageTypeAck)
	ack.YourIPAddr = net.IPv4(10, 0, 2, 99)
	if acts := k.m.Receive(k.now, ack); acts != nil {
		t.Errorf("another address: %+v", acts)
	}
}

func TestWithoutRandomnessTheProtocolStillWorks(t *testing.T) {
	m := NewMachine(mac, func() string { return "" }, bytes.NewReader(nil))
	first := m.LinkUp(time.Unix(0, 0))[0].Send
	m.LinkDown()
	second := m.LinkUp(time.Unix(9, 0))[0].Send
	if first.TransactionID == second.TransactionID {
		t.Error("transaction ids are alike")
	}
	if first.HostName() != "" {
		t.Errorf("hostname %q", first.HostName())
	}
}

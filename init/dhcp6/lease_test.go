package dhcp6

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// reply is an answer with one association that has the given addresses.
func reply(t1, t2 time.Duration, addresses ...*dhcpv6.OptIAAddress) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply}
	m.AddOption(dhcpv6.OptServerID(server))
	ia := &dhcpv6.OptIANA{IaId: iaid, T1: t1, T2: t2}
	for _, a := range addresses {
		ia.Options.Add(a)
	}
	m.AddOption(ia)
	return m
}

func address(text string, preferred, valid time.Duration) *dhcpv6.OptIAAddress {
	return &dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(text), PreferredLifetime: preferred, ValidLifetime: valid}
}

func TestTheTimesOfALeaseMakeSense(t *testing.T) {
	for name, c := range map[string]struct {
		t1, t2                time.Duration
		preferred, valid      time.Duration
		renew, rebind, expire time.Duration
	}{
		"as the server says":       {1000 * time.Second, 1600 * time.Second, 2000 * time.Second, 3000 * time.Second, 1000 * time.Second, 1600 * time.Second, 3000 * time.Second},
		"the server leaves it":     {0, 0, 2000 * time.Second, 3000 * time.Second, 1000 * time.Second, 1600 * time.Second, 3000 * time.Second},
		"rebinding before renewal": {1600 * time.Second, 1000 * time.Second, 2000 * time.Second, 3000 * time.Second, 1000 * time.Second, 1600 * time.Second, 3000 * time.Second},
		"after its end":            {1000 * time.Second, 4000 * time.Second, 2000 * time.Second, 3000 * time.Second, 1000 * time.Second, 1600 * time.Second, 3000 * time.Second},
		"without end":              {0, 0, Forever, Forever, Forever, Forever, Forever},
		"far too short":            {time.Second, time.Second, time.Second, time.Second, 15 * time.Second, 22500 * time.Millisecond, 30 * time.Second},
	} {
		l, err := read(reply(c.t1, c.t2, address("2001:db8::1", c.preferred, c.valid)), iaid, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if l.Renew != c.renew || l.Rebind != c.rebind || l.Expire != c.expire {
			t.Errorf("%s: renew %s, rebind %s, expire %s; want %s, %s, %s", name, l.Renew, l.Rebind, l.Expire, c.renew, c.rebind, c.expire)
		}
	}
}

func TestOnlyUsableAddressesAreTaken(t *testing.T) {
	hour := time.Hour
	l, err := read(reply(0, 0,
		address("fe80::1", hour, hour), address("ff02::1", hour, hour), address("::1", hour, hour), // not a host's
		address("2001:db8::1", 2*hour, hour), address("2001:db8::2", 0, 0), // lifetimes that cannot be
		address("2001:db8::3", hour, hour), address("2001:db8::4", 0, hour), address("2001:db8::5", hour, hour),
		address("2001:db8::6", hour, hour), address("2001:db8::7", hour, hour), // one too many
	), iaid, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range l.Addresses {
		got = append(got, a.Addr.String())
	}
	if want := []string{"2001:db8::3", "2001:db8::4", "2001:db8::5", "2001:db8::6"}; !slices.Equal(got, want) {
		t.Errorf("took %q, want %q", got, want)
	}
}

func TestAnswersThatAreNoLeaseAreRefused(t *testing.T) {
	good := address("2001:db8::1", time.Hour, time.Hour)
	stranger := reply(0, 0, good)
	stranger.Options.OneIANA().IaId = [4]byte{6, 6, 6, 6}
	unsigned := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply}
	refused := reply(0, 0, good)
	refused.AddOption(&dhcpv6.OptStatusCode{StatusCode: iana.StatusUnspecFail})
	empty := reply(0, 0)
	empty.Options.OneIANA().Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
	for name, m := range map[string]*dhcpv6.Message{
		"no server": unsigned, "another association": stranger, "a refusal": refused, "no addresses": empty, "nothing": reply(0, 0),
	} {
		if l, err := read(m, iaid, false); !errors.Is(err, ErrLease) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}

func TestAStatelessAnswerIsAskedForAgainInTime(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: 10 * time.Minute, time.Minute: 10 * time.Minute, 2 * time.Hour: 2 * time.Hour} {
		m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply}
		m.AddOption(dhcpv6.OptServerID(server))
		m.AddOption(dhcpv6.OptInformationRefreshTime(given))
		m.AddOption(dhcpv6.OptDNS(net.ParseIP("2001:db8::53"), net.ParseIP("ff02::1"), net.ParseIP("2001:db8::53")))
		m.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{"lab.example"}}))
		l, err := read(m, iaid, true)
		if err != nil || l.Renew != want {
			t.Errorf("refresh after %s: %s, %v; want %s", given, l.Renew, err, want)
		}
		if !slices.Equal(l.DNS, []netip.Addr{netip.MustParseAddr("2001:db8::53")}) || !slices.Equal(l.Domains, []string{"lab.example"}) {
			t.Errorf("servers %v, domains %q", l.DNS, l.Domains)
		}
	}
}

package dhcp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestAnAddressThatIsTakenIsToldFromTheAnswer(t *testing.T) {
	own, other := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	address, elsewhere := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8")
	answer := func(op byte, mac net.HardwareAddr, ip netip.Addr) []byte {
		p := probe(mac, address)
		p[7] = op
		copy(p[14:18], ip.AsSlice())
		return p
	}
	for name, c := range map[string]struct {
		packet []byte
		taken  bool
	}{
		"an answer":             {answer(arpReply, other, address), true},
		"an announcement":       {answer(arpRequest, other, address), true},
		"our own":               {answer(arpReply, own, address), false},
		"another address":       {answer(arpReply, other, elsewhere), false},
		"somebody else's probe": {probe(other, address), false},
		"cut short":             {answer(arpReply, other, address)[:27], false},
		"not Ethernet":          {append([]byte{0, 6}, answer(arpReply, other, address)[2:]...), false},
		"another operation":     {answer(9, other, address), false},
	} {
		if by, taken := claims(c.packet, own, address); taken != c.taken || taken && by.String() != other.String() {
			t.Errorf("%s: taken is %v by %s", name, taken, by)
		}
	}
}

func TestATakenAddressIsDeclinedAndAnotherAskedForAfterAPause(t *testing.T) {
	k := newTalk(t)
	k.last = k.m.LinkUp(k.now)
	k.bind()
	lease, _, _ := k.m.Lease()
	if a := k.m.Conflict(k.now, netip.MustParseAddr("192.0.2.99"), nil); len(a) != 0 {
		t.Fatalf("an address of nobody's concern does %+v", a)
	}
	k.last = k.m.Conflict(k.now, lease.Address.Addr(), net.HardwareAddr{2, 0, 0, 0, 0, 2})
	k.expect(dhcpv4.MessageTypeDecline)
	if len(k.last) != 2 || k.last[1].Lost == "" {
		t.Fatalf("got %+v", k.last)
	}
	decline := k.sent()
	if got, _ := v4(decline.RequestedIPAddress()); got != lease.Address.Addr() || decline.ServerIdentifier() == nil {
		t.Errorf("declined %s of server %s", got, decline.ServerIdentifier())
	}
	if pause := k.wait(); pause != declinePause {
		t.Errorf("goes on after %s", pause)
	}
	k.expect(dhcpv4.MessageTypeDiscover)
}

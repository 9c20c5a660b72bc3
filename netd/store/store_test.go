package store

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/profiles"
)

func peer(name, address, subnet string) profiles.Peer {
	return profiles.Peer{Name: name, Addresses: []netip.Addr{netip.MustParseAddr(address)},
		Subnets: []netip.Prefix{netip.MustParsePrefix(subnet)}}
}

func TestStaticDeliversTheFullSetAndThenChanges(t *testing.T) {
	a, b := peer("a", "10.0.0.1", "10.244.1.0/24"), peer("b", "10.0.0.2", "10.244.2.0/24")
	s := NewStatic("self", lease.VXLAN, []profiles.Peer{peer("self", "10.0.0.9", "10.244.9.0/24"), a})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var leases map[string]lease.Lease
	n := 0
	for u, err := range s.Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		leases = u.Apply(leases)
		switch n++; n {
		case 1:
			if !u.Full || len(leases) != 1 {
				t.Fatalf("first update is %+v, want the full set without this node", u)
			}
			s.Replace("self", lease.VXLAN, []profiles.Peer{peer("self", "10.0.0.9", "10.244.9.0/24"), a, b})
		case 2:
			if u.Full || len(u.Set) != 1 || len(leases) != 2 {
				t.Fatalf("second update is %+v, want what is new", u)
			}
			s.Replace("self", lease.VXLAN, nil)
		case 3:
			if len(u.Gone) != 2 || len(leases) != 0 {
				t.Fatalf("third update is %+v, want both gone", u)
			}
			return
		}
	}
	t.Fatalf("the watch ended after %d updates", n)
}

func TestPeerWithoutMACHasTheOneOfItsName(t *testing.T) {
	l := FromPeer("vxlan", peer("a", "fd00::1", "fd42:0:0:1::/64"))
	if l.IPv6.MAC != profiles.VTEPMAC("a").String() || !l.IPv4.IsZero() || l.IPv6.Address != netip.MustParseAddr("fd00::1") {
		t.Errorf("lease is %+v", l)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range NewStatic("self", lease.VXLAN, nil).Watch(ctx) {
		cancel()
	}
}

package wireguard

import (
	"net/netip"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/wanted"
)

var (
	begin   = time.Unix(1_800_000_000, 0)
	two     = wanted.Key{2}
	leased  = netip.MustParseAddrPort("10.0.0.2:51820")
	roamed  = netip.MustParseAddrPort("192.0.2.9:40000")
	nobody  netip.AddrPort
	subnets = []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")}
)

// A scene is one peer of one device, and what happens to it.
type scene struct {
	r    Roaming
	now  time.Time
	peer Peer
}

func newScene() *scene {
	s := &scene{now: begin}
	s.peer.WGPeer = wanted.WGPeer{Link: "flannel-wg", PublicKey: two, Endpoint: leased, AllowedIPs: subnets}
	s.pass(leased)
	return s
}

// pass is a pass of the loop with a lease's endpoint; it returns the endpoint
// that is set.
func (s *scene) pass(endpoint netip.AddrPort) netip.AddrPort {
	want := []wanted.WGPeer{{Link: "flannel-wg", PublicKey: two, Endpoint: endpoint, AllowedIPs: subnets}}
	set := s.r.Settle([]wanted.WGPeer{s.peer.WGPeer}, want)[0].Endpoint
	s.r.Applied(want)
	if set.IsValid() {
		s.peer.Endpoint = set
	}
	return set
}

// look lets time pass and looks at the kernel.
func (s *scene) look(after time.Duration, talks bool, others ...netip.AddrPort) bool {
	s.now = s.now.Add(after)
	if talks {
		s.peer.Sent += 148 // of a handshake initiation
	}
	return s.r.Look(s.now, []Device{{Name: "flannel-wg", Peers: []Peer{s.peer}}}, map[wanted.Key][]netip.AddrPort{two: others})
}

func TestNewPeerHasTheEndpointOfItsLease(t *testing.T) {
	var r Roaming
	want := []wanted.WGPeer{{Link: "flannel-wg", PublicKey: two, Endpoint: leased}}
	if got := r.Settle(nil, want)[0].Endpoint; got != leased {
		t.Errorf("endpoint is %v", got)
	}
}

func TestLearnedEndpointIsNotUndone(t *testing.T) {
	s := newScene()
	s.peer.Endpoint, s.peer.Handshake = roamed, s.now
	s.look(time.Second, true)
	if got := s.pass(leased); got != nobody {
		t.Errorf("a pass sets %v", got)
	}
}

func TestLearnedEndpointOutlivesARestart(t *testing.T) {
	s := newScene()
	s.peer.Endpoint, s.peer.Handshake = roamed, s.now
	s.r = Roaming{}
	s.look(time.Second, true)
	if got := s.pass(leased); got != nobody {
		t.Errorf("the first pass sets %v", got)
	}
}

func TestRestartGivesASilentPeerTheEndpointOfItsLease(t *testing.T) {
	s := newScene()
	s.peer.Endpoint = roamed
	s.r = Roaming{}
	s.look(time.Second, false)
	if got := s.pass(leased); got != leased {
		t.Errorf("the first pass sets %v", got)
	}
}

func TestNewLeaseMovesThePeer(t *testing.T) {
	s := newScene()
	s.peer.Endpoint, s.peer.Handshake = roamed, s.now
	s.look(time.Second, true)
	elsewhere := netip.MustParseAddrPort("10.0.0.22:51820")
	if got := s.pass(elsewhere); got != elsewhere {
		t.Errorf("the pass sets %v, want %v", got, elsewhere)
	}
	if got := s.pass(elsewhere); got != nobody {
		t.Errorf("the next pass sets %v", got)
	}
}

func TestEndpointsAreTriedInTurnWhenNobodyAnswers(t *testing.T) {
	s := newScene()
	s.peer.Handshake = s.now
	s.look(time.Second, true, roamed)
	s.look(RejectAfter, true, roamed)
	var tried []netip.AddrPort
	for range 6 {
		if s.look(LookEvery, true, roamed) {
			tried = append(tried, s.pass(leased))
		}
	}
	if len(tried) < 3 || tried[0] != roamed || tried[1] != leased || tried[2] != roamed {
		t.Errorf("tried %v", tried)
	}
}

func TestSilentPeerNobodyTalksToIsLeftAlone(t *testing.T) {
	s := newScene()
	s.peer.Handshake = s.now
	for range 20 {
		if s.look(LookEvery, false, roamed) {
			t.Fatal("an endpoint is set")
		}
	}
}

func TestUnusableEndpointsAreNotTried(t *testing.T) {
	s := newScene()
	for range 10 {
		bad := []netip.AddrPort{{}, netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("10.0.0.9:0"),
			netip.MustParseAddrPort("224.0.0.1:5"), netip.MustParseAddrPort("[2001:db8::1]:5")}
		if s.look(LookEvery, true, bad...) {
			t.Fatalf("%v is tried", s.pass(leased))
		}
	}
}

func TestEndpointThatStaysIsToldToOthers(t *testing.T) {
	s := newScene()
	s.peer.Endpoint, s.peer.Handshake = roamed, s.now
	s.look(0, true)
	if got := s.r.Learned(); len(got) != 0 {
		t.Errorf("seen once: %v", got)
	}
	s.look(LookEvery, true)
	want := lease.Endpoint{PublicKey: two.String(), Address: roamed}
	if got := s.r.Learned(); len(got) != 1 || got[0] != want {
		t.Errorf("learned %v, want %v", got, want)
	}
	s.peer.Endpoint = leased
	s.look(LookEvery, true)
	if got := s.r.Learned(); len(got) != 0 {
		t.Errorf("the peer is back, and still %v", got)
	}
}

func TestAnEndpointAmongThePodsIsNone(t *testing.T) {
	pod := netip.MustParseAddrPort("10.244.2.7:51820")
	mapped := netip.AddrPortFrom(netip.AddrFrom16(pod.Addr().As16()), pod.Port())
	network := []netip.Prefix{netip.MustParsePrefix("fd00:42::/48"), netip.MustParsePrefix("10.244.0.0/16")}

	s := newScene()
	s.r.Pods = network
	s.peer.Endpoint, s.peer.Handshake = pod, s.now // the peer answers, and from there
	if !s.look(time.Second, true) {
		t.Error("the endpoint may stay")
	}
	if got := s.pass(leased); got != leased {
		t.Errorf("the pass sets %v, want %v", got, leased)
	}

	s.r = Roaming{Pods: network} // as after a restart
	s.peer.Endpoint = pod
	s.look(time.Second, true)
	if got := s.pass(leased); got != leased {
		t.Errorf("the first pass sets %v, want %v", got, leased)
	}

	s.peer.Endpoint = pod
	s.look(0, true)
	s.look(LookEvery, true)
	if got := s.r.Learned(); len(got) != 0 {
		t.Errorf("others are told %v", got)
	}

	s.peer.Endpoint, s.peer.Handshake = leased, time.Time{} // it is silent now
	for range 6 {
		if s.look(LookEvery, true, pod, mapped) {
			t.Fatalf("%v is tried", s.pass(leased))
		}
	}
}

func TestStateOfAPeerFollowsItsHandshake(t *testing.T) {
	const never = -1
	for _, c := range []struct {
		age  time.Duration
		want State
	}{{never, Waiting}, {0, Up}, {RejectAfter, Up}, {RejectAfter + 1, Stale},
		{-time.Second, Up}, {-24 * time.Hour, Stale}} { // of a clock that was set back
		p := Peer{Handshake: begin.Add(-c.age)}
		if c.age == never {
			p.Handshake = time.Time{}
		}
		if got := p.State(begin); got != c.want {
			t.Errorf("after %v it is %s, want %s", c.age, got, c.want)
		}
	}
}

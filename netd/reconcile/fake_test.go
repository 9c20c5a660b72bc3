package reconcile

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"time"

	"weft/netd/diff"
	"weft/netd/firewall"
	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

// fakeKernel is a kernel in memory with one device that has an address.
type fakeKernel struct {
	host    underlay.Host
	state   wanted.State
	scopes  []kernel.Scope
	applied [][]diff.Change
	fail    map[string]error
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{host: underlay.Host{
		Links:     []underlay.Link{{Index: 2, Name: "eth0", MTU: 1500, Up: true}},
		Addresses: []underlay.Address{{Index: 2, IP: netip.MustParseAddr("10.0.0.1")}},
		Defaults:  []underlay.Default{{Index: 2}},
	}}
}

func (k *fakeKernel) Read(s kernel.Scope) (wanted.State, error) {
	k.scopes = append(k.scopes, s)
	return k.state, nil
}

func (k *fakeKernel) Apply(changes []diff.Change) []kernel.Failure {
	k.applied = append(k.applied, changes)
	var failures []kernel.Failure
	for _, c := range changes {
		if err := k.fail[c.Object.String()]; err != nil {
			failures = append(failures, kernel.Failure{Change: c, Err: err})
		}
	}
	return failures
}

func (k *fakeKernel) Host(...netip.Addr) (underlay.Host, error) { return k.host, nil }

func (k *fakeKernel) Direct([]netip.Addr) (map[netip.Addr]int, error) { return nil, nil }

func (k *fakeKernel) Events(context.Context) (iter.Seq2[[]kernel.Event, error], error) {
	return func(func([]kernel.Event, error) bool) {}, nil
}

// fakeFirewall holds what it is told.
type fakeFirewall struct{ rules firewall.Ruleset }

func (f *fakeFirewall) Ensure(_ context.Context, want firewall.Ruleset) (bool, error) {
	changed := len(f.rules.Tables) != len(want.Tables)
	f.rules = want
	return changed, nil
}

func (f *fakeFirewall) Changes(context.Context) (iter.Seq2[struct{}, error], error) {
	return func(func(struct{}, error) bool) {}, nil
}

// quiet is a log that nobody reads.
var quiet = slog.New(slog.DiscardHandler)

// testConfig is a node of a large network.
func testConfig() Config {
	return Config{
		Node: profiles.NetdNode{Name: "self", Subnets: []netip.Prefix{netip.MustParsePrefix("10.255.0.0/26")}},
		Network: profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.128.0.0/9")},
			Backend: profiles.Backend{Type: "vxlan"}}.WithDefaults(),
	}
}

func manyPeers(n int) []profiles.Peer {
	peers := make([]profiles.Peer, n)
	for i := range peers {
		peers[i] = profiles.Peer{
			Name:      fmt.Sprintf("peer-%d", i),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})},
			Subnets: []netip.Prefix{netip.PrefixFrom(
				netip.AddrFrom4([4]byte{10, byte(128 | (i+1)>>10), byte((i + 1) >> 2), byte((i + 1) << 6)}), 26)},
		}
	}
	return peers
}

// newTestLoop is a loop that has heard of the peers and made its first pass.
func newTestLoop(k *fakeKernel, peers []profiles.Peer) *Loop {
	l := New(k, &fakeFirewall{}, store.NewStatic("self", lease.VXLAN, nil), testConfig(), quiet,
		time.Now, func(Snapshot) {})
	l.take(updateOf(peers))
	l.step()
	l.takeRules(l.keepRulesOnce(context.Background(), <-l.rules))
	l.step() // what is to be told
	return l
}

// updateOf is a full update of peers.
func updateOf(peers []profiles.Peer) update {
	for u := range store.NewStatic("self", lease.VXLAN, peers).Watch(context.Background()) {
		return update{Update: u}
	}
	return update{}
}

// leasesOf are the leases of peers.
func leasesOf(peers []profiles.Peer) []lease.Lease {
	leases := make([]lease.Lease, len(peers))
	for i, p := range peers {
		leases[i] = store.FromPeer(lease.VXLAN, p)
	}
	return leases
}

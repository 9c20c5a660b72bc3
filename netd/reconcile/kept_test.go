package reconcile

import (
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"weft/netd/diff"
	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/wanted"
	"weft/profiles"
)

// peerState is what a VXLAN node holds for peers with the addresses given, by
// the number of their subnets.
func peerState(peers map[int]string) wanted.State {
	s := wanted.State{Links: []wanted.Link{{Name: "flannel.1", Kind: wanted.KindVXLAN, VXLAN: wanted.VXLAN{VNI: 1, Port: 8472}}}}
	for n, address := range peers {
		base := netip.AddrFrom4([4]byte{10, 244, byte(n), 0})
		mac := wanted.MAC{2, 0, 0, 0, 0, byte(n)}
		s.Routes = append(s.Routes, wanted.Route{Dst: netip.PrefixFrom(base, 24), Via: base, Link: "flannel.1", OnLink: true})
		s.Neighs = append(s.Neighs, wanted.Neighbour{Link: "flannel.1", IP: base, MAC: mac})
		s.FDB = append(s.FDB, wanted.FDBEntry{Link: "flannel.1", MAC: mac, Dst: netip.MustParseAddr(address)})
	}
	s.Sort()
	return s
}

func TestKeptLeasesAddToWhatTheKernelHolds(t *testing.T) {
	have := peerState(map[int]string{2: "10.0.0.102", 3: "10.0.0.3"}) // 2 has moved, 3 is new
	kept := peerState(map[int]string{2: "10.0.0.2", 4: "10.0.0.4"})
	want := peerState(map[int]string{2: "10.0.0.102", 3: "10.0.0.3", 4: "10.0.0.4"})
	got := underKernel(have, kept)
	if changes := diff.Diff(want, got); len(changes) > 0 {
		t.Errorf("it differs from what was expected: %v", changes)
	}
}

func TestKeptLeasesCountWhereTheKernelHoldsNothing(t *testing.T) {
	kept := peerState(map[int]string{2: "10.0.0.2"})
	if changes := diff.Diff(kept, underKernel(wanted.State{}, kept)); len(changes) > 0 {
		t.Errorf("after a boot: %v", changes)
	}
	other := peerState(map[int]string{3: "10.0.0.3"})
	other.Links[0].VXLAN.VNI = 7
	if changes := diff.Diff(kept, underKernel(other, kept)); len(changes) > 0 {
		t.Errorf("with a device that is to be made anew: %v", changes)
	}
}

// That the store has answered, and that an error of it is over, is told at
// once, though a node without subnets has nothing to program and makes no pass.
func TestAnswerOfTheStoreIsToldBeforeThereAreSubnets(t *testing.T) {
	var told []Snapshot
	l := &Loop{log: slog.New(slog.DiscardHandler), publish: func(s Snapshot) { told = append(told, s) }}
	l.config.Network.Store.Type = profiles.StoreKubernetes
	last := func() (answered bool, err error) {
		l.step()
		s := told[len(told)-1]
		return s.StoreAnswered, s.StoreError
	}
	l.take(update{err: errors.New("503")})
	if answered, err := last(); answered || err == nil {
		t.Errorf("away: answered %t, %v", answered, err)
	}
	l.publishError = errors.New("no pod subnet")
	l.take(update{Update: store.Update{Full: true}})
	if answered, err := last(); !answered || err == nil || err.Error() != "no pod subnet" {
		t.Errorf("there: answered %t, %v", answered, err)
	}
}

// A store that is changed while netd runs begins with what it had kept once.
func TestKeptLeasesDoNotReplaceWhatWasHeard(t *testing.T) {
	heard := lease.Lease{Node: "node-2"}
	l := &Loop{leases: map[string]lease.Lease{"a": heard}}
	l.take(update{Update: store.Update{Full: true, Kept: true}})
	if len(l.leases) != 1 || l.kept || l.todo.want {
		t.Errorf("leases are %v, kept %t, todo %+v", l.leases, l.kept, l.todo)
	}
	l.take(update{Update: store.Update{Full: true}})
	if len(l.leases) != 0 {
		t.Errorf("the new store's word does not count: %v", l.leases)
	}
}

package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"weft/netd/diff"
	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/underlay"
	"weft/netd/wanted"
)

// synced makes the fake kernel hold what the loop wants.
func (k *fakeKernel) synced(l *Loop) { k.state = l.state.Wanted }

func TestFirstPassProgramsEverythingAndIsReady(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(3))
	if ready, reason := l.state.Ready(); !ready {
		t.Errorf("not ready: %s", reason)
	}
	if len(k.applied) != 1 || len(k.applied[0]) != 3+3*3 {
		t.Errorf("changes are %v", k.applied)
	}
}

func TestNothingIsTouchedBeforeTheStoreHasAnswered(t *testing.T) {
	k := newFakeKernel()
	l := New(k, &fakeFirewall{}, store.NewStatic("self", lease.VXLAN, nil), testConfig(), quiet, time.Now, func(Snapshot) {})
	l.hear([]kernel.Event{{Lost: true}})
	l.step()
	if len(k.applied) != 0 || len(k.scopes) != 0 {
		t.Error("the kernel was touched")
	}
	if ready, reason := l.state.Ready(); ready || reason != "waiting for the store" {
		t.Errorf("ready %t, reason %q", ready, reason)
	}
}

func TestNothingIsTouchedAsLongAsTheUnderlayIsUnknown(t *testing.T) {
	k := newFakeKernel()
	k.host = underlay.Host{}
	l := newTestLoop(k, manyPeers(3))
	if len(k.applied) != 0 {
		t.Errorf("changes are %v, want none", k.applied)
	}
	if !slices.Equal(k.scopes[0].Hold, []string{"flannel.1"}) || !k.scopes[0].HoldIPv4 {
		t.Errorf("scope is %+v, want flannel.1 held", k.scopes[0])
	}
	if ready, _ := l.state.Ready(); ready {
		t.Error("ready without an underlay")
	}
	k.host = newFakeKernel().host
	l.hear([]kernel.Event{{Host: true}})
	l.step()
	if ready, reason := l.state.Ready(); !ready || len(k.applied) != 1 {
		t.Errorf("ready is %t (%s) after the address came", ready, reason)
	}
}

func TestUnderlayAddressLostForAMomentKeepsTheTunnel(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(3))
	k.synced(l)
	k.host.Addresses = nil
	l.hear([]kernel.Event{{Host: true}})
	l.step()
	if len(k.applied) != 1 {
		t.Errorf("changes are %v, want none since the first pass", k.applied[1:])
	}
	if ready, _ := l.state.Ready(); ready {
		t.Error("ready without an address")
	}
}

func TestEventsThatAgreeCauseNoPass(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(3))
	passes := l.state.Counters.Passes
	var group []kernel.Event
	for _, r := range l.state.Wanted.Routes {
		group = append(group, kernel.Event{Event: diff.Event{Object: r}})
	}
	l.hear(group)
	l.step()
	if l.state.Counters.Passes != passes {
		t.Error("a pass was made")
	}
}

func TestDriftIsReadAndRepairedAndCounted(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(3))
	k.synced(l)
	lost := k.state.Routes[1]
	k.state.Routes = slices.Delete(slices.Clone(k.state.Routes), 1, 2)
	l.hear([]kernel.Event{{Event: diff.Event{Gone: true, Object: lost}}})
	l.step()
	last := k.applied[len(k.applied)-1]
	if len(last) != 1 || last[0].Object != diff.Object(lost) || l.state.Counters.Repairs != 1 {
		t.Errorf("changes are %v, %d repairs counted; want the lost route and 1", last, l.state.Counters.Repairs)
	}
}

// A device that netd brings up is told of as down first; that is no news. Once
// it was up, it is.
func TestDeviceComingUpIsNotMistakenForOneGoingDown(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(1))
	up := l.state.Wanted.Links[0]
	down := up
	down.Up = false
	l.hear([]kernel.Event{{Event: diff.Event{Object: down}, Down: true}})
	if l.todo.read {
		t.Error("the device on its way up was taken for down")
	}
	l.hear([]kernel.Event{{Event: diff.Event{Object: up}}})
	l.hear([]kernel.Event{{Event: diff.Event{Object: down}, Down: true}})
	if !l.todo.read {
		t.Error("the device that went down was not noticed")
	}
}

func TestChangeThatFailsIsTriedAgainAndCostsOnlyItself(t *testing.T) {
	k := newFakeKernel()
	peers := manyPeers(3)
	k.fail = map[string]error{"route 10.128.0.128/26 via 10.128.0.128 dev flannel.1": errors.New("no buffer space")}
	l := newTestLoop(k, peers)
	if ready, reason := l.state.Ready(); ready || len(l.state.Failed) != 1 || !l.state.Failed[peers[1].Subnets[0]] {
		t.Errorf("ready %t (%s), failed %v; want peer-1 alone", ready, reason, l.state.Failed)
	}
	k.synced(l)
	k.state.Routes = slices.Delete(slices.Clone(k.state.Routes), 1, 2)
	k.fail = nil
	if l.todo == (todo{}) {
		t.Fatal("nothing is left to do")
	}
	l.step()
	if ready, reason := l.state.Ready(); !ready {
		t.Errorf("not ready after the second try: %s", reason)
	}
}

func TestBadLeaseDoesNotDisturbTheOthers(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(3))
	before := len(k.applied)
	bad := lease.Lease{Node: "bad", Backend: "vxlan", IPv4: lease.Half{MAC: "garbage"}}
	l.take(update{Update: store.Update{Set: map[string]lease.Lease{"garbage": bad}}})
	l.step()
	if len(k.applied) != before || len(l.state.Refusals) != 1 || len(l.state.Peers) != 3 {
		t.Errorf("%d changes, refusals %v, %d peers", len(k.applied)-before, l.state.Refusals, len(l.state.Peers))
	}
	if ready, reason := l.state.Ready(); !ready {
		t.Errorf("a bad lease of somebody else made the node not ready: %s", reason)
	}
}

func TestErrorOfTheStoreKeepsTheLeases(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(3))
	before := len(k.applied)
	l.take(update{err: errors.New("connection refused")})
	l.step()
	if len(k.applied) != before || len(l.state.Peers) != 3 {
		t.Error("an error of the store changed something")
	}
}

func TestNewLeasesJoinWithoutReadingTheKernel(t *testing.T) {
	k := newFakeKernel()
	l := newTestLoop(k, manyPeers(3))
	reads := len(k.scopes)
	all := manyPeers(5)
	for i := 3; i < 5; i++ {
		l.take(update{Update: store.Update{Set: map[string]lease.Lease{fmt.Sprint(i): store.FromPeer(lease.VXLAN, all[i])}}})
	}
	l.step()
	if len(k.scopes) != reads || len(l.state.Peers) != 5 || len(k.applied[len(k.applied)-1]) != 6 {
		t.Errorf("%d reads, %d peers, last changes %v", len(k.scopes)-reads, len(l.state.Peers), k.applied[len(k.applied)-1])
	}
	full, err := wanted.For(l.node, l.config.Network, leasesOf(all))
	if err != nil || len(diff.Diff(full.State, l.state.Wanted)) != 0 {
		t.Errorf("joining one by one came to another state than all at once (%v)", err)
	}
}

func TestRepairsThatFollowEachOtherPauseButLessThanASecond(t *testing.T) {
	gap := time.Duration(0)
	for range 20 {
		next := nextGap(gap, 100*time.Millisecond)
		if next < gap || next >= time.Second {
			t.Fatalf("pause of %v after one of %v", next, gap)
		}
		gap = next
	}
	if got := nextGap(gap, time.Minute); got != gapMin {
		t.Errorf("pause after a calm minute is %v, want %v", got, gapMin)
	}
}

// BenchmarkOneMoreLease is all that netd itself does for a lease that joins
// 5,000, without the kernel's part.
func BenchmarkOneMoreLease(b *testing.B) {
	l := newTestLoop(newFakeKernel(), manyPeers(5000))
	more := manyPeers(5000 + b.N)
	b.ResetTimer()
	for i := range b.N {
		key := fmt.Sprintf("%06d new", 5000+i)
		l.take(update{Update: store.Update{Set: map[string]lease.Lease{key: store.FromPeer(lease.VXLAN, more[5000+i])}}})
		l.step()
	}
}

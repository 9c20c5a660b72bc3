package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/netd/reconcile"
	"weft/profiles"
)

// A fakeEngine tells of each Ensure by the backend that was asked for.
type fakeEngine struct {
	asked chan string
	news  chan struct{}
	fails chan error // taken before each Ensure, if there is one
}

func newFakeEngine() *fakeEngine {
	return &fakeEngine{asked: make(chan string, 99), news: make(chan struct{}), fails: make(chan error, 9)}
}

func (f *fakeEngine) Ensure(s reconcile.Snapshot) error {
	f.asked <- s.Config.Network.Backend.Type
	select {
	case err := <-f.fails:
		return err
	default:
		return nil
	}
}

func (f *fakeEngine) Changes(ctx context.Context) (iter.Seq2[struct{}, error], error) {
	return func(yield func(struct{}, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.news:
				if !yield(struct{}{}, nil) {
					return
				}
			}
		}
	}, nil
}

// receiveAfter receives until want comes. Only before may come ahead of it, any
// number of times: who pokes twice may be answered once or twice.
func receiveAfter(t *testing.T, from chan string, before, want string) {
	t.Helper()
	for {
		switch got := receive(t, from); got {
		case want:
			return
		case before:
		default:
			t.Fatalf("asked for %s, want %s", got, want)
		}
	}
}

// withBackend is a snapshot of a node that is ready but for the engine of its
// backend.
func withBackend(kind string) reconcile.Snapshot {
	pods := netip.MustParsePrefix("10.244.0.0/16")
	s := reconcile.Snapshot{StoreAnswered: true, Config: reconcile.Config{
		Network: profiles.Network{Pods: []netip.Prefix{pods}, Backend: profiles.Backend{Type: kind}}}}
	s.Node.IPv4 = netip.MustParsePrefix("10.244.1.0/24")
	return s
}

// running runs fake as the engine of ipsec; left says that an earlier netd
// left something of it.
func running(t *testing.T, fake *fakeEngine, left bool) *engines {
	t.Helper()
	e := newEngines(slog.New(slog.DiscardHandler), func(b profiles.Backend) engine {
		if b.Type == profiles.BackendIPsec {
			return fake
		}
		return nil
	}, func(inUse profiles.Backend) engine {
		if left && inUse.Type != profiles.BackendIPsec {
			return fake
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return e
}

func TestTheEngineOfTheBackendWorksAndRemovesWhatItMade(t *testing.T) {
	fake := newFakeEngine()
	e := running(t, fake, false)
	e.set(withBackend("vxlan"))
	e.set(withBackend("ipsec"))
	if got := receive(t, fake.asked); got != "ipsec" {
		t.Errorf("asked for %s", got)
	}
	fake.news <- struct{}{} // what it made was changed
	if got := receive(t, fake.asked); got != "ipsec" {
		t.Errorf("asked for %s after news", got)
	}
	e.set(withBackend("vxlan"))
	receiveAfter(t, fake.asked, "ipsec", "vxlan") // it is told of the other backend
	if problems := e.problems(); len(problems) != 0 {
		t.Errorf("problems are %v", problems)
	}
}

func TestAnEngineThatFailsIsToldAndTriedAgain(t *testing.T) {
	fake := newFakeEngine()
	fake.fails <- errors.New("no charon")
	e := running(t, fake, false)
	e.set(withBackend("ipsec"))
	receive(t, fake.asked)
	nstest.Eventually(t, 5*time.Second, "the problem", func() error {
		if len(e.problems()) == 0 {
			return errors.New("none")
		}
		return nil
	})
	receive(t, fake.asked) // again, by itself
	nstest.Eventually(t, 5*time.Second, "no problem", func() error { return errors.Join(e.problems()...) })
}

func TestNodeIsNotReadyBeforeTheEngineHasDoneItsPart(t *testing.T) {
	fake := newFakeEngine()
	fake.asked = make(chan string) // each Ensure waits until it is received
	e := running(t, fake, false)
	waiting := withBackend("ipsec")
	waiting.StoreAnswered = false
	e.set(waiting)
	receive(t, fake.asked)
	e.set(withBackend("ipsec")) // no other peers, but now all of them are known
	if len(e.problems()) == 0 {
		t.Error("no problem before the engine has seen the store's answer")
	}
	receive(t, fake.asked)
	nstest.Eventually(t, 5*time.Second, "no problem", func() error { return errors.Join(e.problems()...) })
	e.set(withBackend("vxlan"))
	receive(t, fake.asked)
	nstest.Eventually(t, 5*time.Second, "no problem with a backend that has no engine", func() error { return errors.Join(e.problems()...) })
}

// An earlier netd's policies and connections carry packets while nobody knows
// yet who the peers are.
func TestIPsecIsLeftAloneAsLongAsPeersAreNotKnown(t *testing.T) {
	known := withBackend("ipsec")
	known.Node.Underlay.IPv4.Address = netip.MustParseAddr("10.0.0.1")
	for name, c := range map[string]struct {
		change func(*reconcile.Snapshot)
		known  bool
	}{
		"all is known":              {func(*reconcile.Snapshot) {}, true},
		"the store is silent":       {func(s *reconcile.Snapshot) { s.StoreAnswered = false }, false},
		"no pass was made":          {func(s *reconcile.Snapshot) { s.ReadError = errors.New("interrupted") }, false},
		"the node has no subnet":    {func(s *reconcile.Snapshot) { s.Node.IPv4 = netip.Prefix{} }, false},
		"the node has no address":   {func(s *reconcile.Snapshot) { s.Node.Underlay.IPv4.Address = netip.Addr{} }, false},
		"the backend is another":    {func(s *reconcile.Snapshot) { s.Config.Network.Backend.Type = "vxlan" }, true},
		"another, the store silent": {func(s *reconcile.Snapshot) { *s = withBackend("vxlan"); s.StoreAnswered = false }, true},
	} {
		s := known
		c.change(&s)
		want, known := ipsecWant(s)
		if known != c.known || known && want.IsZero() != (s.Config.Network.Backend.Type != "ipsec") {
			t.Errorf("%s: known %v, want %+v", name, known, want)
		}
	}
	known.Kept = true
	if want, _ := ipsecWant(known); !want.Hold {
		t.Error("what is there of peers is not held although their leases are those of an earlier time")
	}
}

func TestASnapshotThatChangesNothingWakesNoEngine(t *testing.T) {
	was := withBackend("ipsec")
	is := was
	is.Counters.Passes++
	if changes(was, is) || !changes(was, withBackend("vxlan")) {
		t.Error("only node, peers and backend matter")
	}
}

func TestWhatTheEngineOfAnEarlierNetdLeftIsRemoved(t *testing.T) {
	fake := newFakeEngine()
	e := running(t, fake, true)
	e.set(withBackend("vxlan"))
	if got := receive(t, fake.asked); got != "vxlan" {
		t.Errorf("asked for %s", got)
	}
}

package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
)

// A said is a store that delivers what it is told to.
type said struct {
	updates   chan func() (store.Update, error)
	published chan lease.Lease
	refuse    error
}

func newSaid() *said {
	return &said{updates: make(chan func() (store.Update, error), 9), published: make(chan lease.Lease, 9)}
}

func (s *said) say(u store.Update, err error) {
	s.updates <- func() (store.Update, error) { return u, err }
}

func (s *said) Watch(ctx context.Context) iter.Seq2[store.Update, error] {
	return func(yield func(store.Update, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case next := <-s.updates:
				if !yield(next()) {
					return
				}
			}
		}
	}
}

func (s *said) Publish(_ context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	if s.refuse != nil {
		return s.refuse
	}
	granted(own, nil)
	s.published <- own
	return nil
}

func full(keys ...string) store.Update {
	u := store.Update{Full: true, Set: map[string]lease.Lease{}}
	for _, key := range keys {
		u.Set[key] = lease.Lease{Node: key}
	}
	return u
}

// watched is what came of watching l.
type watched struct {
	store.Update
	err error
}

func watch(t *testing.T, l *leases) chan watched {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	news := make(chan watched, 9)
	go func() {
		for u, err := range l.Watch(ctx) {
			news <- watched{u, err}
		}
		close(news)
	}()
	return news
}

func receive[T any](t *testing.T, from chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came within 10 s")
	}
	return value
}

func TestAnotherStoreTakesOverWithoutAGap(t *testing.T) {
	first, second := newSaid(), newSaid()
	l := newLeases("static", first, slog.New(slog.DiscardHandler), time.Now)
	news := watch(t, l)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Publish(ctx, lease.Lease{Node: "self"}, func(lease.Lease, error) {}) }()
	receive(t, first.published)
	first.say(full("a", "b"), nil)
	if got := receive(t, news); !got.Full || len(got.Set) != 2 {
		t.Errorf("delivered %+v", got)
	}
	if facts := l.about(); facts.Type != "static" || facts.Leases != 2 || facts.Granted.IsZero() {
		t.Errorf("known is %+v", facts)
	}
	l.use("etcd", second)
	if own := receive(t, second.published); own.Node != "self" {
		t.Errorf("published %+v in the new store", own)
	}
	second.say(full("c"), nil)
	if got := receive(t, news); !got.Full || got.Set["c"].Node != "c" {
		t.Errorf("delivered %+v", got)
	}
	if facts := l.about(); facts.Type != "etcd" || facts.Leases != 1 {
		t.Errorf("known is %+v", facts)
	}
	cancel()
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
}

func TestProblemOfOneEntryIsToldAndPassesTheReconcilerBy(t *testing.T) {
	s := newSaid()
	l := newLeases("etcd", s, slog.New(slog.DiscardHandler), time.Now)
	news := watch(t, l)
	s.say(full("a"), nil)
	receive(t, news)
	s.say(store.Update{}, &store.Problem{Key: "node x", Reason: "no", Fix: "yes"})
	s.say(store.Update{}, errors.New("away"))
	if got := receive(t, news); got.err == nil || got.err.Error() != "away" {
		t.Errorf("delivered %+v, want the second error", got)
	}
	facts := l.about()
	if len(facts.Problems) != 1 || facts.Problems[0].Key != "node x" || facts.Errors != 2 || facts.Error == nil {
		t.Errorf("known is %+v", facts)
	}
	s.say(store.Update{Set: map[string]lease.Lease{"x": {}}}, nil)
	receive(t, news)
	if facts := l.about(); len(facts.Problems) != 0 || facts.Error != nil || facts.Leases != 2 {
		t.Errorf("known is %+v after the entry was put right", facts)
	}
}

func TestAnOwnLeaseThatIsRefusedIsKnown(t *testing.T) {
	s := newSaid()
	s.refuse = errors.New("no room")
	l := newLeases("etcd", s, slog.New(slog.DiscardHandler), time.Now)
	if err := l.Publish(context.Background(), lease.Lease{}, func(lease.Lease, error) {}); !errors.Is(err, s.refuse) {
		t.Errorf("error is %v", err)
	}
	if facts := l.about(); !errors.Is(facts.OwnError, s.refuse) {
		t.Errorf("known is %+v", facts)
	}
}

func TestSubnetEnvIsReadBack(t *testing.T) {
	got := readSubnetEnv("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_IPV6_SUBNET=fd42:0:0:7::1/64\nFLANNEL_MTU=1430\nnonsense\n")
	if len(got) != 2 || got[0].String() != "10.244.7.0/24" || got[1].String() != "fd42:0:0:7::/64" {
		t.Errorf("subnets are %v", got)
	}
	if got := readSubnetEnv("FLANNEL_SUBNET=::ffff:1.2.3.4/100\nFLANNEL_IPV6_SUBNET=10.0.0.0/8"); got != nil {
		t.Errorf("nonsense was read as %v", got)
	}
}

func FuzzReadSubnetEnv(f *testing.F) {
	f.Add("FLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_IPV6_SUBNET=fd42:0:0:7::1/64\n")
	f.Add("FLANNEL_SUBNET=")
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range readSubnetEnv(text) {
			if !p.IsValid() || p != p.Masked() {
				t.Errorf("%q gives %s", text, p)
			}
		}
	})
}

package reconcile

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
)

func TestALoopThatIsStuckShowsNoLife(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		beats   atomic.Int64
		hold    atomic.Bool
		stuck   = make(chan struct{})
		release = make(chan struct{})
	)
	l := New(newFakeKernel(), &fakeFirewall{}, store.NewStatic("self", lease.VXLAN, manyPeers(1)), testConfig(), quiet, time.Now,
		func(Snapshot) {
			if hold.CompareAndSwap(true, false) {
				close(stuck)
				<-release
			}
		})
	alive := make(chan struct{}, 1)
	l.Beat(time.Millisecond, func() {
		beats.Add(1)
		select {
		case alive <- struct{}{}:
		default:
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	await(t, alive)
	hold.Store(true)
	l.Configure(ctx, testConfig()) // has it make a pass
	await(t, stuck)
	select {
	case <-alive: // of before
	default:
	}
	before := beats.Load()
	time.Sleep(20 * time.Millisecond) // many beats of a loop that is not stuck
	if now := beats.Load(); now != before {
		t.Errorf("%d signs of life while the loop is stuck", now-before)
	}
	close(release)
	await(t, alive)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// However much there is to do, a sign of life that is due comes after the next
// pass: on a starved machine a pass may take seconds.
func TestABusyLoopShowsLifeAfterEachPass(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const every, passes = time.Millisecond, 100
	silent, longest, done := 0, 0, 0 // passes; all in the loop
	enough := make(chan struct{})
	l := New(newFakeKernel(), &fakeFirewall{}, store.NewStatic("self", lease.VXLAN, manyPeers(1)), testConfig(), quiet, time.Now,
		func(Snapshot) {
			time.Sleep(2 * every) // a pass is slower than signs of life are due
			silent++
			longest = max(longest, silent)
			if done++; done == passes {
				close(enough)
			}
		})
	l.Beat(every, func() { silent = 0 })
	var busy sync.WaitGroup
	for _, ask := range []func(){func() { l.Configure(ctx, testConfig()) }, l.Look} {
		busy.Go(func() {
			for ctx.Err() == nil {
				ask()
				runtime.Gosched()
			}
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	await(t, enough)
	cancel()
	busy.Wait()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if longest > 2 {
		t.Errorf("%d passes without a sign of life", longest)
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
}

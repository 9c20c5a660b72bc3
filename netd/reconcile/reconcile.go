// Package reconcile keeps the kernel as the store says: it listens to the
// store, the kernel and the packet filter, computes what should be, and makes
// it so.
//
// The loop decides when; what should be is computed by packages wanted and
// firewall, what to change by package diff, and package kernel changes it.
package reconcile

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"weft/netd/diff"
	"weft/netd/firewall"
	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/underlay"
	"weft/netd/wanted"
)

// How often things happen.
const (
	// verifyEvery is how often everything is read again without a reason: the
	// last resort against what no event told of.
	verifyEvery = 30 * time.Second
	// Repairs follow at once, but when one follows another within calm, the
	// pause before the next doubles from gapMin to gapMax, so that two daemons
	// that undo each other's work do not burn the CPU. gapMax is below the
	// second within which drift has to be repaired.
	calm   = 5 * time.Second
	gapMin = 10 * time.Millisecond
	gapMax = 400 * time.Millisecond
	// What failed is tried again after retryMin, doubled up to retryMax.
	retryMin = 200 * time.Millisecond
	retryMax = 10 * time.Second
)

// A Kernel is what the loop needs of package kernel.
type Kernel interface {
	Read(kernel.Scope) (wanted.State, error)
	Apply([]diff.Change) []kernel.Failure
	Host() (underlay.Host, error)
	Direct(addresses []netip.Addr) (map[netip.Addr]bool, error)
	Events(ctx context.Context) (iter.Seq2[[]kernel.Event, error], error)
}

var _ Kernel = (*kernel.Conn)(nil)

// A Loop keeps one node. It is made by [New].
type Loop struct {
	kernel   Kernel
	firewall firewall.Firewall
	store    store.Store
	log      *slog.Logger
	now      func() time.Time
	publish  func(Snapshot)

	updates chan update
	news    chan []kernel.Event
	filters chan struct{}
	configs chan Config

	// What was decided and heard.
	config   Config
	leases   map[string]lease.Lease
	joined   []lease.Lease // of nodes that are new since the plan was made
	plan     wanted.Plan
	node     wanted.Node
	own      lease.Lease
	lastOwn  context.CancelFunc
	state    Snapshot
	have     wanted.State
	rising   map[string]bool // devices brought up, of which no event told yet
	gap      time.Duration
	retry    time.Duration
	notEarly time.Time // repairs before this time would be too soon

	todo todo
}

// todo is what the next pass has to do.
type todo struct {
	underlay bool // choose the underlay again
	want     bool // compute what is wanted again
	joined   bool // add to what is wanted
	read     bool // read the kernel again
	firewall bool // compare the packet filter
	drift    bool // somebody else changed something
}

type update struct {
	store.Update
	err error
}

// New makes a loop. publish is called after each pass, from the loop.
func New(k Kernel, f firewall.Firewall, s store.Store, config Config, log *slog.Logger,
	now func() time.Time, publish func(Snapshot)) *Loop {
	return &Loop{
		kernel: k, firewall: f, store: s, log: log, now: now, publish: publish, config: config,
		updates: make(chan update), news: make(chan []kernel.Event, 64),
		filters: make(chan struct{}, 1), configs: make(chan Config),
		rising: map[string]bool{},
		todo:   todo{underlay: true, want: true, read: true, firewall: true},
	}
}

// Configure gives a running loop a new configuration.
func (l *Loop) Configure(ctx context.Context, config Config) {
	select {
	case l.configs <- config:
	case <-ctx.Done():
	}
}

// Run keeps the node until ctx ends; then it leaves everything as it is, so
// that traffic goes on. The error says what cannot be listened to.
func (l *Loop) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var listeners sync.WaitGroup
	defer listeners.Wait()
	defer cancel(nil)
	// Listening begins before the first look, so that nothing is missed.
	events, err := l.kernel.Events(ctx)
	if err != nil {
		return err
	}
	listeners.Go(func() { l.hearKernel(ctx, cancel, events) })
	// Without a packet filter the tunnel still works; that the rules are
	// missing is told by the passes.
	if filters, err := l.firewall.Changes(ctx); err != nil {
		l.log.Error("firewall: changes are seen late", "error", err, "every", verifyEvery)
	} else {
		listeners.Go(func() { l.hearFirewall(ctx, cancel, filters) })
	}
	listeners.Go(func() { l.hearStore(ctx) })

	verify := time.NewTicker(verifyEvery)
	defer verify.Stop()
	later := time.NewTimer(0)
	defer later.Stop()
	for {
		wait := l.step(ctx)
		later.Reset(wait)
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		case u := <-l.updates:
			l.take(u)
		case group := <-l.news:
			l.hear(group)
		case <-l.filters:
			l.todo.firewall, l.todo.drift = true, true
		case config := <-l.configs:
			l.config = config
			l.todo = todo{underlay: true, want: true, read: true, firewall: true}
		case <-verify.C:
			l.todo.underlay, l.todo.read, l.todo.firewall, l.todo.drift = true, true, true, true
		case <-later.C:
		}
		l.drain()
	}
}

// step makes a pass if there is something to do and it is time, and returns
// how long to wait for news at most.
func (l *Loop) step(ctx context.Context) time.Duration {
	if l.leases == nil || l.todo == (todo{}) {
		return verifyEvery
	}
	if early := l.notEarly.Sub(l.now()); l.todo.drift && early > 0 && !l.todo.want && !l.todo.joined {
		return early
	}
	l.measured(func() { l.pass(ctx) })
	l.publish(l.state)
	if l.todo == (todo{}) {
		l.retry = 0
		return verifyEvery
	}
	l.retry = min(max(2*l.retry, retryMin), retryMax)
	return l.retry
}

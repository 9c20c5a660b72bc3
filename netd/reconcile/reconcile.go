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
	// The own lease that the store would not take is tried again after
	// publishMin, doubled up to publishMax.
	publishMin = time.Second
	publishMax = time.Minute
)

// A Kernel is what the loop needs of package kernel.
type Kernel interface {
	Read(kernel.Scope) (wanted.State, error)
	Apply([]diff.Change) []kernel.Failure
	Host(reach ...netip.Addr) (underlay.Host, error)
	Direct(addresses []netip.Addr) (map[netip.Addr]int, error)
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
	looks   chan struct{}
	configs chan Config
	asks    chan lease.Lease
	grants  chan grant
	tunnels tunnels
	rules   chan rulesWanted
	// rulesKept is what became of them.
	rulesKept chan rulesKept

	// What was decided and heard.
	config  Config
	leases  map[string]lease.Lease
	kept    bool          // leases are not the store's word, but what was kept of it
	joined  []lease.Lease // of nodes that are new since the plan was made
	plan    wanted.Plan
	node    wanted.Node
	own     lease.Lease // asked of the store
	granted granted     // subnets the store gave
	// What is wrong with what the store tells, and with the own lease in it.
	watchError   error
	publishError error
	state        Snapshot
	have         wanted.State
	rising       map[string]bool    // devices brought up, of which no event told yet
	plain        bool               // there are routes on devices that are not netd's
	asked        []netip.Addr       // peers to which the routes were looked up
	direct       map[netip.Addr]int // and what was found
	troubled     map[bool]error     // what is wrong with the underlay, by family (true is IPv6)
	migration    string             // how far it was when it was logged
	// The MTU announced last, and the largest so far.
	lastMTU, largestMTU int
	gap                 time.Duration
	retry               time.Duration
	notEarly            time.Time // repairs before this time would be too soon

	// alive is called by the loop itself, every aliveEvery.
	alive      func()
	aliveEvery time.Duration

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
	tell     bool // the snapshot has changed, nothing else
}

type update struct {
	store.Update
	err error
}

// New makes a loop. publish is called after each pass, from the loop.
func New(k Kernel, f firewall.Firewall, s store.Store, config Config, log *slog.Logger,
	now func() time.Time, publish func(Snapshot)) *Loop {
	l := &Loop{
		kernel: k, firewall: f, store: s, log: log, now: now, publish: publish,
		updates: make(chan update), news: make(chan []kernel.Event, 64),
		filters: make(chan struct{}, 1), looks: make(chan struct{}, 1), configs: make(chan Config),
		asks: make(chan lease.Lease, 1), grants: make(chan grant),
		rules: make(chan rulesWanted, 1), rulesKept: make(chan rulesKept),
		tunnels: tunnels{asks: make(chan chan error)},
		rising:  map[string]bool{},
	}
	l.state.FirewallError = errRulesPending
	l.configure(config)
	return l
}

// Beat has alive called every so often while the loop runs, by the loop: a
// loop that is stuck in a pass does not call it. It is set before Run.
func (l *Loop) Beat(every time.Duration, alive func()) { l.aliveEvery, l.alive = every, alive }

// Configure gives a running loop a new configuration.
func (l *Loop) Configure(ctx context.Context, config Config) {
	select {
	case l.configs <- config:
	case <-ctx.Done():
	}
}

// Look has a running loop compare the kernel soon, for who has seen that it is
// not as wanted.
func (l *Loop) Look() {
	select {
	case l.looks <- struct{}{}:
	default: // it will look anyway
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
	listeners.Go(func() { l.keepPublished(ctx) })
	listeners.Go(func() { l.keepRules(ctx) })

	verify := time.NewTicker(verifyEvery)
	defer verify.Stop()
	var beat <-chan time.Time
	if l.aliveEvery > 0 {
		ticker := time.NewTicker(l.aliveEvery)
		defer ticker.Stop()
		beat = ticker.C
	}
	later := time.NewTimer(0)
	defer later.Stop()
	for {
		wait := l.step()
		later.Reset(min(wait, l.untilLook()))
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
		case kept := <-l.rulesKept:
			l.takeRules(kept)
		case <-l.looks:
			l.todo.read, l.todo.drift = true, true
		case g := <-l.grants:
			l.takeGrant(g)
		case answer := <-l.tunnels.asks:
			l.askedToRotate(answer)
		case config := <-l.configs:
			l.configure(config)
		case <-verify.C:
			l.todo.underlay, l.todo.read, l.todo.firewall, l.todo.drift = true, true, true, true
		case <-beat:
			l.alive()
		case <-later.C:
		}
		select {
		case <-beat: // does not wait for its turn among all that happens
			l.alive()
		default:
		}
		l.drain()
		l.look()
	}
}

// step makes a pass if there is something to do and it is time, and returns
// how long to wait for news at most.
func (l *Loop) step() time.Duration {
	if l.todo == (todo{}) {
		return verifyEvery
	}
	if l.leases == nil || l.config.opens() && l.granted == (granted{}) {
		return l.early()
	}
	if early := l.notEarly.Sub(l.now()); l.todo.drift && early > 0 && !l.todo.want && !l.todo.joined {
		return early
	}
	if l.todo == (todo{tell: true}) {
		l.todo = todo{}
		l.publish(l.state)
		return verifyEvery
	}
	l.measured(func() { l.pass() })
	l.publish(l.state)
	if l.todo == (todo{}) {
		l.retry = 0
		return verifyEvery
	}
	l.retry = min(max(2*l.retry, retryMin), retryMax)
	return l.retry
}

// early does what can be done before the store has answered: a node that has
// no subnets yet asks for them. Until it has them the kernel is left as it
// is, since what it holds may be right.
func (l *Loop) early() time.Duration {
	if l.config.opens() && l.todo.underlay {
		l.state.Config = l.config
		l.todo.underlay, l.todo.tell = false, true
		if l.state.ReadError = l.chooseUnderlay(); l.state.ReadError != nil {
			l.todo.underlay = true
			return retryMax
		}
		l.state.Node = l.node
		l.publishOwn()
	}
	if l.todo.tell {
		l.todo.tell = false
		l.publish(l.state)
	}
	return verifyEvery
}

// configure makes a configuration the loop's.
func (l *Loop) configure(c Config) {
	l.config, l.tunnels.loaded = c, false
	if c.opens() && l.granted == (granted{}) && len(c.Given) > 0 {
		var given lease.Lease
		for _, subnet := range c.Given {
			given.Half(subnet.Addr().Is6()).Subnet = subnet
		}
		if err := l.useGranted(given); err != nil {
			l.log.Info("the last subnets are not used", "reason", err)
		}
	}
	l.todo = todo{underlay: true, want: true, read: true, firewall: true}
}

package ipsec

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"weft/netd/vici"
)

// patience is how long the node with the higher address lets the other one
// begin, so that not both do at once and end up with two associations.
const patience = 3 * time.Second

// An Engine keeps IPsec on a node. It is made by [New]. Ensure and Changes
// may be called from two goroutines.
type Engine struct {
	process process
	log     *slog.Logger
	now     func() time.Time
	news    chan struct{}
	heard   atomic.Bool // of something since all was last looked at

	mu     sync.Mutex
	kernel xfrm // opened when first used, in the network namespace of the thread

	// What Ensure remembers.
	used    bool                 // this Engine, or one before it, has set up something
	psk     string               // what charon was given by this Engine
	missing map[string]time.Time // since when nothing carries a connection
	done    Want                 // what was brought about last; zero when that failed
}

// New makes an engine that keeps its files in dir, such as [DefaultDir].
func New(dir string, log *slog.Logger, now func() time.Time) *Engine {
	return &Engine{
		process: process{dir: dir, places: Places, log: log, now: now},
		log:     log, now: now, used: true, news: make(chan struct{}, 1), missing: map[string]time.Time{},
	}
}

func (e *Engine) socket() string { return filepath.Join(e.process.dir, socketFile) }

// notify tells Changes of news.
func (e *Engine) notify() {
	e.heard.Store(true)
	select {
	case e.news <- struct{}{}:
	default: // told already
	}
}

// xfrm is the engine's socket to the kernel.
func (e *Engine) xfrm() (kernel xfrm, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kernel.conn == nil {
		e.kernel, err = openXFRM()
	}
	return e.kernel, err
}

// Ensure makes the kernel and charon hold what is wanted, and reports whether
// anything had to be changed. Charon is started when it does not run; until it
// answers, an error says so, and [Engine.Changes] delivers when it does.
//
// A conversation with charon is bounded in time. What did not fit into it is an
// error, and the next call goes on from there.
func (e *Engine) Ensure(want Want) (changed bool, err error) {
	before := e.done
	e.done = Want{}
	if want.IsZero() {
		return e.remove()
	}
	e.used = true
	// One more peer does not cost a look at all the others, unless there is
	// news of them.
	if joined, only := want.Joined(before); only && len(joined) > 0 && !e.heard.Load() {
		part := want
		part.Peers = joined
		changed, err = e.ensure(part, false)
	} else {
		e.heard.Store(false)
		changed, err = e.ensure(want, true)
	}
	if err == nil {
		e.done = want
	}
	return changed, err
}

// ensure makes it so. With all, want is all that should be; otherwise nothing
// of what is wanted is there, and what else there is, is right.
func (e *Engine) ensure(want Want, all bool) (changed bool, err error) {
	kernel, err := e.xfrm()
	if err != nil {
		return false, err
	}
	var have Have
	if all {
		if have.Policies, err = kernel.policies(); err != nil {
			return false, err
		}
	}
	// The policies come first: without them packets would go out in clear.
	var steps Steps
	steps.planPolicies(want, have)
	changed = len(steps.SetPolicies) > 0
	if err := kernel.set(steps.SetPolicies); err != nil {
		return changed, err
	}
	psk, err := readPSK(want.PSKFile)
	if err != nil {
		return changed, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), talkWithin)
	defer cancel()
	charon, err := vici.Dial(ctx, e.socket())
	if err != nil {
		return changed, e.process.start()
	}
	defer charon.Close()
	early := newlyMissing{local: want.Local, since: e.missing, now: e.now(), still: e.missing}
	if all {
		if err := e.share(ctx, charon, psk); err != nil {
			return changed, err
		}
		// charon first: what it calls installed is in the kernel by then.
		if err := read(ctx, charon, &have); err != nil {
			return changed, err
		}
		if have.SPIs, err = kernel.spis(); err != nil {
			return changed, err
		}
		early.still = map[string]time.Time{}
	}
	steps.planCharon(want, have, early.is)
	if e.missing = early.still; early.news {
		time.AfterFunc(patience, e.notify)
	}
	if steps.Changes() == 0 {
		return false, nil
	}
	start := time.Now()
	err = (&talk{ctx: ctx, charon: charon}).apply(kernel, want, steps)
	e.log.Info("ipsec", "set policies", len(steps.SetPolicies), "load", len(steps.Load), "initiate", len(steps.Initiate),
		"unload", len(steps.Unload), "end", len(steps.EndSAs)+len(steps.EndChildren),
		"remove policies", len(steps.DropPolicies), "charon took", time.Since(start).Round(time.Millisecond))
	return true, err
}

// newlyMissing tells which connections that carry nothing the peer should
// begin.
type newlyMissing struct {
	local netip.Addr // this node's
	now   time.Time
	// since is when each connection was first missed, still the same for
	// those that are now; news says that one was not missed before.
	since, still map[string]time.Time
	news         bool
}

func (n *newlyMissing) is(c Connection) bool {
	if n.local.Less(c.Peer.Address) {
		return false
	}
	since, known := n.since[c.Name]
	if !known {
		since, n.news = n.now, true
	}
	n.still[c.Name] = since
	return n.now.Sub(since) < patience
}

// remove ends charon and removes the policies, when this or an earlier netd
// had set them up.
func (e *Engine) remove() (changed bool, err error) {
	if !e.used {
		return false, nil
	}
	if _, alive := readPID(filepath.Join(e.process.dir, pidFile)); alive {
		e.process.stop()
		changed = true
	}
	kernel, err := e.xfrm()
	if err != nil {
		e.used = false // a kernel without XFRM holds none of it
		return changed, nil
	}
	policies, err := kernel.policies()
	if err == nil {
		err = kernel.drop(policies)
	}
	e.used = err != nil
	return changed || len(policies) > 0, err
}

// Remove ends what a netd before this one has left running with backend ipsec,
// and removes its policies. Where there was none, it does nothing.
func Remove(dir string, log *slog.Logger) error {
	if _, err := os.Stat(filepath.Join(dir, pidFile)); err != nil {
		return nil
	}
	_, err := New(dir, log, time.Now).remove()
	return err
}

// Changes delivers whenever what [Engine.Ensure] made may no longer be so:
// the kernel's policies or associations were changed, charon came, went, or
// has news of a peer.
func (e *Engine) Changes(ctx context.Context) (iter.Seq2[struct{}, error], error) {
	kernel, err := e.xfrm()
	if err != nil {
		return nil, err
	}
	listener, err := kernel.listen()
	if err != nil {
		return nil, err
	}
	watch, err := newWatch(e.process.dir)
	if err != nil {
		listener.Close()
		return nil, err
	}
	return func(yield func(struct{}, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		ends := make(chan struct{})
		go func() {
			defer close(ends)
			if err := hear(ctx, listener, e.notify); err != nil {
				cancel(err)
			}
		}()
		defer func() { <-ends }()
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			e.watchCharon(ctx, watch)
		}()
		defer func() { <-watching }()
		defer cancel(nil)
		for {
			select {
			case <-ctx.Done():
				if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
					yield(struct{}{}, fmt.Errorf("ipsec: %w", err))
				}
				return
			case <-e.news:
			}
			if !yield(struct{}{}, nil) {
				return
			}
		}
	}, nil
}

package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"weft/netd/reconcile"
	"weft/profiles"
)

// How long an engine waits before it tries again what failed, and how often
// it is asked to look without a reason.
const (
	engineRetryMin = time.Second
	engineRetryMax = time.Minute
	engineVerify   = 30 * time.Second
)

// engines runs the engine of the backend in use, beside the reconciler. When
// the backend changes, the engine of the one before removes what it made.
type engines struct {
	log   *slog.Logger
	build func(profiles.Backend) engine
	// left is the engine of an earlier netd, which may have left something
	// that the backend in use does not want; nil when there is none.
	left func(inUse profiles.Backend) engine
	wake chan struct{}

	mu   sync.Mutex
	next *reconcile.Snapshot
	// begun says that the engine has done, or tried, what a node that was
	// otherwise ready needs; err is what is wrong.
	begun bool
	err   error
}

func newEngines(log *slog.Logger, build, left func(profiles.Backend) engine) *engines {
	return &engines{log: log, build: build, left: left, wake: make(chan struct{}, 1)}
}

// set gives the engine what the reconciler knows.
func (e *engines) set(s reconcile.Snapshot) {
	e.mu.Lock()
	if e.next != nil && backendOf(*e.next) != backendOf(s) {
		e.begun = false
	}
	news := e.next == nil || changes(*e.next, s) || !e.begun
	e.next = &s
	e.mu.Unlock()
	if news {
		e.poke()
	}
}

// changes reports whether an engine has something to do after a snapshot.
func changes(was, is reconcile.Snapshot) bool {
	return was.StoreAnswered != is.StoreAnswered || was.Kept != is.Kept || (was.ReadError == nil) != (is.ReadError == nil) ||
		!reflect.DeepEqual(was.Node, is.Node) || !slices.Equal(was.Peers, is.Peers) ||
		!reflect.DeepEqual(was.Config.Network.Backend, is.Config.Network.Backend)
}

func backendOf(s reconcile.Snapshot) string { return s.Config.Network.Backend.Canonical() }

func (e *engines) poke() {
	select {
	case e.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// problems are what is wrong with the engine now.
func (e *engines) problems() []error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.err != nil:
		return []error{e.err}
	case e.next != nil && hasEngine(e.next.Config.Network.Backend) && !e.begun:
		return []error{fmt.Errorf("backend %s is being set up", backendOf(*e.next))}
	}
	return nil
}

// run works until ctx ends; then it leaves everything as it is.
func (e *engines) run(ctx context.Context) {
	var (
		now    engine
		kind   string
		stop   = func() {}
		retry  time.Duration
		listen sync.WaitGroup
	)
	defer listen.Wait()
	defer func() { stop() }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		e.mu.Lock()
		s := e.next
		e.mu.Unlock()
		if s == nil {
			continue
		}
		if wanted := backendOf(*s); wanted != kind {
			if kind == "" {
				now = e.left(s.Config.Network.Backend)
			}
			if now != nil { // it removes what it made: the snapshot asks for another
				e.note(*s, now.Ensure(*s))
			}
			stop()
			now, kind, stop = e.build(s.Config.Network.Backend), wanted, func() {}
			if now != nil {
				hearing, cancel := context.WithCancel(ctx)
				stop = cancel
				e.listen(hearing, now, &listen)
			}
		}
		if now == nil {
			e.note(*s, nil)
			timer.Reset(time.Hour)
			continue
		}
		if err := now.Ensure(*s); err != nil {
			e.note(*s, err)
			retry = min(max(2*retry, engineRetryMin), engineRetryMax)
			timer.Reset(retry)
			continue
		}
		e.note(*s, nil)
		retry = 0
		timer.Reset(engineVerify)
	}
}

// listen wakes the runner whenever the engine hears of something.
func (e *engines) listen(ctx context.Context, of engine, parts *sync.WaitGroup) {
	news, err := of.Changes(ctx)
	if err != nil {
		e.log.Error("backend: changes are seen late", "error", err, "every", engineVerify)
		return
	}
	parts.Go(func() { e.hear(ctx, news) })
}

func (e *engines) hear(ctx context.Context, news iter.Seq2[struct{}, error]) {
	for _, err := range news {
		if err != nil && ctx.Err() == nil {
			e.log.Error("backend: changes are seen late", "error", err, "every", engineVerify)
			return
		}
		e.poke()
	}
}

// note keeps what is wrong now, after something was done for a snapshot, and
// logs what is news.
func (e *engines) note(s reconcile.Snapshot, err error) {
	ready, _ := s.Ready()
	e.mu.Lock()
	was := e.err
	e.err, e.begun = err, e.begun || ready && backendOf(s) == backendOf(*e.next)
	e.mu.Unlock()
	switch {
	case err != nil && (was == nil || was.Error() != err.Error()):
		e.log.Warn("backend", "error", err)
	case err == nil && was != nil:
		e.log.Info("backend works again")
	}
}

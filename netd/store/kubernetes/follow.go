package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// pageSize is how many nodes are asked for at once, as many as kubectl
	// and half of what client-go takes: some megabytes.
	pageSize = 250
	// pageTimeout is how long one page may take.
	pageTimeout = 2 * time.Minute

	// silence is how long a watch may say nothing. Bookmarks come about once
	// a minute (k8s.io/apiserver/pkg/storage/cacher).
	silence = 3 * time.Minute
	// watchMin and watchMax are between how long a watch is asked to last:
	// random, so that nodes do not come back together.
	watchMin, watchMax = 5 * time.Minute, 10 * time.Minute
	// watchGrace is what the server gets to end a watch by itself.
	watchGrace = 30 * time.Second
	// relistMin and relistMax are between how long a list is trusted: after
	// a restore of its data a server can watch on from a version that means
	// something else now.
	relistMin, relistMax = 10 * time.Minute, 30 * time.Minute
	// outage is how long a server may be away for a watch to go on where it
	// was: enough to be restarted, not to be restored.
	outage = time.Minute
	// settled is how long a watch must last to be no failure.
	settled = 5 * time.Second

	backoffMin, backoffMax = time.Second, 30 * time.Second
)

// A change is news of nodes: of all of them when full.
type change[T any] struct {
	full bool
	// restored says that the failure told of before is over.
	restored bool
	// version is the resource version it brings us to.
	version   string
	set, gone []T
}

// errStopped says that the consumer has had enough.
var errStopped = errors.New("stopped")

// follow delivers the nodes that selector (a field selector, all when empty)
// selects, each as keep makes of it, and then every change, until ctx ends.
// An error delivered says what is wrong now; follow goes on.
func follow[T any](ctx context.Context, c *client, selector string, keep func(object) T) iter.Seq2[change[T], error] {
	return func(yield func(change[T], error) bool) {
		f := &follower[T]{client: c, selector: selector, keep: keep, yield: yield}
		for f.wait(ctx) && f.round(ctx) {
		}
	}
}

type follower[T any] struct {
	client   *client
	selector string
	keep     func(object) T
	yield    func(change[T], error) bool

	// version is where the watch goes on; a list is due when it is empty.
	version string
	// relist is when the next list is due.
	relist time.Time
	// fresh says that no watch has gone on from the last list yet.
	fresh bool
	// since is when the server went away; zero while it is there.
	since time.Time
	// failures are those since all was well, after how long the server asked
	// us to come back.
	failures int
	after    time.Duration
	// told says that a failure was delivered and is not over.
	told bool
}

// round lists if that is due and watches until the watch ends. It is false
// when there is nobody to deliver to.
func (f *follower[T]) round(ctx context.Context) bool {
	now := time.Now()
	if !f.since.IsZero() && now.Sub(f.since) > outage || !now.Before(f.relist) {
		f.version = ""
	}
	if f.version == "" {
		all, version, err := f.list(ctx)
		if err != nil {
			return f.failed(ctx, err)
		}
		f.version, f.since, f.told, f.fresh = version, time.Time{}, false, true
		f.relist = time.Now().Add(f.between(relistMin, relistMax))
		if !f.yield(change[T]{full: true, version: version, set: all}, nil) {
			return false
		}
	}
	start := time.Now()
	count, err := f.watch(ctx)
	useful := count > 0 || time.Since(start) >= settled
	if useful {
		f.failures, f.fresh = 0, false
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, errStopped):
		return false
	case err == nil:
		if !useful {
			f.failures++ // what ends at once is not asked for again at once
		}
	case expired(err):
		// A list is the answer, at once, if it can help.
		f.version, f.failures = "", 0
		if f.fresh {
			f.failures = 1
		}
	default:
		if !resumable(err) {
			f.version = ""
		}
		return f.failed(ctx, err)
	}
	return true
}

// resumable reports whether a watch that ended with err can go on where it
// was. What is not understood is answered with a list.
func resumable(err error) bool {
	var bad *badEvent
	var s *statusError
	switch {
	case errors.Is(err, errSilent), errors.As(err, &bad):
		return false
	case errors.As(err, &s):
		return s.code == http.StatusUnauthorized || s.code == http.StatusForbidden ||
			s.code == http.StatusTooManyRequests || s.code >= 500 || s.code < 400
	}
	return true
}

// failed notes and delivers a failure.
func (f *follower[T]) failed(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if f.since.IsZero() {
		f.since = time.Now()
	}
	f.failures++
	if errors.Is(err, fs.ErrNotExist) {
		// Credentials that are still to be written: looking costs nobody
		// anything, and pods may be waiting for the network.
		f.failures = 1
	}
	f.after = 0
	if s := (*statusError)(nil); errors.As(err, &s) {
		f.after = s.retryAfter
	}
	f.told = true
	return f.yield(change[T]{}, err)
}

// wait waits before the next round, if the last one failed. It is false when
// ctx ended.
func (f *follower[T]) wait(ctx context.Context) bool {
	d := max(backoff(f.failures, f.client.config.Random()), f.after)
	f.after = 0
	return pause(ctx, d)
}

// backoff is how long to wait after a number of failures: up to twice as long
// each time, from 1 to 30 seconds, by a number in [0, 1).
func backoff(failures int, random float64) time.Duration {
	if failures == 0 {
		return 0
	}
	ceiling := min(backoffMin<<min(failures, 10), backoffMax)
	return backoffMin + time.Duration(random*float64(ceiling-backoffMin))
}

// pause waits. It is false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	return ctx.Err() == nil
}

// between is a random time from least to most.
func (f *follower[T]) between(least, most time.Duration) time.Duration {
	return least + time.Duration(f.client.config.Random()*float64(most-least))
}

// list reads all nodes, page by page. Pages of a list that has become too old
// while it was read are given up for all at once.
func (f *follower[T]) list(ctx context.Context) (all []T, version string, err error) {
	all, version, err = f.pages(ctx, pageSize)
	if expired(err) {
		all, version, err = f.pages(ctx, 0)
	}
	return all, version, err
}

func (f *follower[T]) pages(ctx context.Context, limit int) (all []T, version string, err error) {
	query := f.query()
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	for {
		page, err := f.page(ctx, query, &all)
		if err != nil {
			return nil, "", err
		}
		if page.next == "" {
			return all, page.version, nil
		}
		query.Set("continue", page.next)
	}
}

// page reads one page to the end of all.
func (f *follower[T]) page(ctx context.Context, query url.Values, all *[]T) (list, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, pageTimeout, errors.New("list nodes: the answer takes too long"))
	defer cancel()
	response, err := f.client.do(ctx, request{what: "list nodes", method: http.MethodGet, path: "/api/v1/nodes", query: query})
	if err != nil {
		return list{}, err
	}
	defer response.Body.Close()
	before := len(*all)
	page, err := readList(response.Body, func(o object) error {
		if len(*all) == maxNodes {
			return fmt.Errorf("there are more than %d nodes", maxNodes)
		}
		*all = append(*all, f.keep(o))
		return nil
	})
	finish(response)
	switch {
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
		err = fmt.Errorf("list nodes: %w", err)
	case page.next != "" && len(*all) == before:
		err = errors.New("list nodes: a page without nodes is not the last")
	}
	return page, err
}

// query selects the nodes.
func (f *follower[T]) query() url.Values {
	query := url.Values{}
	if f.selector != "" {
		query.Set("fieldSelector", f.selector)
	}
	return query
}

// watch delivers changes from version on until the watch ends, and counts
// what came. The error is nil when the watch came to its end in time.
func (f *follower[T]) watch(ctx context.Context) (count int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lasts := f.between(watchMin, watchMax).Truncate(time.Second)
	due := time.AfterFunc(min(lasts+watchGrace, time.Until(f.relist)), func() { cancel(errDue) })
	defer due.Stop()
	quiet := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer quiet.Stop()

	query := f.query()
	query.Set("watch", "1")
	query.Set("allowWatchBookmarks", "true")
	query.Set("resourceVersion", f.version)
	query.Set("timeoutSeconds", strconv.Itoa(int(lasts/time.Second)))
	response, err := f.client.do(ctx, request{what: "watch nodes", method: http.MethodGet, path: "/api/v1/nodes", query: query})
	if err != nil {
		return 0, why(ctx, err)
	}
	defer response.Body.Close()
	f.since = time.Time{}
	if f.told {
		f.told = false
		if !f.yield(change[T]{restored: true, version: f.version}, nil) {
			return 0, errStopped
		}
	}
	for stream := newEvents(response.Body); ; count++ {
		e, err := stream.next()
		if err != nil {
			return count, why(ctx, err)
		}
		f.version = e.object.Metadata.ResourceVersion
		if !f.deliver(e) {
			return count, errStopped
		}
		quiet.Reset(silence)
	}
}

// why is why a watch ended: nil when it was its time.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, errDue) || err == io.EOF {
		return nil
	}
	if errors.Is(err, errSilent) {
		return fmt.Errorf("watch nodes: %w: nothing for %v", errSilent, silence)
	}
	return err
}

// deliver hands an event on.
func (f *follower[T]) deliver(e event) bool {
	switch e.kind {
	case added, modified:
		return f.yield(change[T]{version: f.version, set: []T{f.keep(e.object)}}, nil)
	case deleted:
		return f.yield(change[T]{version: f.version, gone: []T{f.keep(e.object)}}, nil)
	}
	return true
}

package etcd

import (
	"context"
	"errors"
	"iter"
	"maps"
	"strings"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/store/etcd/client"
)

// relistEvery is how often everything is read again without a reason: the
// last resort against what no event told of, such as an etcd that was put
// back to an old state unseen.
const relistEvery = time.Hour

// Watch delivers the other nodes' leases. Beside what [store.Store] promises:
// an entry that cannot be read is told as a [store.Problem], once and after
// each full set, and its key is among those gone when it is gone; the lease
// that was there before counts until then; why this node has no
// lease itself is told as [DuplicateError], [TakenError] or [FullError]; when
// an error has passed and nothing else has changed, an update that changes
// nothing says so.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Update, error] {
	return func(yield func(store.Update, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w := &watcher{store: s, yield: yield, told: map[string]int64{}}
		if s.config.Known != nil {
			w.good = s.config.Known()
		}
		var pause backoff
		for ctx.Err() == nil {
			err := w.follow(ctx, &pause)
			if w.stopped || ctx.Err() != nil {
				return
			}
			if err == nil {
				continue // read again
			}
			w.error(err)
			if w.stopped {
				return
			}
			var network *NetworkError
			if errors.As(err, &network) {
				// It passes when somebody writes there.
				if s.awaitChange(ctx, client.Range{From: network.Key}, w.revision, func(client.Event) bool { return true }) == nil {
					continue
				}
			}
			if !pause.wait(ctx, err, s.config.Random) {
				return
			}
		}
	}
}

// watcher is one watch. All of it runs in the goroutine of the consumer.
type watcher struct {
	store   *Store
	yield   func(store.Update, error) bool
	stopped bool

	listed   bool // good is the state at revision
	cluster  uint64
	revision int64
	good     map[string]lease.Lease // what the consumer has, by key
	told     map[string]int64       // the unreadable entries that were told of, by key
	failed   bool                   // the consumer's last word is an error
	said     string                 // that error
	own      string                 // the key of the own lease
	alarmed  bool                   // the consumer was told why there is none
}

func (w *watcher) update(u store.Update) {
	if w.stopped {
		return
	}
	w.failed = false
	if w.stopped = !w.yield(u, nil); w.alarmed {
		// That all is well with the others does not end it.
		if _, _, alarm := w.store.ownState(); alarm != nil {
			w.error(alarm)
		}
	}
}

func (w *watcher) error(err error) {
	if w.stopped {
		return
	}
	if w.failed && err.Error() == w.said {
		return // an etcd that is away for hours is no news every five seconds
	}
	w.failed, w.said = true, err.Error()
	w.stopped = !w.yield(store.Update{}, err)
}

// follow reads everything, unless it can go on where it was, and then tells
// what changes. It returns nil to begin again with reading.
func (w *watcher) follow(ctx context.Context, pause *backoff) error {
	s := w.store
	if !w.listed {
		t, err := s.list(ctx)
		w.cluster, w.revision = t.Cluster, t.Revision
		if err != nil {
			return err
		}
		w.full(t)
		w.listed = true
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type message struct {
		news client.News
		err  error
	}
	messages := make(chan message)
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	start := w.revision + 1
	go func() {
		defer close(ended)
		for news, err := range s.client.Watch(ctx, client.Prefix(s.base+"/"), start) {
			select {
			case messages <- message{news, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	relist := time.NewTimer(relistEvery + time.Duration(s.config.Random()*float64(relistEvery)/4))
	defer relist.Stop()
	_, own, _ := s.ownState()
	if !w.ownChanged() {
		return nil
	}
	for !w.stopped {
		select {
		case <-ctx.Done():
			return nil
		case <-relist.C:
			w.listed = false
			return nil
		case <-own:
			_, own, _ = s.ownState()
			if !w.ownChanged() {
				return nil
			}
		case m := <-messages:
			var compacted *client.CompactedError
			if errors.As(m.err, &compacted) {
				w.listed = false
				return nil
			}
			if m.err != nil {
				return m.err
			}
			pause.reset()
			if !w.hear(m.news) {
				w.listed = false
				return nil
			}
		}
	}
	return nil
}

// ownChanged takes the own lease out of what was delivered, and tells what is
// wrong with it. It is false when everything is to be read again, since
// another node may now be where the own lease was.
func (w *watcher) ownChanged() bool {
	key, _, alarm := w.store.ownState()
	if w.own != "" && key != w.own {
		w.own, w.listed = key, false
		return false
	}
	w.own = key
	if _, delivered := w.good[key]; delivered {
		delete(w.good, key)
		w.update(store.Update{Gone: []string{key}, Revision: w.revision})
	}
	switch {
	case alarm != nil:
		w.alarmed = true
		w.error(alarm)
	case w.alarmed:
		w.alarmed = false
		w.update(store.Update{Revision: w.revision})
	}
	return true
}

// full delivers everything.
func (w *watcher) full(t table) {
	good := make(map[string]lease.Lease, len(t.entries))
	told := map[string]int64{}
	var problems []entry
	for _, e := range t.entries {
		if e.bad == nil {
			if !w.store.isOwn(e.key, e.lease) {
				good[e.key] = e.lease
			}
			continue
		}
		if before, known := w.good[e.key]; known {
			good[e.key] = before
		}
		problems = append(problems, e)
		told[e.key] = e.modified
	}
	w.good, w.told = good, told
	w.update(store.Update{Full: true, Set: maps.Clone(good), Revision: t.Revision})
	w.problems(problems)
}

// problems tells of entries that cannot be read.
func (w *watcher) problems(entries []entry) {
	for _, e := range entries {
		if !w.stopped {
			w.stopped = !w.yield(store.Update{}, problem(e))
		}
	}
}

// problem is what is told of an entry that cannot be read.
func problem(e entry) *store.Problem {
	key := e.key
	if len(key) > 2*maxKey {
		key = key[:2*maxKey] + "…"
	}
	return &store.Problem{Key: key, Reason: e.bad.Error(),
		Fix: "delete the key; a node that runs writes its lease again"}
}

// hear takes one message of the watch; false asks to read everything again.
func (w *watcher) hear(n client.News) bool {
	if n.Created {
		// The etcd that was connected to may not be the one that was read: a
		// restored one begins with an old revision, and would tell nothing
		// until it is past the one waited for.
		if n.Cluster != w.cluster || n.Revision < w.revision {
			return false
		}
		if w.failed {
			if _, _, alarm := w.store.ownState(); alarm == nil {
				w.update(store.Update{Revision: w.revision})
			}
		}
	}
	u := store.Update{Set: map[string]lease.Lease{}}
	gone, solved := map[string]bool{}, false
	var problems []entry
	for _, event := range n.Events {
		if event.KV.Key == w.store.configKey() {
			return false
		}
		if !n.Part {
			w.revision = event.KV.Modified
		}
		if !strings.HasPrefix(event.KV.Key, w.store.dir()) {
			continue
		}
		if event.Deleted {
			delete(u.Set, event.KV.Key)
			if w.told[event.KV.Key] != 0 {
				delete(w.told, event.KV.Key)
				gone[event.KV.Key] = true
			}
			if _, known := w.good[event.KV.Key]; known {
				delete(w.good, event.KV.Key)
				gone[event.KV.Key] = true
			}
			continue
		}
		e := parseEntry(w.store.dir(), event.KV)
		switch {
		case e.bad != nil:
			if w.told[e.key] != e.modified && !w.store.isOwn(e.key, lease.Lease{}) {
				w.told[e.key] = e.modified
				problems = append(problems, e)
			}
		case w.store.isOwn(e.key, e.lease):
			solved = solved || w.told[e.key] != 0
			delete(w.told, e.key)
			delete(u.Set, e.key)
			if _, known := w.good[e.key]; known { // another node's, that was taken back
				delete(w.good, e.key)
				gone[e.key] = true
			}
		default:
			delete(w.told, e.key)
			delete(gone, e.key)
			w.good[e.key], u.Set[e.key] = e.lease, e.lease
		}
	}
	if len(n.Events) == 0 && !n.Created && !n.Part {
		w.revision = max(w.revision, n.Revision) // progress
	}
	for key := range gone {
		u.Gone = append(u.Gone, key)
	}
	if u.Revision = w.revision; len(u.Set) > 0 || len(u.Gone) > 0 || solved {
		w.update(u)
	}
	w.problems(problems)
	return true
}

// changeTimeout bounds the wait for a change, in case it was missed.
const changeTimeout = time.Minute

var errNoChange = errors.New("nothing has changed")

// awaitChange waits until something happens to r after revision that is
// wanted. The error says why nothing did.
func (s *Store) awaitChange(ctx context.Context, r client.Range, revision int64, wanted func(client.Event) bool) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for news, err := range s.client.Watch(ctx, r, revision+1) {
		if err != nil {
			return err
		}
		for _, e := range news.Events {
			if wanted(e) {
				return nil
			}
		}
	}
	return errNoChange
}

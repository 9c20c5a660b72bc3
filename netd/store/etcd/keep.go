package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"weft/netd/store/etcd/client"
)

// keepAliveMax is the longest wait between two signs of life. A third of the
// TTL would do for etcd; a machine that sleeps counts no time meanwhile.
const keepAliveMax = time.Hour

// errGone is a watch that has ended.
var errGone = errors.New("the connection is gone")

// Of two nodes with one identity, of which one is a copy, the one that came
// last gives way: a node that took its lease from another address less than
// tenure ago does not take it back, one that has had it for longer does. Where
// both have, since they did not see each other for a while, they take it from
// each other maxDefended times in that time at most.
const (
	tenure      = 10 * time.Second
	maxDefended = 5
)

// keep stands by the own lease until it is no longer as it was; then it is to
// be acquired again. The error says what happened.
func (s *Store) keep(ctx context.Context, h held, uuid string, pause *backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel(nil)
	if begun := h; h.etcd != 0 {
		alive.Go(func() {
			if err := s.keepAlive(ctx, begun); err != nil {
				cancel(err)
			}
		})
	}
	for {
		err := s.watchOwn(ctx, &h, uuid, pause)
		if ctx.Err() != nil {
			if cause := context.Cause(ctx); cause != context.Canceled {
				return cause
			}
			return nil
		}
		if err != nil {
			return err
		}
		// The connection is gone, not the lease.
		for gone := errGone; ; {
			if !pause.wait(ctx, gone, s.config.Random) {
				break
			}
			page, err := s.client.Range(ctx, client.Range{From: h.key})
			if err != nil {
				gone = err
				continue
			}
			if len(page.KVs) != 1 || page.KVs[0].Modified != h.modified || page.KVs[0].Lease != h.etcd {
				return s.lost(h, page.KVs, uuid)
			}
			h.revision = page.Revision
			break
		}
	}
}

// keepAlive gives signs of life; the error says that the etcd lease has
// ended.
func (s *Store) keepAlive(ctx context.Context, h held) error {
	every := min(h.ttl/3, keepAliveMax)
	timer := time.NewTimer(every)
	defer timer.Stop()
	var pause backoff
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		for {
			_, err := s.client.KeepAlive(ctx, h.etcd)
			if err == nil {
				pause.reset()
				break
			}
			if client.IsNotFound(err) {
				return fmt.Errorf("%s: its etcd lease has ended; it is written again", h.key)
			}
			if !pause.wait(ctx, err, s.config.Random) {
				return nil
			}
		}
		timer.Reset(every)
	}
}

// watchOwn watches the own key. It returns nil when the connection breaks and
// an error when the lease is no longer as it was.
func (s *Store) watchOwn(ctx context.Context, h *held, uuid string, pause *backoff) error {
	for news, err := range s.client.Watch(ctx, client.Range{From: h.key}, h.revision+1) {
		if err != nil {
			return nil
		}
		if news.Created {
			if news.Revision < h.revision {
				return fmt.Errorf("%s: etcd was put back to an old state", h.key)
			}
			pause.reset()
		}
		for _, e := range news.Events {
			h.revision = e.KV.Modified
			if e.Deleted {
				return s.lost(*h, nil, uuid)
			}
			if e.KV.Modified > h.modified {
				return s.lost(*h, []client.KV{e.KV}, uuid)
			}
		}
		if len(news.Events) == 0 && !news.Created {
			h.revision = max(h.revision, news.Revision)
		}
	}
	return nil
}

// lost says what became of the own key. Of two nodes with one identity, the
// one that came last gives way, which is noted.
func (s *Store) lost(h held, now []client.KV, uuid string) error {
	if len(now) == 0 {
		return fmt.Errorf("%s: it was deleted; it is written again", h.key)
	}
	e := parseEntry(s.dir(), now[0])
	switch {
	case e.bad != nil:
		return fmt.Errorf("%s: it was overwritten with nonsense (%w); it is written again", h.key, e.bad)
	case e.lease.UUID == uuid && !sameAddress(e.lease, h.lease):
		s.mu.Lock()
		if s.mayTake() {
			s.defended = append(s.defended, time.Now())
		} else {
			s.displaced = e.modified
		}
		s.mu.Unlock()
		return &DuplicateError{Key: h.key, Node: e.lease.Node, UUID: uuid, Address: anyAddress(e.lease), Identity: true}
	}
	if stranger(e, h.lease) {
		return fmt.Errorf("%s: node %s at %s has written its lease there", h.key, e.lease.Node, anyAddress(e.lease))
	}
	return fmt.Errorf("%s: another process has written it; it is acquired again", h.key)
}

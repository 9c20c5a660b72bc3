package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Range reads keys. The error is [ErrTooLarge] when the answer is over the
// limit: ask for fewer keys at once.
func (c *Client) Range(ctx context.Context, r Range) (Page, error) {
	answer, err := c.do(ctx, methodRange, r.encode())
	if err != nil {
		return Page{}, err
	}
	return parsePage(answer)
}

// Txn does then, if all conditions hold, at one revision.
func (c *Client) Txn(ctx context.Context, conditions []If, then ...Op) (Result, error) {
	answer, err := c.do(ctx, methodTxn, txnRequest(conditions, then))
	if err != nil {
		return Result{}, err
	}
	return parseResult(answer)
}

// Compact makes etcd forget everything before revision.
func (c *Client) Compact(ctx context.Context, revision int64) error {
	_, err := c.do(ctx, methodCompact, message(nil).number(1, revision))
	return err
}

// Grant makes a lease that ends ttl after it was last kept alive.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (id int64, err error) {
	answer, err := c.do(ctx, methodGrant, grantRequest(int64(max(ttl/time.Second, 1))))
	if err != nil {
		return 0, err
	}
	id, _, err = parseLease(answer)
	if err == nil && id == 0 {
		err = errors.New("etcd: a lease without number")
	}
	return id, err
}

// KeepAlive lets a lease begin anew and returns how long it now lasts. A lease
// that has ended is told by [IsNotFound].
func (c *Client) KeepAlive(ctx context.Context, id int64) (time.Duration, error) {
	answer, err := c.do(ctx, methodKeepAlive, leaseRequest(id))
	if err != nil {
		return 0, err
	}
	_, ttl, err := parseLease(answer)
	if err != nil {
		return 0, err
	}
	if ttl <= 0 { // [rpc.proto] LeaseKeepAliveResponse: so it is told here
		return 0, &StatusError{Code: codeNotFound, Message: fmt.Sprintf("lease %x has ended", id)}
	}
	return time.Duration(ttl) * time.Second, nil
}

// Revoke ends a lease and deletes its keys.
func (c *Client) Revoke(ctx context.Context, id int64) error {
	_, err := c.do(ctx, methodRevoke, leaseRequest(id))
	return err
}

// CompactedError ends a watch whose start etcd has forgotten: read the keys
// again.
type CompactedError struct {
	// Oldest is the first revision that can still be watched.
	Oldest int64
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("etcd: everything before revision %d has been compacted", e.Oldest)
}

var errSilent = errors.New("etcd does not answer")

// Watch tells of everything that happens to the keys of r from revision on,
// until ctx or the connection ends; a broken one is the last thing it tells.
// A connection that dies silently is noticed within 15 s.
func (c *Client) Watch(ctx context.Context, r Range, revision int64) iter.Seq2[News, error] {
	return func(yield func(News, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		// A member that does not even begin to answer is given up; with no
		// bound it would hold the watch for ever.
		silent := time.AfterFunc(callTimeout, func() { cancel(errSilent) })
		defer silent.Stop()
		begun, stopped := false, false
		err := c.with(ctx, func(s *session) error {
			x, err := s.start(ctx, methodWatch, watchRequest(r, revision), true)
			if err != nil {
				return err
			}
			defer x.close()
			for {
				news, err := x.news()
				if begun && refusedToken(err) {
					// What was told once is not to be told again.
					return fmt.Errorf("etcd %s: ended the watch: %s", x.host, err)
				}
				if err != nil {
					return err
				}
				silent.Stop()
				begun = true
				if stopped = !yield(news, nil); stopped {
					return nil
				}
			}
		})
		if !stopped && err != nil {
			yield(News{}, err)
		}
	}
}

// news is the next message of a watch.
func (x *stream) news() (News, error) {
	data, err := x.next()
	if err == io.EOF {
		return News{}, fmt.Errorf("etcd %s: ended the watch", x.host)
	}
	if err != nil {
		return News{}, err
	}
	n, err := parseNews(data)
	switch {
	case err != nil:
		return News{}, err
	case n.compacted != 0:
		return News{}, &CompactedError{Oldest: n.compacted}
	case n.canceled:
		return News{}, fmt.Errorf("etcd %s: canceled the watch: %s", x.host, n.reason)
	}
	return n, nil
}

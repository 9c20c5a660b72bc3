package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"weft/netd/store/etcd/client"
)

const (
	// pageSize is how many leases are asked for at once; about 1.5 MB.
	pageSize = 5000
	// maxLeases is where a store is no store of leases any more: twenty times
	// the largest Kubernetes cluster that is supported (5,000 nodes).
	maxLeases = 100_000
)

// table is all there is at one revision.
type table struct {
	client.Header
	pools   pools
	config  bool // the network configuration is there
	entries []entry
}

// list reads the network configuration and all leases at one revision: one
// call, or one more for each further page. The error is a [NetworkError] when
// this node cannot follow the configuration; the header counts then, too.
func (s *Store) list(ctx context.Context) (table, error) {
	var t table
	limit := int64(pageSize)
	all := client.Prefix(s.dir())
	all.Limit = limit
	var first client.Result
	err := smaller(&all.Limit, func() (err error) {
		first, err = s.client.Txn(ctx, nil, client.Get(client.Range{From: s.configKey()}), client.Get(all))
		return err
	})
	if err != nil {
		return t, fmt.Errorf("read %s: %w", s.base, err)
	}
	if len(first.Pages) != 2 {
		return t, fmt.Errorf("read %s: etcd answered with %d parts of 2", s.base, len(first.Pages))
	}
	t.Header, t.pools = first.Header, s.mine
	for _, kv := range first.Pages[0].KVs {
		t.config = true
		if t.pools, err = parseNetwork(kv.Value, s.mine); err != nil {
			return t, &NetworkError{Key: s.configKey(), Reason: err.Error()}
		}
	}
	page := first.Pages[1]
	for {
		t.entries = slices.Grow(t.entries, len(page.KVs))
		for _, kv := range page.KVs {
			if len(kv.Key) < len(s.dir()) || kv.Key[:len(s.dir())] != s.dir() {
				return t, fmt.Errorf("read %s: etcd answered with %.80q", s.base, kv.Key)
			}
			t.entries = append(t.entries, parseEntry(s.dir(), kv))
		}
		if !page.More || len(page.KVs) == 0 {
			return t, nil
		}
		if len(t.entries) > maxLeases {
			return t, fmt.Errorf("read %s: more than %d keys; fix: this is no store of leases, or something fills it", s.dir(), maxLeases)
		}
		all.From, all.Revision = page.KVs[len(page.KVs)-1].Key+"\x00", t.Revision
		err = smaller(&all.Limit, func() (err error) {
			page, err = s.client.Range(ctx, all)
			return err
		})
		if err != nil {
			return t, fmt.Errorf("read %s: %w", s.base, err)
		}
	}
}

// smaller asks again for less as long as the answer is too large.
func smaller(limit *int64, ask func() error) error {
	for {
		err := ask()
		if !errors.Is(err, client.ErrTooLarge) || *limit == 1 {
			return err
		}
		*limit = max(*limit/8, 1)
	}
}

// Package etcd is the store of leases in etcd, version 3, in the form flannel
// keeps there, so that netd and flanneld can run side by side.
//
// A network with IPv4 is below PREFIX, with flannel's keys and values byte for
// byte and one field more in each value, Weft, for what netd adds:
//
//	PREFIX/config                            the network, flannel's net-conf
//	PREFIX/subnets/10.244.22.0-24            a lease
//	PREFIX/subnets/10.244.22.0-24&fd42::-64  a lease of a dual-stack network
//
// A network without IPv4, which flanneld does not know in etcd, is below
// PREFIX-weft in the same form, with keys such as
// PREFIX-weft/subnets/fd42:0:0:21::-64; flanneld never reads there.
//
// A node's lease is found by the node's UUID and only then, for a node that
// has run flanneld, by its address. All of a node's lease lives on one etcd
// lease that is kept alive; peers see no event for it. A lease without an
// etcd lease is a reservation and stays one.
//
// etcd is spoken to by package client, which says why and what it saves.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/store/etcd/client"
	"weft/profiles"
)

// DefaultEndpoint is where etcd is when nothing else is said.
const DefaultEndpoint = "http://127.0.0.1:2379"

// DefaultLeaseTTL is flannel's (pkg/subnet/etcd/local_manager.go).
const DefaultLeaseTTL = 24 * time.Hour

// Config says what the store is to be.
type Config struct {
	// Etcd says where etcd is and how leases are kept there.
	Etcd profiles.EtcdStore
	// Network is the profile's, with its defaults.
	Network profiles.Network
	// UUID is this node's identity.
	UUID string
	// Last are the subnets this node had, asked for again when its lease is
	// gone; at most one of each family. May be nil.
	Last func() []netip.Prefix
	// Known are the leases that were there when this node last looked, by key:
	// where one cannot be read any more, the one known counts until it is
	// gone. May be nil.
	Known func() map[string]lease.Lease
	// Log takes what passes.
	Log *slog.Logger
	// Random gives numbers in [0, 1) for the jitter of waits; from
	// math/rand/v2 when nil.
	Random func() float64
}

// Store is the leases in etcd.
type Store struct {
	config Config
	client *client.Client
	mine   pools // of the profile
	base   string
	ttl    time.Duration

	mu      sync.Mutex
	key     string        // of the own lease; empty while there is none
	alarm   error         // why there is no own lease
	changed chan struct{} // closed and replaced when key or alarm change
	// displaced is the last write of the own key by another node with this
	// node's identity; 0 for none.
	displaced int64
	// took is when this process got its lease by taking it from a node at
	// another address, defended when it has taken it back from such nodes.
	took     time.Time
	defended []time.Time
	// held is the lease as this process had it last; without a key as long as
	// it had none. stolen is the last write of its key by another node to
	// which it is left; 0 for none.
	held   held
	stolen int64
}

var _ store.Store = (*Store)(nil)

// New makes a store. It connects when it is used. The error says which
// setting cannot be.
func New(c Config) (*Store, error) {
	if c.UUID == "" {
		return nil, errors.New("etcd store: the node has no UUID")
	}
	e := c.Etcd
	if len(e.Endpoints) == 0 {
		e.Endpoints = []string{DefaultEndpoint}
	}
	if c.Last == nil {
		c.Last = func() []netip.Prefix { return nil }
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	x, err := client.New(client.Config{Endpoints: e.Endpoints, CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile,
		Username: e.Username, PasswordFile: e.PasswordFile})
	if err != nil {
		return nil, err
	}
	mine, err := own(c.Network, e)
	if err != nil {
		return nil, fmt.Errorf("etcd store: %w", err)
	}
	if mine == (pools{}) {
		return nil, errors.New("etcd store: the network has no pods")
	}
	s := &Store{config: c, client: x, mine: mine, base: base(e.Prefix, mine.v4 != nil), ttl: e.LeaseTTL, changed: make(chan struct{})}
	if s.ttl <= 0 {
		s.ttl = DefaultLeaseTTL
	}
	return s, nil
}

// Close ends the connection.
func (s *Store) Close() { s.client.Close() }

func (s *Store) configKey() string { return s.base + configName }
func (s *Store) dir() string       { return s.base + subnetsDir }

// setOwn notes how the own lease stands, for [Store.Watch] to tell.
func (s *Store) setOwn(key string, alarm error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == s.key && alarm == nil && s.alarm == nil {
		return
	}
	s.key, s.alarm = key, alarm
	close(s.changed)
	s.changed = make(chan struct{})
}

// ownState is how the own lease stands, and what is closed when that changes.
func (s *Store) ownState() (key string, changed <-chan struct{}, alarm error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key, s.changed, s.alarm
}

// isOwn reports whether an entry is this node's own: by its identity, or by
// its key as long as nobody else's identity is there.
func (s *Store) isOwn(key string, l lease.Lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.UUID == s.config.UUID || key == s.key && l.UUID == ""
}

// Waits between attempts: flannel's (pkg/subnet/etcd/registry.go), and, where
// etcd cannot be reached at all, not as long: asking a server that is not
// there costs nobody anything, and a node that waits for it has no network.
const (
	backoffMin     = 100 * time.Millisecond
	backoffMax     = 5 * time.Second
	unreachableMax = 800 * time.Millisecond
)

// backoff is a wait that doubles.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// wait waits after an error, less up to a half, so that nodes which lost etcd
// together come back one by one. It is false when ctx has ended.
func (b *backoff) wait(ctx context.Context, err error, random func() float64) bool {
	limit := unreachableMax
	var answer *client.StatusError
	if err == nil || errors.As(err, &answer) {
		limit = backoffMax
	}
	b.next = min(max(2*b.next, backoffMin), limit)
	timer := time.NewTimer(time.Duration(float64(b.next) * (1 - random()/2)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"weft/netd/lease"
	"weft/netd/store/etcd/client"
)

// Publish writes the own lease and keeps it: it is written again when it was
// deleted or has ended, without an end of netd, and granted is called again.
// Subnets that own leaves open are chosen; those it gives must be had. What
// stands against it is told by [Store.Watch] and tried again when something
// has changed there.
func (s *Store) Publish(ctx context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	own, err := s.normal(own)
	if err != nil {
		return err
	}
	var (
		pause backoff
		said  string
	)
	last := s.lastSubnets(own)
	for ctx.Err() == nil {
		h, err := s.acquire(ctx, own, last)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if said != err.Error() {
				said = err.Error()
				s.config.Log.Warn("own lease: it is tried again", "error", err)
			}
			s.refused(ctx, err, h.revision, granted, &pause)
			continue
		}
		pause.reset()
		said = ""
		s.hold(h)
		if h.wrote || h.lease.IPv4.Subnet != last.v4 || h.lease.IPv6.Subnet != last.v6 || !h.lease.Equal(own) {
			s.config.Log.Info("own lease", "key", h.key, "reservation", h.etcd == 0)
		}
		granted(h.lease, nil)
		last = subnets{h.lease.IPv4.Subnet, h.lease.IPv6.Subnet}
		if err := s.keep(ctx, h, own.UUID, &pause); err != nil {
			s.config.Log.Warn("own lease", "error", err)
		}
	}
	return nil
}

// hold notes the lease that this node has.
func (s *Store) hold(h held) {
	s.mu.Lock()
	s.held = h
	s.mu.Unlock()
	s.setOwn(h.key, nil)
}

// normal is the own lease with the parts of the network's families only.
func (s *Store) normal(own lease.Lease) (lease.Lease, error) {
	if own.UUID != s.config.UUID {
		return own, fmt.Errorf("own lease: the identity is %q, the store was made for %q", own.UUID, s.config.UUID)
	}
	for ipv6, p := range map[bool]*pool{false: s.mine.v4, true: s.mine.v6} {
		half := own.Half(ipv6)
		if p == nil {
			*half = lease.Half{}
			continue
		}
		if half.Subnet.IsValid() && !p.holds(half.Subnet) {
			return own, fmt.Errorf("own lease: subnet %s is not one of %s", half.Subnet, p.network)
		}
	}
	if !anyAddress(own).IsValid() {
		return own, errors.New("own lease: it has no address; fix: give the node one, or choose its device")
	}
	return own, nil
}

// lastSubnets are the subnets this node had.
func (s *Store) lastSubnets(own lease.Lease) subnets {
	last := subnets{own.IPv4.Subnet, own.IPv6.Subnet}
	for _, p := range s.config.Last() {
		at := &last.v4
		if p.Addr().Is6() {
			at = &last.v6
		}
		if !at.IsValid() {
			*at = p.Masked()
		}
	}
	return last
}

// refused tells why there is no lease and waits until it can be another way.
func (s *Store) refused(ctx context.Context, err error, revision int64, granted func(lease.Lease, error), pause *backoff) {
	var (
		duplicate *DuplicateError
		taken     *TakenError
		stolen    *StolenError
		full      *FullError
		network   *NetworkError
	)
	var wanted func(client.Event) bool
	switch {
	case errors.As(err, &duplicate):
		wanted = func(e client.Event) bool { return e.KV.Key == duplicate.Key }
	case errors.As(err, &taken):
		wanted = func(e client.Event) bool { return e.KV.Key == taken.Key }
	case errors.As(err, &stolen):
		wanted = func(e client.Event) bool { return e.KV.Key == stolen.Key }
	case errors.As(err, &full):
		wanted = func(e client.Event) bool { return e.Deleted }
	case errors.As(err, &network): // told by Watch already
		wanted = func(client.Event) bool { return false }
	default: // etcd cannot be reached, which Watch tells
		pause.wait(ctx, err, s.config.Random)
		return
	}
	if network == nil {
		s.setOwn("", err)
		granted(lease.Lease{}, err)
	}
	either := func(e client.Event) bool { return wanted(e) || e.KV.Key == s.configKey() }
	if err := s.awaitChange(ctx, client.Prefix(s.base+"/"), revision, either); err != nil {
		pause.wait(ctx, err, s.config.Random)
	}
}

// held is the own lease as it stands in etcd.
type held struct {
	key      string
	lease    lease.Lease
	text     string
	created  int64 // the revision of the first write
	modified int64 // and of the last
	etcd     int64 // the etcd lease; 0 for a reservation
	ttl      time.Duration
	revision int64 // what is known of etcd
	wrote    bool
}

// maxCollisions is how often a subnet is chosen again at once because another
// node was faster. After that it is tried again like any failure.
const maxCollisions = 100

// acquire finds or makes the own lease. The revision of held is right with an
// error too.
func (s *Store) acquire(ctx context.Context, own lease.Lease, last subnets) (held, error) {
	var pause backoff
	for attempt := range maxCollisions {
		t, err := s.list(ctx)
		h := held{revision: t.Revision}
		if err != nil {
			return h, err
		}
		if err := s.clone(t, own); err != nil {
			return h, err
		}
		w := wish{lease: own, last: last, seed: seed(own.UUID, attempt)}
		s.mu.Lock()
		before := s.held
		s.mu.Unlock()
		if before.key != "" && !moved(own, before.lease) {
			w.last, w.stay = subnets{before.lease.IPv4.Subnet, before.lease.IPv6.Subnet}, true
			w.claimed, err = s.claim(ctx, t, own)
		} else if before.key == "" {
			w.claimed, err = s.claimLast(ctx, t, own, last)
		}
		if err != nil {
			return h, err
		}
		c, err := choose(t.entries, t.pools, w)
		if err != nil {
			return h, err
		}
		h.lease = own
		h.lease.IPv4.Subnet, h.lease.IPv6.Subnet = c.subnets.v4, c.subnets.v6
		done, err := s.write(ctx, t, c, &h)
		if done && c.prior != nil && c.prior.bad == nil && c.prior.lease.UUID == own.UUID && !sameAddress(c.prior.lease, own) {
			s.mu.Lock()
			if s.key == "" { // otherwise it is this node that moves, or defends itself
				s.took = time.Now()
			}
			s.mu.Unlock()
		}
		if err != nil || done {
			return h, err
		}
		s.config.Log.Info("own lease: another node was faster", "subnet", c.subnets.name())
		if attempt > 0 && !pause.wait(ctx, nil, s.config.Random) {
			break
		}
	}
	return held{}, fmt.Errorf("own lease: other nodes were faster %d times", maxCollisions)
}

// clone refuses to take back a lease that another node with this node's
// identity has taken: the two would take it from each other for ever.
func (s *Store) clone(t table, own lease.Lease) error {
	s.mu.Lock()
	displaced := s.displaced
	s.mu.Unlock()
	if displaced == 0 {
		return nil
	}
	for _, e := range t.entries {
		if e.bad == nil && e.lease.UUID == own.UUID && e.modified >= displaced && !sameAddress(e.lease, own) {
			return &DuplicateError{Key: e.key, Node: e.lease.Node, UUID: own.UUID, Address: anyAddress(e.lease), Identity: true}
		}
	}
	s.mu.Lock()
	s.displaced = 0
	s.mu.Unlock()
	return nil
}

func anyAddress(l lease.Lease) netip.Addr {
	if l.IPv4.Address.IsValid() {
		return l.IPv4.Address
	}
	return l.IPv6.Address
}

// write brings the choice into etcd, unless it is there already; false says
// that another node was faster.
func (s *Store) write(ctx context.Context, t table, c choice, h *held) (done bool, err error) {
	if h.text, err = encode(h.lease); err != nil {
		return false, err
	}
	h.key = s.dir() + c.subnets.name()
	// Nonsense that somebody wrote over the own lease reserves nothing.
	reserved := c.prior != nil && c.prior.etcd == 0 && c.prior.bad == nil
	if !reserved {
		if err := s.etcdLease(ctx, c.prior, h); err != nil {
			return false, err
		}
	}
	if p := c.prior; p != nil && p.text == h.text && p.etcd == h.etcd && len(c.old) == 0 && t.config {
		h.created, h.modified = p.created, p.modified
		return true, nil
	}
	var conditions []client.If
	if c.prior != nil {
		conditions = append(conditions, client.Unchanged(h.key, c.prior.modified))
	} else {
		conditions = append(conditions, client.Absent(c.collision(s.dir())))
	}
	if c.careful {
		conditions = append(conditions, client.NothingNewer(client.Prefix(s.dir()), t.Revision))
	}
	ops := []client.Op{client.Put(h.key, h.text, h.etcd)}
	for _, old := range c.old {
		conditions = append(conditions, client.Unchanged(old.key, old.modified))
		ops = append(ops, client.Delete(client.Range{From: old.key}))
	}
	if !t.config {
		op, err := s.configOp()
		if err != nil {
			return false, err
		}
		conditions, ops = append(conditions, client.Absent(client.Range{From: s.configKey()})), append(ops, op)
	}
	r, err := s.client.Txn(ctx, conditions, ops...)
	if err != nil {
		return false, fmt.Errorf("write %s: %w", h.key, err)
	}
	h.created, h.modified, h.revision, h.wrote = r.Revision, r.Revision, r.Revision, true
	if c.prior != nil {
		h.created = c.prior.created
	}
	return r.Done, nil
}

// configOp writes the network configuration, so that flanneld can join.
func (s *Store) configOp() (client.Op, error) {
	text, err := encodeNetwork(s.mine, s.config.Network.Backend)
	if err != nil {
		return client.Op{}, fmt.Errorf("network configuration: %w", err)
	}
	return client.Put(s.configKey(), text, 0), nil
}

// etcdLease finds the etcd lease for the own key: the one it has, kept alive
// so that peers see no change, or a new one.
func (s *Store) etcdLease(ctx context.Context, prior *entry, h *held) (err error) {
	if prior != nil && prior.etcd != 0 {
		ttl, err := s.client.KeepAlive(ctx, prior.etcd)
		if err == nil && ttl == s.ttl.Truncate(time.Second) {
			h.etcd, h.ttl = prior.etcd, ttl
			return nil
		}
		if err != nil && !client.IsNotFound(err) {
			return fmt.Errorf("own lease: keep it alive: %w", err)
		}
	}
	h.ttl = s.ttl
	if h.etcd, err = s.client.Grant(ctx, s.ttl); err != nil {
		return fmt.Errorf("own lease: %w", err)
	}
	return nil
}

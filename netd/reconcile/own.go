package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

// A grant is this node's lease as the store holds it, or why it holds none;
// logged says that the store has logged that.
type grant struct {
	asked  lease.Lease
	lease  lease.Lease
	err    error
	logged bool
}

// opens reports whether the store gives this node its subnets: it can, and
// nobody else has.
func (c Config) opens() bool {
	return len(c.Node.Subnets) == 0 && c.Network.Store.Type != profiles.StoreStatic && c.Network.Store.Type != ""
}

// ownLease is what this node asks the store to hold. Subnets are those of the
// configuration; where it has none they are left open, for the store to find
// those it gave this node before or to choose new ones. Not ok is a node
// whose addresses are not known yet.
func ownLease(node wanted.Node, c Config) (own lease.Lease, ok bool) {
	own = lease.Lease{Node: node.Name, UUID: c.Node.UUID, Backend: c.Network.Backend.Canonical()}
	for _, pods := range c.Network.Pods {
		ipv6 := pods.Addr().Is6()
		device, subnet, port := node.Underlay.IPv4, node.IPv4, c.Network.Backend.ListenPort
		if ipv6 {
			device, subnet = node.Underlay.IPv6, node.IPv6
			if c.Network.Backend.Mode == profiles.ModeSeparate || c.Network.Backend.Mode == "" {
				port = c.Network.Backend.ListenPortV6
			}
		}
		if !subnet.IsValid() && !c.opens() {
			continue // the node does not serve the family
		}
		half := lease.Half{Subnet: subnet, Address: underlay.Published(device, ipv6, c.Node, c.Network)}
		if c.opens() {
			half.Subnet = netip.Prefix{}
		}
		switch own.Backend {
		case lease.VXLAN:
			half.MAC, half.VNI = node.MAC.String(), c.Network.Backend.VNI
		case lease.WireGuard:
			half.PublicKey, half.Port = node.PublicKey.String(), uint16(port)
		}
		reached := half.Address.IsValid()
		for _, other := range wanted.Underlays(c.Network.Backend, ipv6) {
			reached = reached || other && node.Underlay.IPv6.Index != 0 || !other && node.Underlay.IPv4.Index != 0
		}
		if !reached {
			return own, false
		}
		*own.Half(ipv6) = half
	}
	return own, !own.IPv4.IsZero() || !own.IPv6.IsZero()
}

// publishOwn has the store told of this node's lease when it has changed.
func (l *Loop) publishOwn() {
	own, ok := ownLease(l.node, l.config)
	if !ok || !l.sign(&own) || own.Equal(l.own) {
		return
	}
	l.own = own
	select {
	case <-l.asks: // one that nobody has taken yet is outdated
	default:
	}
	l.asks <- own
}

// keepPublished publishes the last lease asked for, one at a time, until ctx
// ends.
func (l *Loop) keepPublished(ctx context.Context) {
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case own := <-l.asks:
			stop()
			one, cancel := context.WithCancel(ctx)
			done := make(chan struct{})
			go func() {
				defer close(done)
				l.publishOne(one, own)
			}()
			stop = func() { cancel(); <-done }
		}
	}
}

// publishOne publishes a lease until ctx ends. What the store says is of no
// use to try again is tried again all the same, after longer and longer
// pauses: somebody may have put it right.
func (l *Loop) publishOne(ctx context.Context, own lease.Lease) {
	pause := publishMin
	for {
		err := l.store.Publish(ctx, own, func(given lease.Lease, err error) {
			if err != nil && !errors.Is(err, store.ErrKept) {
				l.tell(ctx, grant{asked: own, err: fmt.Errorf("own lease: %w", err), logged: true})
				return
			}
			pause = publishMin
			l.tell(ctx, grant{asked: own, lease: given})
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		l.tell(ctx, grant{asked: own, err: fmt.Errorf("own lease: %w", err)})
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		pause = min(2*pause, publishMax)
	}
}

// tell hands a grant to the loop.
func (l *Loop) tell(ctx context.Context, g grant) {
	select {
	case l.grants <- g:
	case <-ctx.Done():
	}
}

// takeGrant notes what the store holds for this node.
func (l *Loop) takeGrant(g grant) {
	if !g.asked.Equal(l.own) {
		return // outdated
	}
	err := g.err
	if err == nil && l.config.opens() {
		err = l.useGranted(g.lease)
	}
	if err != nil && !g.logged {
		l.log.Warn("store", "error", err)
	}
	l.publishError = err
	l.state.StoreError = l.storeError()
	l.todo.tell = true
}

// useGranted makes the subnets of a lease this node's.
func (l *Loop) useGranted(given lease.Lease) error {
	next := granted{ipv4: given.IPv4.Subnet, ipv6: given.IPv6.Subnet}
	for _, pods := range l.config.Network.Pods {
		subnet := next.ipv4
		if pods.Addr().Is6() {
			subnet = next.ipv6
		}
		if subnet.IsValid() && (subnet.Bits() < pods.Bits() || !pods.Contains(subnet.Addr())) {
			return fmt.Errorf("own lease: the store gave this node %s, which is outside the network %s; make network.pods the range the store gives subnets from",
				subnet, pods.Masked())
		}
	}
	if !next.ipv4.IsValid() && !next.ipv6.IsValid() {
		return fmt.Errorf("own lease: the store gave this node no subnet; give it one there, such as the node's podCIDR")
	}
	if next != l.granted {
		level := slog.LevelInfo
		if l.granted != (granted{}) { // pods may be there
			level = slog.LevelWarn
		}
		l.log.Log(context.Background(), level, "subnets given by the store", "ipv4", next.ipv4, "ipv6", next.ipv6, "was", l.granted.ipv4, "was6", l.granted.ipv6)
		l.granted = next
		l.todo.underlay, l.todo.firewall = true, true
	}
	return nil
}

// granted are the subnets the store gave.
type granted struct{ ipv4, ipv6 netip.Prefix }

// storeError is what is wrong with the store: that it tells nothing new, or
// that it does not hold this node's lease.
func (l *Loop) storeError() error {
	if l.watchError != nil {
		return l.watchError
	}
	return l.publishError
}

package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"weft/netd/ipsec"
	"weft/netd/reconcile"
	"weft/netd/store"
	"weft/netd/store/etcd"
	"weft/netd/store/kept"
	"weft/netd/store/kubernetes"
	"weft/profiles"
)

// newStore is the store that a configuration asks for. What a store that
// lives elsewhere last said is kept on disk, so that the node has its network
// before the store answers; given are the subnets it gave this node.
func newStore(c profiles.Netd, log *slog.Logger) (s store.Store, given []netip.Prefix, err error) {
	log = log.With("store", c.Network.Store.Type)
	open := func() *kept.Keeper {
		return kept.Open(kept.Config{Dir: c.Paths.State, UUID: c.Node.UUID, Pods: c.Network.Pods,
			Hold: c.Network.Store.Etcd.LeaseTTL, Log: log, Now: time.Now})
	}
	switch c.Network.Store.Type {
	case "", profiles.StoreStatic:
		return store.NewStatic(c.Node.Name, c.Network.Backend.Canonical(), c.Network.Peers), nil, nil
	case profiles.StoreEtcd:
		keeper := open()
		given = keeper.Subnets()
		if len(given) == 0 {
			given = lastSubnets(c.Paths.SubnetEnv) // of flanneld, before netd
		}
		last := func() []netip.Prefix {
			if subnets := keeper.Subnets(); len(subnets) > 0 {
				return subnets
			}
			return given
		}
		inner, err := etcd.New(etcd.Config{Etcd: c.Network.Store.Etcd, Network: c.Network, UUID: c.Node.UUID, Last: last,
			Known: keeper.Leases, Log: log})
		if err != nil {
			return nil, nil, err
		}
		return keeper.Over(inner), given, nil
	case profiles.StoreKubernetes:
		keeper := open()
		inner, err := kubernetes.New(kubernetes.Config{KubernetesStore: c.Network.Store.Kubernetes, Hostname: c.Node.Name,
			Networks: c.Network.Pods, Log: log})
		if err != nil {
			return nil, nil, err
		}
		return keeper.Over(inner), keeper.Subnets(), nil
	}
	return nil, nil, fmt.Errorf("network.store.type: %q is no store; use static, etcd or kubernetes", c.Network.Store.Type)
}

// An engine carries a backend beside the kernel objects that the reconciler
// programs.
type engine interface {
	// Ensure makes things as the snapshot asks, or removes them when the
	// backend is another.
	Ensure(reconcile.Snapshot) error
	// Changes delivers whenever that may no longer be so.
	Changes(context.Context) (iter.Seq2[struct{}, error], error)
}

// ipsecEngine is backend ipsec.
type ipsecEngine struct{ *ipsec.Engine }

func (e ipsecEngine) Ensure(s reconcile.Snapshot) error {
	want, known := ipsecWant(s)
	if !known {
		return nil
	}
	_, err := e.Engine.Ensure(want)
	return err
}

// ipsecWant is what a snapshot asks of backend ipsec. It is not known before the
// store has answered and a pass was made of it, and while the node has no address
// or no subnet: what an earlier netd has left carries packets until then, and no
// peers are not the same as peers that nobody has told of.
func ipsecWant(s reconcile.Snapshot) (want ipsec.Want, known bool) {
	want = ipsec.For(s.Node, s.Config.Network, s.Peers)
	want.Hold = s.Kept
	return want, !hasEngine(s.Config.Network.Backend) || s.StoreAnswered && s.ReadError == nil && !want.IsZero()
}

// hasEngine reports whether a backend needs an engine.
func hasEngine(b profiles.Backend) bool { return b.Canonical() == profiles.BackendIPsec }

// newEngine is the engine of a backend; nil for those that need none.
func newEngine(b profiles.Backend, log *slog.Logger, now func() time.Time) engine {
	if hasEngine(b) {
		return ipsecEngine{ipsec.New(ipsec.DefaultDir, log.With("backend", b.Type), now)}
	}
	if err := ipsec.Remove(ipsec.DefaultDir, log); err != nil {
		log.Warn("what an earlier netd left of backend ipsec", "error", err)
	}
	return nil
}

// leftEngine is the engine of an earlier backend whose files are still there;
// nil when nothing was left.
func leftEngine(inUse profiles.Backend, log *slog.Logger, now func() time.Time) engine {
	if hasEngine(inUse) {
		return nil // it takes over what it finds
	}
	if _, err := os.Stat(ipsec.DefaultDir); err != nil {
		return nil
	}
	return newEngine(profiles.Backend{Type: profiles.BackendIPsec}, log, now)
}

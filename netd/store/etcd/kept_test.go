package etcd_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/etcdtest"
	"weft/netd/store/kept"
)

// A node over its keeper: etcd that is emptied cuts nobody off, and a node
// that boots without etcd has what it knew.
func TestWithAKeeperNobodyIsCutOff(t *testing.T) {
	s := etcdtest.Start(t)
	for i := 1; i <= 8; i++ {
		putFlannel(t, s, i)
	}
	dir := t.TempDir()
	over := func() (*kept.Keeper, store.Store) {
		nw := network(pods4)
		k := kept.Open(kept.Config{Dir: dir, UUID: uuid(1), Pods: nw.Pods, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		inner, err := etcd.New(etcd.Config{Etcd: s.Store(), Network: nw, UUID: uuid(1), Last: k.Subnets, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(inner.Close)
		return k, k.Over(inner)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, first := over()
	var leases map[string]lease.Lease
	fulls := 0
	for u, err := range first.Watch(ctx) {
		if err != nil {
			continue
		}
		if leases = u.Apply(leases); len(leases) != 8 {
			t.Fatalf("%d leases of 8 after %+v", len(leases), u)
		}
		if u.Full {
			if fulls++; fulls == 1 {
				s.Wipe(t)
				continue
			}
			break
		}
	}
	if fulls != 2 {
		t.Fatalf("%d full updates", fulls)
	}
	grants := make(chan lease.Lease, 4)
	publishing, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- first.Publish(publishing, ownLease(1), func(l lease.Lease, _ error) { grants <- l }) }()
	own := <-grants
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.Kill(t)

	start := time.Now()
	_, second := over()
	for u, err := range second.Watch(ctx) {
		if err != nil || !u.Kept || len(u.Set) != 8 {
			t.Errorf("%+v, %v", u, err)
		}
		break
	}
	publishing, stop = context.WithCancel(ctx)
	go func() { ended <- second.Publish(publishing, ownLease(1), func(l lease.Lease, _ error) { grants <- l }) }()
	if again := <-grants; again.IPv4.Subnet != own.IPv4.Subnet {
		t.Errorf("%v, had %v", again.IPv4.Subnet, own.IPv4.Subnet)
	}
	t.Logf("leases and subnet without etcd: after %v", time.Since(start).Round(time.Millisecond))
	stop()
	<-ended
}

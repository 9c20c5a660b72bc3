package etcd_test

import (
	"context"
	"testing"
	"time"

	"weft/netd/store/etcd"
	"weft/netd/store/etcd/etcdtest"
)

// roundTrip is the distance at which flannel needs 14.5 s for 1,000 leases.
const roundTrip = 5 * time.Millisecond

// far is the time from a new store to the delivery of n leases from an etcd
// that is a round trip away.
func far(t testing.TB, s *etcdtest.Server, n int) time.Duration {
	p := etcdtest.NewProxy(t, s, roundTrip)
	x := newNode(t, s, 1, network("10.0.0.0/8"), func(c *etcd.Config) { c.Etcd.Endpoints = []string{p.URL} })
	start := time.Now()
	for u, err := range x.Watch(context.Background()) {
		if err != nil || !u.Full || len(u.Set) != n {
			t.Fatalf("%d leases, %v", len(u.Set), err)
		}
		break
	}
	return time.Since(start)
}

func TestThousandLeasesFromAfar(t *testing.T) {
	s := etcdtest.Start(t)
	fill(t, s, 1000)
	best := far(t, s, 1000)
	for range 4 {
		best = min(best, far(t, s, 1000))
	}
	t.Logf("1,000 leases, etcd %v away: %v", roundTrip, best.Round(100*time.Microsecond))
	if best > 200*time.Millisecond {
		t.Errorf("took %v, want 200ms", best)
	}
}

// From a new store to a lease of one's own: the table, an etcd lease and a
// transaction, after the connection.
func TestOwnLeaseFromAfar(t *testing.T) {
	s := etcdtest.Start(t)
	fill(t, s, 1000)
	p := etcdtest.NewProxy(t, s, roundTrip)
	start := time.Now()
	x := newNode(t, s, 1, network("10.0.0.0/8"), func(c *etcd.Config) { c.Etcd.Endpoints = []string{p.URL} }).publish(t, ownLease(1))
	x.subnet(t, 1)
	t.Logf("own lease among 1,000, etcd %v away: %v", roundTrip, time.Since(start).Round(100*time.Microsecond))
}

func BenchmarkFirstDelivery(b *testing.B) {
	for _, n := range []int{100, 1000, 5000, 10_000} {
		s := etcdtest.Start(b)
		fill(b, s, n)
		b.Run("leases", func(b *testing.B) {
			var sum time.Duration
			for b.Loop() {
				sum += far(b, s, n)
			}
			b.ReportMetric(float64(n), "leases")
			b.ReportMetric(float64(sum.Microseconds())/float64(b.N)/1000, "ms")
		})
		s.Kill(b)
	}
}

package kept

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
)

const self = "00000000-0000-4000-8000-000000000001"

var pods = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd42::/48")}

// script is a store that says what a test sends.
type script struct {
	says   chan any // store.Update or error
	grants []lease.Lease
	asked  lease.Lease
}

func (s *script) Watch(ctx context.Context) iter.Seq2[store.Update, error] {
	return func(yield func(store.Update, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case what := <-s.says:
				u, _ := what.(store.Update)
				err, _ := what.(error)
				if !yield(u, err) {
					return
				}
			}
		}
	}
}

func (s *script) Publish(_ context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	s.asked = own
	for _, l := range s.grants {
		granted(l, nil)
	}
	return nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func config(dir string) Config {
	return Config{Dir: dir, UUID: self, Pods: pods, Log: quiet(), Now: time.Now}
}

func peer(i int) lease.Lease {
	return lease.Lease{Node: fmt.Sprint("node-", i), UUID: fmt.Sprint("uuid-", i), Backend: lease.VXLAN, IPv4: lease.Half{
		Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(i), 0}), 24), Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), MAC: "9e:00:00:00:00:01"}}
}

func set(peers ...int) map[string]lease.Lease {
	m := map[string]lease.Lease{}
	for _, i := range peers {
		m[fmt.Sprint("k", i)] = peer(i)
	}
	return m
}

func full(revision int64, peers ...int) store.Update {
	return store.Update{Full: true, Set: set(peers...), Revision: revision}
}

var errEnd = errors.New("end of the script")

// watch lets a keeper say what the store's updates become; the first is what
// was kept, if it was.
func watch(t *testing.T, k *Keeper, says ...any) (updates []store.Update, leases map[string]lease.Lease) {
	t.Helper()
	inner := &script{says: make(chan any, len(says)+1)}
	for _, what := range append(says, errEnd) {
		inner.says <- what
	}
	for u, err := range k.Over(inner).Watch(context.Background()) {
		if err == errEnd {
			return updates, leases
		}
		if err == nil {
			updates = append(updates, u)
			leases = u.Apply(leases)
		}
	}
	t.Fatal("the watch has ended")
	return nil, nil
}

func names(leases map[string]lease.Lease) string {
	return fmt.Sprint(slices.Sorted(maps.Keys(leases)))
}

func TestWhatWasKeptComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if updates, _ := watch(t, Open(config(dir))); updates != nil {
			t.Errorf("of nothing kept: %+v", updates)
		}
		watch(t, Open(config(dir)), full(5, 1, 2), store.Update{Set: set(3), Gone: []string{"k1"}, Revision: 7})
		updates, leases := watch(t, Open(config(dir)))
		if len(updates) != 1 || !updates[0].Full || !updates[0].Kept || names(leases) != "[k2 k3]" || !leases["k3"].Equal(peer(3)) {
			t.Errorf("%+v", updates)
		}
		// The store's word replaces it, and its errors pass through.
		updates, leases = watch(t, Open(config(dir)), errors.New("not yet"), full(8, 3, 4))
		if len(updates) != 2 || updates[1].Kept || names(leases) != "[k3 k4]" {
			t.Errorf("%+v", updates)
		}
	})
}

func TestWhatDoesNotCountIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { watch(t, Open(config(dir)), full(5, 1, 2)) })
	path := filepath.Join(dir, leasesName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	other, moved := config(dir), config(dir)
	other.UUID = "another"
	moved.Pods = pods[:1]
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		data   []byte
		config Config
	}{
		"another node":    {good, other},
		"another network": {good, moved},
		"a flipped bit":   {flipped, config(dir)},
		"broken off":      {good[:len(good)-7], config(dir)},
		"empty":           {nil, config(dir)},
		"a later version": {bytes.Replace(good, []byte("kept/1"), []byte("kept/2"), 1), config(dir)},
		"something else":  {[]byte("{}"), config(dir)},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		c.config.Log = slog.New(slog.NewTextHandler(&log, nil))
		if k := Open(c.config); k.found || log.Len() == 0 {
			t.Errorf("%s: counts, or nothing was said: %s", name, &log)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if k := Open(config(dir)); !k.found {
		t.Error("the good one does not count")
	}
}

// An etcd that was emptied, or put back, does not cut off the nodes that are
// there; one in which nodes have gone is believed.
func TestRestoredStoreIsNotBelieved(t *testing.T) {
	for _, c := range []struct {
		name  string
		says  []any
		want  string
		again string // after a restart, when the store repeats its last full word
	}{
		{"emptied", []any{full(100, 1, 2, 3), full(2)}, "[k1 k2 k3]", "[k1 k2 k3]"},
		{"put back", []any{full(100, 1, 2, 3), full(50, 1)}, "[k1 k2 k3]", "[k1 k2 k3]"},
		{"nodes are gone", []any{full(100, 1, 2, 3), full(101, 1)}, "[k1]", "[k1]"},
		{"all nodes are gone", []any{full(100, 1, 2, 3), full(101)}, "[]", "[]"},
		{"emptied, without revisions", []any{full(0, 1, 2, 3), full(0)}, "[k1 k2 k3]", "[k1 k2 k3]"},
		{"fewer, without revisions", []any{full(0, 1, 2, 3), full(0, 1)}, "[k1]", "[k1]"},
		{"a node is back and goes", []any{full(100, 1, 2), full(2), store.Update{Set: set(1), Revision: 3}, store.Update{Gone: []string{"k1"}, Revision: 4}}, "[k2]", ""},
		{"read again while some are held", []any{full(100, 1, 2), full(2), full(3, 1)}, "[k1 k2]", "[k1 k2]"},
		{"back with another subnet", []any{full(100, 1, 2), full(2), store.Update{Revision: 3, Set: map[string]lease.Lease{
			"new": {Node: "node-1", UUID: "uuid-1", IPv4: lease.Half{Subnet: netip.MustParsePrefix("10.244.99.0/24")}}}}}, "[k2 new]", ""},
		{"another has its subnet", []any{full(100, 1, 2), full(2), store.Update{Revision: 3, Set: map[string]lease.Lease{
			"new": {Node: "node-9", UUID: "uuid-9", IPv4: lease.Half{Subnet: netip.MustParsePrefix("10.244.0.0/23")}}}}}, "[k2 new]", ""},
		{"another has its address, in a full word", []any{full(100, 1, 2), store.Update{Full: true, Revision: 3, Set: map[string]lease.Lease{
			"new": {Node: "node-9", UUID: "uuid-9", IPv4: lease.Half{Subnet: netip.MustParsePrefix("10.244.50.0/24"), Address: peer(2).IPv4.Address}}}}}, "[k1 new]", ""},
		{"nonsense spans everything", []any{full(100, 1, 2), full(2), store.Update{Revision: 3, Set: map[string]lease.Lease{
			"x": {Node: "node-9", IPv4: lease.Half{Subnet: netip.MustParsePrefix("10.0.0.0/8"), Address: peer(2).IPv4.Address}}}}}, "[k1 k2 x]", ""},
		{"nonsense is the whole network", []any{full(100, 1, 2), full(2), store.Update{Revision: 3, Set: map[string]lease.Lease{
			"x": {Node: "node-9", IPv4: lease.Half{Subnet: pods[0]}}}}}, "[k1 k2 x]", ""},
		{"nonsense in one family", []any{full(100, 1, 2), full(2), store.Update{Revision: 3, Set: map[string]lease.Lease{
			"x": {Node: "node-9", IPv4: peer(1).IPv4, IPv6: lease.Half{Subnet: netip.MustParsePrefix("fd00::/16")}}}}}, "[k1 k2 x]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				_, leases := watch(t, Open(config(dir)), c.says...)
				if names(leases) != c.want {
					t.Errorf("%s, want %s", names(leases), c.want)
				}
				if c.again == "" {
					return
				}
				last := c.says[len(c.says)-1].(store.Update)
				if _, leases = watch(t, Open(config(dir)), last); names(leases) != c.again {
					t.Errorf("after a restart %s, want %s", names(leases), c.again)
				}
			})
		})
	}
}

func TestHeldLeasesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := Open(config(t.TempDir()))
		inner := &script{says: make(chan any, 2)}
		inner.says <- full(100, 1, 2)
		inner.says <- full(2)
		start := time.Now()
		var leases map[string]lease.Lease
		n := 0
		for u := range k.Over(inner).Watch(context.Background()) {
			leases = u.Apply(leases)
			if n++; n == 3 {
				break
			}
		}
		if len(leases) != 0 || time.Since(start) != DefaultHold {
			t.Errorf("%v after %v", leases, time.Since(start))
		}
	})
}

// A card is not worn out by a store that changes all the time.
func TestWritesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		k := Open(config(dir))
		inner := &script{says: make(chan any)}
		writes := 0
		go func() {
			for i := range 100 {
				inner.says <- store.Update{Full: i == 0, Set: set(i), Revision: int64(i + 1)}
				time.Sleep(100 * time.Millisecond)
			}
			inner.says <- errors.New("end")
		}()
		var was os.FileInfo
		for _, err := range k.Over(inner).Watch(context.Background()) {
			if err != nil {
				break
			}
			synctest.Wait()
			if now, err := os.Stat(filepath.Join(dir, leasesName)); err == nil && !os.SameFile(was, now) {
				was, writes = now, writes+1
			}
		}
		if writes < 2 || writes > 5 {
			t.Errorf("%d writes in 10 s", writes)
		}
		if k := Open(config(dir)); len(k.leases) != 100 || k.revision != 100 {
			t.Errorf("%d leases at %d", len(k.leases), k.revision)
		}
	})
}

func TestSubnetsAreGrantedBeforeTheStoreAnswers(t *testing.T) {
	dir := t.TempDir()
	own := lease.Lease{Node: "self", UUID: self}
	got := own
	got.IPv4.Subnet, got.IPv6.Subnet = netip.MustParsePrefix("10.244.7.0/24"), netip.MustParsePrefix("fd42:0:0:7::/64")
	publish := func(own lease.Lease) (granted []lease.Lease, asked lease.Lease) {
		inner := &script{grants: []lease.Lease{got}}
		if err := Open(config(dir)).Over(inner).Publish(context.Background(), own, func(l lease.Lease, _ error) { granted = append(granted, l) }); err != nil {
			t.Fatal(err)
		}
		return granted, inner.asked
	}
	if granted, _ := publish(own); len(granted) != 1 {
		t.Errorf("first: %v", granted)
	}
	granted, asked := publish(own)
	if len(granted) != 2 || !granted[0].Equal(got) || !asked.Equal(own) {
		t.Errorf("granted %v, asked %v", granted, asked)
	}
	if s := Open(config(dir)).Subnets(); len(s) != 2 || s[0] != got.IPv4.Subnet {
		t.Errorf("%v", s)
	}
	// Fixed ones are the configuration's.
	if granted, _ = publish(got); len(granted) != 1 {
		t.Errorf("with fixed subnets: %v", granted)
	}
}

func FuzzKeptFile(f *testing.F) {
	good, err := encode(leasesFile{Owner: Owner{UUID: self, Pods: pods}, Revision: 5, Leases: set(1, 2), Held: []string{"k1"}, HeldUntil: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("weft-kept/1 00000000 0\n"))
	f.Add([]byte(`{"leases":{"k":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c leasesFile
		_ = decode(data, &c)
		// What has the right sum may still be anything.
		body := append([]byte(header(data)+"\n"), data...)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, leasesName), body, 0o600); err != nil {
			t.Fatal(err)
		}
		k := Open(config(dir))
		k.take(full(1, 1))
		k.release()
	})
}

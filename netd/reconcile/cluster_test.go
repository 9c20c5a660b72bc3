package reconcile

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/nstest"
	"weft/netd/store"
	"weft/profiles"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// A memory is a store that several nodes share, in this process. It gives
// out subnets by the identity of nodes.
type memory struct {
	mu      sync.Mutex
	leases  map[string]lease.Lease // by identity
	subnets map[string]int         // by identity
	refuse  error
	changed chan struct{} // closed and replaced at every change
}

func newMemory() *memory {
	return &memory{leases: map[string]lease.Lease{}, subnets: map[string]int{}, changed: make(chan struct{})}
}

func (m *memory) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

// of is the store as one node sees it.
func (m *memory) of(uuid string) store.Store { return view{m, uuid} }

type view struct {
	*memory
	uuid string
}

func (v view) Watch(ctx context.Context) iter.Seq2[store.Update, error] {
	return func(yield func(store.Update, error) bool) {
		for {
			v.mu.Lock()
			set, changed := map[string]lease.Lease{}, v.changed
			for key, l := range v.leases {
				if key != v.uuid {
					set[key] = l
				}
			}
			v.mu.Unlock()
			if !yield(store.Update{Full: true, Set: set}, nil) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}

func (v view) Publish(ctx context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	last := -1
	for {
		v.mu.Lock()
		number, known := v.subnets[v.uuid]
		if !known {
			number = len(v.subnets) + 1
		}
		err, changed := v.refuse, v.changed
		v.mu.Unlock()
		if err != nil {
			return err
		}
		if number != last {
			last = number
			if !own.IPv4.IsZero() && !own.IPv4.Subnet.IsValid() {
				own.IPv4.Subnet = netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", number))
				own.IPv6.Subnet = netip.MustParsePrefix(fmt.Sprintf("fd42:0:0:%x::/64", number))
			} else if known && own.IPv4.Subnet != netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", number)) {
				own.IPv4.Subnet = netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", number))
				own.IPv6.Subnet = netip.MustParsePrefix(fmt.Sprintf("fd42:0:0:%x::/64", number))
			}
			v.change(func() { v.subnets[v.uuid], v.leases[v.uuid] = number, own })
			granted(own, nil)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// A member is a node with a loop of its own and the real kernel of a
// namespace.
type member struct {
	*nstest.Node
	number int
	loop   *Loop
	config Config
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	last Snapshot
}

// network is a network of both families whose subnets the store gives out.
func network(b profiles.Backend) profiles.Network {
	return profiles.Network{
		Pods:    []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd42::/48")},
		Backend: b, Store: profiles.Store{Type: profiles.StoreEtcd},
	}.WithDefaults()
}

var vxlan = profiles.Backend{Type: profiles.BackendVXLAN}

// join makes a node of the cluster and starts its loop.
func join(t *testing.T, lan *nstest.LAN, m *memory, number int, b profiles.Backend, change ...func(*Config)) *member {
	t.Helper()
	x := &member{Node: nstest.New(t, fmt.Sprintf("node-%d", number)), number: number}
	lan.Attach(t, x.Node, "eth0", fmt.Sprintf("10.0.0.%d/24", number), fmt.Sprintf("fd00:10::%x/64", number))
	x.Run(t, "ip", "route", "add", "default", "via", "10.0.0.254")
	x.Run(t, "ip", "-6", "route", "add", "default", "via", "fd00:10::fe")
	x.config = Config{Network: network(b), Node: profiles.NetdNode{Name: x.Name,
		UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", number)}}
	for _, f := range change {
		f(&x.config)
	}
	x.start(t, m)
	return x
}

func (x *member) start(t *testing.T, m *memory) {
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan struct{})
	x.cancel, x.done = cancel, done
	go func() {
		defer close(done)
		err := x.Do(func() error {
			conn, err := kernel.Open()
			if err != nil {
				close(started)
				return err
			}
			defer conn.Close()
			x.loop = New(conn, &fakeFirewall{}, m.of(x.config.Node.UUID), x.config, quiet, time.Now, func(s Snapshot) {
				x.mu.Lock()
				defer x.mu.Unlock()
				x.last = s
			})
			close(started)
			return x.loop.Run(ctx)
		})
		if err != nil {
			t.Errorf("%s: %v", x.Name, err)
		}
	}()
	<-started
	t.Cleanup(x.stop)
}

func (x *member) stop() { x.cancel(); <-x.done }

func (x *member) snapshot() Snapshot {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// knows waits until a node is ready and has n peers in each family.
func (x *member) knows(t *testing.T, n int) {
	t.Helper()
	nstest.Eventually(t, 10*time.Second, fmt.Sprintf("%s with %d peers", x.Name, n), func() error {
		s := x.snapshot()
		if ready, reason := s.Ready(); !ready || len(s.Peers) != 2*n {
			return fmt.Errorf("ready %t (%s), peers %v, refusals %v", ready, reason, s.Peers, s.Refusals)
		}
		return nil
	})
}

// pod makes a pod of the node, whose addresses end with ten.
func (x *member) pod(t *testing.T) *nstest.Node {
	t.Helper()
	node := x.snapshot().Node
	pod := nstest.New(t, x.Name+"-pod")
	if err := nstest.Veth(x.Node, "pod", pod, "eth0"); err != nil {
		t.Fatal(err)
	}
	pod.Run(t, "ip", "link", "set", "eth0", "mtu", "1430", "up")
	x.Run(t, "ip", "link", "set", "pod", "up")
	for _, subnet := range []netip.Prefix{node.IPv4, node.IPv6} {
		gateway := subnet.Addr().Next()
		x.Run(t, "ip", nstest.AddAddress("pod", netip.PrefixFrom(gateway, subnet.Bits()).String())...)
		pod.Run(t, "ip", nstest.AddAddress("eth0", netip.PrefixFrom(podOf(subnet), subnet.Bits()).String())...)
		pod.Run(t, "ip", "route", "add", "default", "via", gateway.String())
	}
	return pod
}

// podOf is the address of the pod in a subnet.
func podOf(subnet netip.Prefix) netip.Addr {
	a := subnet.Addr()
	for range 10 {
		a = a.Next()
	}
	return a
}

// pinging starts to ping an address a hundred times a second; the result
// ends it and tells what ping says.
func pinging(t *testing.T, from *nstest.Node, to netip.Addr) func() string {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command("ping", "-D", "-i", "0.01", "-W", "1", to.String())
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := from.Start(cmd); err != nil {
		t.Fatalf("ping: %v (install iputils-ping: make deps)", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() string {
		time.Sleep(200 * time.Millisecond) // the last answers
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		return out.String()
	}
}

// reaches waits until a pod answers.
func reaches(t *testing.T, from *nstest.Node, to netip.Addr) {
	t.Helper()
	nstest.Eventually(t, 5*time.Second, from.Name+" reaches "+to.String(), func() error {
		out, err := from.Try(t, "ping", "-c", "1", "-W", "1", to.String())
		if err != nil {
			return fmt.Errorf("%v\n%s", err, out)
		}
		return nil
	})
}

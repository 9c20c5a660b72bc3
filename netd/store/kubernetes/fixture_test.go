package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/store/kubernetes/kubernetestest"
	"weft/profiles"
)

// prefix is what annotations begin with.
const prefix = "flannel.alpha.coreos.com/"

var (
	ipv4Network = netip.MustParsePrefix("10.42.0.0/16")
	ipv6Network = netip.MustParsePrefix("fd00:42::/56")
)

// A world is an API server and one netd's files, in a bubble where time
// passes only while all wait.
type world struct {
	*kubernetestest.Server
	t      *testing.T
	config Config
	log    *buffer
	token  string
}

// inBubble runs a test with a world.
func inBubble(t *testing.T, o kubernetestest.Options, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, o)) })
}

func newWorld(t *testing.T, o kubernetestest.Options) *world {
	s := kubernetestest.New(o)
	t.Cleanup(s.Close)
	folder := t.TempDir()
	w := &world{Server: s, t: t, log: &buffer{}, token: s.Token(kubernetestest.Netd)}
	w.config = Config{
		KubernetesStore: profiles.KubernetesStore{
			Servers: []string{"https://" + kubernetestest.Host + ":6443"}, Node: "self",
			CAFile: filepath.Join(folder, "ca.crt"), TokenFile: filepath.Join(folder, "token"),
		},
		Networks: []netip.Prefix{ipv4Network, ipv6Network},
		Log:      slog.New(slog.NewTextHandler(w.log, nil)),
		Dial:     s.Dial,
		Random:   func() float64 { return 0.5 },
	}
	w.write(w.config.CAFile, s.CA())
	w.write(w.config.TokenFile, []byte(w.token+"\n"))
	return w
}

func (w *world) write(path string, data []byte) {
	w.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) store() *Store {
	w.t.Helper()
	s, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// peer is a node as flanneld leaves it, of IPv4 with vxlan.
func peer(n int) kubernetestest.Object {
	return kubernetestest.Annotate(kubernetestest.Node(fmt.Sprintf("node-%d", n), fmt.Sprintf("10.42.%d.0/24", n)),
		prefix+"kube-subnet-manager", "true",
		prefix+"backend-type", "vxlan",
		prefix+"backend-data", fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:00:%02x"}`, n),
		prefix+"public-ip", fmt.Sprintf("10.0.0.%d", n))
}

// dual is a node of both families.
func dual(n int) kubernetestest.Object {
	o := peer(n)
	o["spec"] = kubernetestest.Object{"podCIDRs": []string{fmt.Sprintf("10.42.%d.0/24", n), fmt.Sprintf("fd00:42:0:%x::/64", n)}}
	return kubernetestest.Annotate(o,
		prefix+"backend-v6-data", fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:06:%02x"}`, n),
		prefix+"public-ipv6", fmt.Sprintf("fd00:10::%x", n))
}

// heard is what a watch delivered.
type heard struct {
	mu      sync.Mutex
	leases  map[string]lease.Lease
	updates []store.Update
	errs    []error
}

// watch follows a store until the test ends or the function is called.
func (w *world) watch(s *Store) (*heard, context.CancelFunc) {
	h := &heard{}
	ctx, cancel := context.WithCancel(w.t.Context())
	go func() {
		for u, err := range s.Watch(ctx) {
			h.mu.Lock()
			if err != nil {
				h.errs = append(h.errs, err)
			} else {
				h.updates = append(h.updates, u)
				h.leases = u.Apply(h.leases)
			}
			h.mu.Unlock()
		}
	}()
	w.t.Cleanup(cancel)
	synctest.Wait()
	return h, cancel
}

// names are the nodes whose leases are known.
func (h *heard) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := []string{}
	for name := range h.leases {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (h *heard) lease(name string) lease.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leases[name]
}

// all are the updates so far.
func (h *heard) all() []store.Update {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.updates)
}

// failures is how many errors came.
func (h *heard) failures() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.errs)
}

// fulls is how many full updates came.
func (h *heard) fulls() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range h.updates {
		if u.Full {
			n++
		}
	}
	return n
}

// last is the last error; nil when none came.
func (h *heard) last() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.errs) == 0 {
		return nil
	}
	return h.errs[len(h.errs)-1]
}

// problems are the reports about nodes.
func (h *heard) problems() (problems []*store.Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, err := range h.errs {
		if p := (*store.Problem)(nil); errors.As(err, &p) {
			problems = append(problems, p)
		}
	}
	return problems
}

// expect checks the nodes known.
func (w *world) expect(h *heard, names ...string) {
	w.t.Helper()
	synctest.Wait()
	if got := h.names(); !slices.Equal(got, names) {
		w.t.Errorf("nodes are %v, want %v", got, names)
	}
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// published is what a publisher was granted.
type published struct {
	mu     sync.Mutex
	grants []lease.Lease
	told   error // the last word, if it was an error
	err    error
	done   bool
}

func (w *world) publish(s *Store, own lease.Lease) (*published, context.CancelFunc) {
	p := &published{}
	ctx, cancel := context.WithCancel(w.t.Context())
	go func() {
		err := s.Publish(ctx, own, func(l lease.Lease, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.told = err; err == nil {
				p.grants = append(p.grants, l)
			}
		})
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err, p.done = err, true
	}()
	w.t.Cleanup(cancel)
	synctest.Wait()
	return p, cancel
}

func (p *published) all() []lease.Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.grants)
}

// says reports whether the last word is an error with all of parts in it; with
// none, whether it is a lease.
func (p *published) says(parts ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told == nil || len(parts) == 0 {
		return p.told == nil && len(parts) == 0
	}
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(p.told.Error(), part) })
}

// ended is whether Publish returned, and what.
func (p *published) ended() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done, p.err
}

// own is this node's lease as netd makes it, subnets left open.
func own() lease.Lease {
	return lease.Lease{
		Node: "self", UUID: "7d444840-9dc0-11d1-b245-5ffdce74fad2", Backend: lease.VXLAN,
		IPv4: lease.Half{Address: netip.MustParseAddr("10.0.0.9"), MAC: "0e:aa:00:00:00:09", VNI: 1},
		IPv6: lease.Half{Address: netip.MustParseAddr("fd00:10::9"), MAC: "0e:aa:00:00:00:09", VNI: 1},
	}
}

// patches are the bodies of patches so far.
func (w *world) patches() (bodies []string) {
	for _, r := range w.Requests("PATCH", "/") {
		bodies = append(bodies, r.Body)
	}
	return bodies
}

// A buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.b.String(), text)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

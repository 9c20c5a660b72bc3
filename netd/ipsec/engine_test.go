package ipsec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/netd/vici"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// A host is a node with an engine and a charon of its own.
type host struct {
	*nstest.Node
	t    *testing.T
	dir  string
	want Want
	e    *Engine
	mu   sync.Mutex
}

// newHost makes a node at 10.0.0.n on the LAN, with the given peers.
func newHost(t *testing.T, lan *nstest.LAN, n int, peers ...Peer) *host {
	t.Helper()
	if _, err := findCharon(Places); err != nil {
		t.Fatal("install strongswan-charon and libstrongswan-standard-plugins: make deps")
	}
	h := &host{Node: nstest.New(t, fmt.Sprint("node", n)), t: t, dir: filepath.Join(t.TempDir(), "charon")}
	lan.Attach(t, h.Node, "eth0", fmt.Sprintf("10.0.0.%d/24", n))
	h.want = testWant(peers...)
	h.want.Local = h.want.Local.Next()
	if n == 1 {
		h.want.Local = h.want.Local.Prev()
	} else {
		h.want.Subnet = two.Subnet
	}
	h.want.PSKFile = filepath.Join(t.TempDir(), "psk")
	if err := os.WriteFile(h.want.PSKFile, []byte(strings.Repeat("0123456789abcdef", 6)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.restart()
	t.Cleanup(func() {
		if pid := h.pid(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return h
}

// restart replaces the engine by one that knows nothing, as a new netd.
func (h *host) restart() {
	h.e = New(h.dir, slog.New(slog.NewTextHandler(h.t.Output(), nil)), time.Now)
}

func (h *host) pid() int {
	pid, alive := readPID(filepath.Join(h.dir, pidFile))
	if !alive {
		return 0
	}
	return pid
}

func (h *host) ensure() (changed bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	err = h.Do(func() (err error) { changed, err = h.e.Ensure(h.want); return err })
	return changed, err
}

// settle calls Ensure until it has nothing to complain about.
func (h *host) settle() {
	h.t.Helper()
	nstest.Eventually(h.t, 20*time.Second, "charon takes what is wanted", func() error {
		_, err := h.ensure()
		if err != nil && !errors.Is(err, errStarting) && !strings.Contains(err.Error(), "started again in") {
			h.t.Fatal(err)
		}
		return err
	})
}

// keep does what the reconciler does: it calls Ensure after each change.
func (h *host) keep() (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	err := h.Do(func() error {
		changes, err := h.e.Changes(ctx)
		if err != nil {
			return err
		}
		go func() {
			defer close(done)
			for range changes {
				if _, err := h.ensure(); err != nil && !errors.Is(err, errStarting) {
					h.t.Log(err)
				}
			}
		}()
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return func() { cancel(); <-done }
}

// have is what charon has.
func (h *host) have() Have {
	h.t.Helper()
	c, err := vici.Dial(h.t.Context(), h.e.socket())
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	var have Have
	if err := read(h.t.Context(), c, &have); err != nil {
		h.t.Fatal(err)
	}
	return have
}

// The kernel of a test machine may lack ESP; the peers then agree on keys and
// nothing carries packets.
func TestPeersAgreeByTheKeyTheyShare(t *testing.T) {
	lan := nstest.NewLAN(t, "lan")
	one := Peer{"one", testWant().Subnet, testWant().Local}
	a, b := newHost(t, lan, 1, two), newHost(t, lan, 2, one)
	b.settle()
	a.settle()
	for _, h := range []*host{a, b} {
		nstest.Eventually(t, 20*time.Second, "the peers agree", func() error {
			for _, sa := range h.have().SAs {
				if sa.Established && sa.Name == h.want.Connections()[0].Name {
					return nil
				}
			}
			return fmt.Errorf("%+v", h.have())
		})
	}
}

func TestPoliciesAreInTheKernelAsFlannelHasThem(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1, two)
	h.settle()
	got := h.Run(t, "ip", "xfrm", "policy")
	for _, want := range []string{
		"src 10.244.1.0/24 dst 10.244.2.0/24 \n\tdir out priority 0 ptype main \n\ttmpl src 10.0.0.1 dst 10.0.0.2\n\t\tproto esp reqid 11 mode tunnel",
		"src 10.244.2.0/24 dst 10.244.1.0/24 \n\tdir in priority 0 ptype main \n\ttmpl src 10.0.0.2 dst 10.0.0.1\n\t\tproto esp reqid 11 mode tunnel",
		"src 10.244.2.0/24 dst 10.244.1.0/24 \n\tdir fwd priority 0 ptype main \n\ttmpl src 10.0.0.2 dst 10.0.0.1\n\t\tproto esp reqid 11 mode tunnel",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("policies are\n%s\nwithout\n%s", got, want)
		}
	}
}

func TestRestartedNetdFindsItsCharonAndChangesNothing(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 2, Peer{"one", testWant().Subnet, testWant().Local})
	h.settle()
	pid := h.pid()
	h.restart()
	if changed, err := h.ensure(); changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
	if h.pid() != pid || pid == 0 {
		t.Errorf("charon is process %d, was %d", h.pid(), pid)
	}
}

func TestCharonThatIsStuckIsReplaced(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1, two)
	h.settle()
	pid := h.pid()
	os.Remove(filepath.Join(h.dir, socketFile))
	h.restart()
	clock := time.Now()
	h.e.process.now = func() time.Time { return clock }
	if _, err := h.ensure(); !errors.Is(err, errStarting) || h.pid() != pid {
		t.Errorf("at once: %v, process %d", err, h.pid())
	}
	clock = clock.Add(deafFor)
	h.settle()
	if h.pid() == pid || h.pid() == 0 {
		t.Errorf("charon is process %d, was %d", h.pid(), pid)
	}
}

func TestWhatIsChangedByOthersIsRepaired(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 2, Peer{"one", testWant().Subnet, testWant().Local})
	defer h.keep()()
	h.settle()
	policies := h.Run(t, "ip", "xfrm", "policy")
	for _, change := range []string{
		"ip xfrm policy delete src 10.244.2.0/24 dst 10.244.1.0/24 dir out",
		"ip xfrm policy flush",
		"ip xfrm policy update src 10.244.2.0/24 dst 10.244.1.0/24 dir out action block",
		"ip xfrm policy update src 10.244.2.0/24 dst 10.244.1.0/24 dir out tmpl src 10.0.0.2 dst 10.0.0.9 proto esp reqid 11 mode tunnel",
		"ip xfrm policy add src 10.244.2.0/24 dst 10.244.9.0/24 dir out tmpl src 10.0.0.2 dst 10.0.0.9 proto esp reqid 11 mode tunnel",
	} {
		words := strings.Fields(change)
		h.Run(t, words[0], words[1:]...)
		took := nstest.Eventually(t, time.Second, change, func() error {
			if now := h.Run(t, "ip", "xfrm", "policy"); len(now) != len(policies) || !strings.Contains(now, "tmpl src 10.0.0.2 dst 10.0.0.1") {
				return errors.New(now)
			}
			return nil
		})
		t.Logf("%s: undone after %v", change, took)
	}
	pid := h.pid()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	nstest.Eventually(t, 20*time.Second, "charon was killed", func() error {
		h.ensure()
		if now := h.pid(); now == 0 || now == pid {
			return errors.New("it does not run")
		}
		c, err := vici.Dial(t.Context(), h.e.socket())
		if err != nil {
			return err
		}
		defer c.Close()
		var have Have
		if err := read(t.Context(), c, &have); err != nil || len(have.Connections) != 1 {
			return fmt.Errorf("it has %+v, %v", have, err)
		}
		return nil
	})
}

func TestNetdWithAnotherBackendRemovesWhatIsLeft(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1, two)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if err := Remove(h.dir, log); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	h.settle()
	if err := h.Do(func() error { return Remove(h.dir, log) }); err != nil {
		t.Error(err)
	}
	if policies := h.Run(t, "ip", "xfrm", "policy"); strings.Contains(policies, "reqid 11") {
		t.Errorf("policies are\n%s", policies)
	}
	nstest.Eventually(t, 5*time.Second, "charon ends", func() error {
		select {
		case <-h.e.process.ended:
			return nil
		default:
			return errors.New("it runs")
		}
	})
}

func TestPeersThatAreGoneLeaveNothing(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1, two, three)
	h.settle()
	h.want.Peers = h.want.Peers[:1]
	h.settle()
	have := h.have()
	if policies := h.Run(t, "ip", "xfrm", "policy"); strings.Contains(policies, "10.244.3.0") {
		t.Errorf("policies are\n%s", policies)
	}
	for _, name := range have.Connections {
		if !strings.Contains(name, "10.244.2.0") {
			t.Errorf("connection %s is left", name)
		}
	}
	h.want = Want{}
	if changed, err := h.ensure(); !changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
	if policies := h.Run(t, "ip", "xfrm", "policy"); strings.Contains(policies, "reqid 11") {
		t.Errorf("policies are\n%s", policies)
	}
	nstest.Eventually(t, 5*time.Second, "charon ends", func() error {
		select {
		case <-h.e.process.ended:
			return nil
		default:
			return errors.New("it runs")
		}
	})
}

// What charon is given to choose from must be what it knows.
func TestProposalsAreUnderstood(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1, two)
	h.want.Encapsulate = true
	h.settle()
	h.want.ESP = "no-such-cipher"
	if _, err := h.ensure(); err == nil || !strings.Contains(err.Error(), "esp_proposals") {
		t.Errorf("a proposal that is none: %v", err)
	}
}

func TestMissingThingsAreToldWithTheWayOut(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1, two)
	t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	h.e.process.places = []string{"/nowhere/charon"}
	if _, err := h.ensure(); !errors.Is(err, ErrNoCharon) {
		t.Errorf("no charon: %v", err)
	}
	file := h.want.PSKFile
	for name, prepare := range map[string]func(){
		"is not set":            func() { h.want.PSKFile = "" },
		"no such file":          func() { h.want.PSKFile = file + "x" },
		"has 5 characters":      func() { os.WriteFile(file, []byte("short"), 0o600) },
		"can be read by others": func() { os.Chmod(file, 0o644) },
	} {
		h.want.PSKFile = file
		prepare()
		if _, err := h.ensure(); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "fix: ") {
			t.Errorf("%s: %v", name, err)
		}
		os.Chmod(file, 0o600)
	}
	h.e.process.places = Places
	h.want.PSKFile = file
	os.WriteFile(file, []byte(strings.Repeat("k", MinPSK)), 0o600)
	h.settle()
	pid := h.pid()
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	os.Remove(filepath.Join(h.dir, socketFile))
	os.Remove(filepath.Join(h.dir, pidFile))
	h.restart()
	if _, err := h.ensure(); err == nil || !strings.Contains(err.Error(), "another charon") {
		t.Errorf("a charon that does not answer: %v", err)
	}
}

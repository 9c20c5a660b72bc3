package status

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/netd/probe"
	"weft/netd/reconcile"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

// snapshot is a node with one peer, all well.
func snapshot() reconcile.Snapshot {
	subnet := netip.MustParsePrefix("10.244.1.0/24")
	return reconcile.Snapshot{
		StoreAnswered: true,
		Config: reconcile.Config{
			Node:    profiles.NetdNode{Name: "one", Subnets: []netip.Prefix{subnet}},
			Network: profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}},
		},
		Node: wanted.Node{Name: "one", IPv4: subnet, Underlay: underlay.Choice{
			IPv4: underlay.Device{Index: 2, Name: "eth0", MTU: 1500, Address: netip.MustParseAddr("10.0.0.1")}}},
		Wanted: wanted.State{Links: []wanted.Link{{Name: "flannel.1", MTU: 1450}},
			Routes: []wanted.Route{{Dst: netip.MustParsePrefix("10.244.2.0/24"), Via: netip.MustParseAddr("10.244.2.0"), Link: "flannel.1", OnLink: true}}},
		Peers: []wanted.Peer{{Node: `t"wo`, Subnet: netip.MustParsePrefix("10.244.2.0/24"),
			Address: netip.MustParseAddr("10.0.0.2"), MAC: wanted.MAC{2, 0, 0, 0, 0, 2}}},
	}
}

func results() []probe.Result {
	return []probe.Result{{Node: `t"wo`, From: netip.MustParseAddr("10.244.1.254"), To: netip.MustParseAddr("10.244.2.254"),
		RTT: 830 * time.Microsecond, Sent: 2, Received: 2, Answers: true, Seen: time.Unix(1000, 0)}}
}

// facts are those of the healthy node.
func facts() Facts {
	return Facts{Version: "test", Now: time.Unix(2000, 0), Snapshot: snapshot(), Probes: results(),
		Store: StoreFacts{Type: "static", Leases: 1, Updated: time.Unix(1990, 0), Granted: time.Unix(1000, 0), Renewed: time.Unix(1995, 0)}}
}

func TestReportOfAHealthyNode(t *testing.T) {
	r := Build(facts())
	if !r.Ready || r.Fix != "" || r.MTU != 1450 || len(r.Underlay) != 1 || r.Underlay[0].Device != "eth0" {
		t.Errorf("report is %+v", r)
	}
	if len(r.Peers) != 1 || !r.Peers[0].Programmed || r.Peers[0].Probe == nil || r.Peers[0].Probe.RTT != 0.83 {
		t.Errorf("peers are %+v", r.Peers)
	}
}

func TestNotReadySaysWhyAndWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(s *reconcile.Snapshot)
		reason string
	}{
		"no answer of the store": {func(s *reconcile.Snapshot) { s.StoreAnswered = false }, "waiting for the store"},
		"no underlay":            {func(s *reconcile.Snapshot) { s.Waiting = []error{errors.New("no address")} }, "waiting for the underlay: no address"},
		"a broken firewall":      {func(s *reconcile.Snapshot) { s.FirewallError = errors.New("no nf_tables") }, "firewall: no nf_tables"},
		"an unreadable kernel":   {func(s *reconcile.Snapshot) { s.ReadError = errors.New("no") }, "kernel: no"},
	} {
		s := snapshot()
		c.spoil(&s)
		r := Build(Facts{Snapshot: s})
		if r.Ready || r.Reason != c.reason || r.Fix == "" {
			t.Errorf("%s: ready %t, reason %q, fix %q; want %q and a fix", name, r.Ready, r.Reason, r.Fix, c.reason)
		}
	}
}

// What the store says against this node's own lease is the reason, with its
// own way out, whether the node has its subnets from before or waits for them.
func TestOwnLeaseThatIsNotInTheStoreIsTheReason(t *testing.T) {
	err := errors.New("own lease: patch: 403 Forbidden; fix: apply the manifest")
	for name, spoil := range map[string]func(f *Facts){
		"subnets from before": func(*Facts) {},
		"no subnets": func(f *Facts) {
			f.Snapshot.Node.IPv4, f.Snapshot.Wanted = netip.Prefix{}, wanted.State{}
			f.Snapshot.FirewallError = errors.New("there is nothing to filter")
		},
	} {
		f := facts()
		f.Store.OwnError, f.Snapshot.StoreError = err, err
		spoil(&f)
		r := Build(f)
		if r.Ready || !strings.HasPrefix(r.Reason, "store: own lease: patch: 403 Forbidden") || r.Fix != "apply the manifest" || r.Store.OwnError != err.Error() {
			t.Errorf("%s: ready %t, reason %q, fix %q, store %+v", name, r.Ready, r.Reason, r.Fix, r.Store)
		}
		var b strings.Builder
		if err := WriteStatus(&b, r, Style{Width: 200}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "403 Forbidden"); n != 1 || strings.Count(b.String(), "apply the manifest") != 1 {
			t.Errorf("%s: the error is said %d times in\n%s", name, n, &b)
		}
	}
}

func TestServerAnswersAndReplacesALeftoverSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "status")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sock")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()

	listeners, err := Listen(path, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Server{Report: func(bool) Report { return Build(facts()) }}.Serve(ctx, listeners)
	}()
	r, err := Fetch(ctx, path)
	if err != nil || !r.Ready || len(r.Peers) != 1 {
		t.Errorf("fetched %+v, %v", r, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("the socket is %v, %v; want mode %o", info, err, socketMode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("server ended with %v", err)
	}
}

func TestOnlyLoopbackIsServed(t *testing.T) {
	_, err := Listen(filepath.Join(t.TempDir(), "s"), "0.0.0.0:8285")
	if err == nil || !strings.Contains(err.Error(), "only loopback addresses are served") {
		t.Errorf("error is %v", err)
	}
}

func TestNotifierSpeaksToTheServiceManager(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/n", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := (Notifier{dir + "/n"}).Ready("two\nlines"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := conn.Read(b)
	if got := string(b[:n]); err != nil || got != "READY=1\nSTATUS=two; lines" {
		t.Errorf("told %q, %v", got, err)
	}
	if err := (Notifier{}).Status("nobody listens"); err != nil {
		t.Error(err)
	}
}

func TestWatchdogEvery(t *testing.T) {
	for usec, want := range map[string]time.Duration{
		"": 0, "30000000": 15 * time.Second, "0": 0, "-5": 0, "x": 0, "99999999999999999": 0,
	} {
		if got := WatchdogEvery(usec); got != want {
			t.Errorf("%q: %s, want %s", usec, got, want)
		}
	}
}

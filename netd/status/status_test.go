package status

import (
	"bytes"
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
		Wanted: wanted.State{Links: []wanted.Link{{Name: "flannel.1", MTU: 1450}}},
		Peers: []wanted.Peer{{Node: `t"wo`, Subnet: netip.MustParsePrefix("10.244.2.0/24"),
			Address: netip.MustParseAddr("10.0.0.2"), MAC: wanted.MAC{2, 0, 0, 0, 0, 2}}},
	}
}

func results() []probe.Result {
	return []probe.Result{{Node: `t"wo`, From: netip.MustParseAddr("10.244.1.254"), To: netip.MustParseAddr("10.244.2.254"),
		RTT: 830 * time.Microsecond, Sent: 2, Received: 2, Answers: true, Seen: time.Unix(1000, 0)}}
}

func TestReportOfAHealthyNode(t *testing.T) {
	r := Build(snapshot(), results(), nil)
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
		r := Build(s, nil, nil)
		if r.Ready || r.Reason != c.reason || r.Fix == "" {
			t.Errorf("%s: ready %t, reason %q, fix %q; want %q and a fix", name, r.Ready, r.Reason, r.Fix, c.reason)
		}
	}
}

func TestMetricsEscapeNamesAndCountPeers(t *testing.T) {
	text := Metrics(Build(snapshot(), results(), nil))
	for _, want := range []string{
		"# TYPE netd_ready gauge\nnetd_ready 1\n",
		"netd_peers_programmed 1\n",
		`netd_probe_rtt_seconds{peer="t\"wo",family="IPv4"} 0.00083` + "\n",
		`netd_repairs_total{what="firewall"} 0` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestTableShowsThePeersPing(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTable(&b, Build(snapshot(), results(), nil)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"state     ready", "0.83 ms", "10.244.2.0/24", "PROGRAMMED"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
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
		ended <- Server{Report: func(bool) Report { return Build(snapshot(), results(), nil) }}.Serve(ctx, listeners)
	}()
	r, err := Fetch(ctx, path)
	if err != nil || !r.Ready || len(r.Peers) != 1 {
		t.Errorf("fetched %+v, %v", r, err)
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

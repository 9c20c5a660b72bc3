package status

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"weft/netd/diff"
	"weft/netd/kernel"
	"weft/netd/probe"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
)

var update = flag.Bool("update", false, "write the golden files anew")

// two is a second peer, at an address and in a subnet.
func two(subnet, address string) wanted.Peer {
	return wanted.Peer{Node: "node-2", Subnet: netip.MustParsePrefix(subnet), Address: netip.MustParseAddr(address)}
}

// migrating makes the node one of a network in which one of three peers has
// another backend that is reached, and one another that is not.
func migrating(f *Facts) {
	f.Snapshot.Config.Network.Backend.Type = profiles.BackendHostGW
	here, there := two("10.244.2.0/24", "10.0.0.2"), two("10.244.3.0/24", "10.0.0.3")
	here.Backend, there.Backend, there.Node = "host-gw", "vxlan", "node-3"
	f.Snapshot.Peers, f.Snapshot.Keep = []wanted.Peer{here, there}, []wanted.Kind{wanted.KindVXLAN}
	f.Snapshot.Refusals = []wanted.Refusal{{Kind: wanted.RefusedBackend, Node: "node-4", Family: "IPv4", Reason: "backend is ipsec, here it is host-gw", Fix: "use one backend"}}
}

func TestTablesAreWhatAPersonReads(t *testing.T) {
	cases := []struct {
		name  string
		write func(io.Writer, Report, Style) error
		spoil func(f *Facts)
	}{
		{"status", WriteStatus, func(*Facts) {}},
		{"peers", WritePeers, func(*Facts) {}},
		{"peers-none", WritePeers, func(f *Facts) { f.Snapshot.Peers = nil }},
		{"status-migrating", WriteStatus, migrating},
		{"peers-migrating", WritePeers, migrating},
		{"status-long-addresses", WriteStatus, func(f *Facts) {
			f.Snapshot.Peers = []wanted.Peer{
				two("fdaa:bbbb:cccc:dddd::/64", "2001:db8:1111:2222:3333:4444:5555:6666"),
				two("10.244.200.0/24", "192.168.100.200")}
		}},
		{"status-waiting-for-the-store", WriteStatus, func(f *Facts) {
			f.Snapshot.StoreAnswered, f.Snapshot.Peers = false, nil
			f.Snapshot.StoreError = errors.New("etcd: dial tcp 10.0.0.9:2379: connect: connection refused")
			f.Store = StoreFacts{Type: "etcd", Error: f.Snapshot.StoreError, Errors: 3}
		}},
		{"status-kept", WriteStatus, func(f *Facts) {
			f.Store = StoreFacts{Type: "kubernetes", Kept: true, Leases: 1, Problems: []Problem{{"node x", "annotation public-ip is no address", "run netd or flanneld there again"}}}
		}},
		{"status-clone", WriteStatus, func(f *Facts) {
			r := wanted.Refusal{Kind: wanted.RefusedClone, Node: "twin", Family: "IPv4", Reason: "a node at 10.0.0.77 has this node's name one", Fix: "give the copy a name of its own"}
			six := r
			six.Family = "IPv6"
			f.Snapshot.Refusals = []wanted.Refusal{r, six, {Kind: wanted.RefusedOverlap, Node: "x\x1b[31m", Family: "IPv4", Reason: "subnet 10.244.2.0/24 overlaps the one of two", Fix: "give every node a subnet of its own"}}
		}},
		{"status-drift", WriteStatus, func(f *Facts) {
			f.Kernel = &wanted.State{Links: f.Snapshot.Wanted.Links}
		}},
		{"status-failed", WriteStatus, func(f *Facts) {
			f.Snapshot.Failures = []kernel.Failure{{Change: diff.Change{Verb: diff.Create, Object: wanted.Route{
				Dst: f.Snapshot.Peers[0].Subnet, Via: netip.MustParseAddr("10.244.2.0"), Link: "flannel.1"}}, Err: errors.New("no such device")}}
		}},
		{"peers-silent", WritePeers, func(f *Facts) { f.Probes[0].Answers, f.Probes[0].Loss = false, 1 }},
		{"peers-wireguard", WritePeers, func(f *Facts) {
			f.Snapshot.Config.Network.Backend = profiles.Backend{Type: "wireguard"}
			f.Snapshot.Peers[0].PublicKey = wanted.Key{1}
			f.Snapshot.Wanted.Links = []wanted.Link{{Name: "flannel-wg", MTU: 1420}}
			f.Snapshot.Wanted.Routes = []wanted.Route{{Dst: f.Snapshot.Peers[0].Subnet, Link: "flannel-wg"}}
			f.Snapshot.Tunnels = []wireguard.Health{{Device: "flannel-wg", PublicKey: wanted.Key{1},
				Endpoint: netip.MustParseAddrPort("192.0.2.7:51820"), Handshake: time.Unix(1880, 0)}}
			f.Kernel = &wanted.State{Links: f.Snapshot.Wanted.Links, Routes: f.Snapshot.Wanted.Routes}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := facts()
			f.Snapshot.Peers[0].Node, f.Probes[0].Node = "node-2", "node-2"
			f.Snapshot.Config.Network = f.Snapshot.Config.Network.WithDefaults()
			c.spoil(&f)
			var got bytes.Buffer
			if err := c.write(&got, Build(f), Style{}); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(got.String(), "\n") {
				if utf8.RuneCountInString(line) > 80 || strings.Contains(line, "\x1b") {
					t.Errorf("more than 80 columns, or an escape: %q", line)
				}
			}
			golden(t, c.name, got.Bytes())
		})
	}
}

// golden compares with a golden file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("table is\n%s\nwant (%s)\n%s", got, file, want)
	}
}

func TestColoursTakeNoColumns(t *testing.T) {
	f := facts()
	f.Snapshot.Peers[0].Node = "node-2"
	var plain, painted bytes.Buffer
	for _, err := range []error{WriteStatus(&plain, Build(f), Style{}), WriteStatus(&painted, Build(f), Style{Colour: true})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if plain.String() == painted.String() {
		t.Error("nothing is in colour")
	}
	lines := strings.Split(plain.String(), "\n")
	for i, line := range strings.Split(painted.String(), "\n") {
		if visible(line) != utf8.RuneCountInString(lines[i]) {
			t.Errorf("%q takes other columns than %q", line, lines[i])
		}
	}
}

func TestTallyCountsEachPassOnce(t *testing.T) {
	s := snapshot()
	s.Counters.Passes, s.Took = 1, time.Second
	s.Repaired = []diff.Change{{Object: wanted.Route{Dst: s.Peers[0].Subnet}}, {Object: wanted.FDBEntry{MAC: s.Peers[0].MAC, Dst: s.Peers[0].Address}},
		{Object: wanted.Neighbour{IP: s.Peers[0].Subnet.Addr()}}, {Object: wanted.Link{}}, {Object: wanted.Route{}}}
	one := Tally{}.Add(s)
	if again := one.Add(s); again.Took != time.Second || again.OfPeer[s.Peers[0].Subnet] != 3 || again.Repairs["route"] != 2 {
		t.Errorf("tally is %+v", again)
	}
	s.Counters.Passes, s.Repaired = 2, nil
	if next := one.Add(s); next.Took != 2*time.Second || next.Repairs["route"] != 2 {
		t.Errorf("tally is %+v", next)
	}
}

func TestProbesOfOthersAreNotThePeers(t *testing.T) {
	f := facts()
	f.Probes = []probe.Result{{To: netip.MustParseAddr("10.244.9.254")}}
	if p := Build(f).Peers[0]; p.Probe != nil {
		t.Errorf("probe is %+v", p.Probe)
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("a bb  ccc", 3)
	f.Add("", 1)
	f.Fuzz(func(t *testing.T, text string, width int) {
		text = clean(text)
		var words []string
		for _, line := range wrap(text, width) {
			words = append(words, strings.Fields(line)...)
		}
		if fmt.Sprint(words) != fmt.Sprint(strings.Fields(text)) {
			t.Errorf("%q became %q", text, words)
		}
	})
}

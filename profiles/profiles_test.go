package profiles

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft/document"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestBadProfilesAreExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, _, problems := Read(filepath.Base(f), data)
			var out bytes.Buffer
			if err := problems.Write(&out, false); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(f, ".yaml")+".txt", out.Bytes())
		})
	}
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run go test -update and review)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func TestShippedProfilesAreSound(t *testing.T) {
	if got := Names(); len(got) < 34 || !slices.Contains(got, "vxlan") || !slices.Contains(got, "k3s-ha") || !slices.Contains(got, "rke2-cis") {
		t.Errorf("weft ships %v", got)
	}
	for _, offer := range Shipped() {
		if offer.Description == "" || len(offer.Description) > 80 || len(offer.Name) > 23 {
			t.Errorf("%+v does not fit a list", offer)
		}
	}
	for _, name := range Names() {
		p, d, problems, err := Find(name)
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v\n%v", name, err, problems)
		}
		if p.Name != name || p.Description == "" || d.File() != "profiles/"+name+".yaml" {
			t.Errorf("%s: name %s, description %q, file %s", name, p.Name, p.Description, d.File())
		}
		for i := range 20 {
			uuid := fmt.Sprintf("0b9f1c3e-0000-4000-8000-%012d", i)
			if _, err := NetdFor(p, Node{}, "node-1", uuid); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestFindTakesNamesAndPaths(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte(base), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, _, problems, err := Find(file); err != nil || len(problems) > 0 || p.Name != "base" {
		t.Errorf("a path: %v %v %+v", err, problems, p)
	}
	if _, _, _, err := Find("none.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	_, _, _, err := Find("vxlna")
	var unknown *document.UnknownError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "did you mean vxlan?") {
		t.Errorf("a misspelt name: %v", err)
	}
}

func TestNodeFileHasItsOwnLimit(t *testing.T) {
	data := append([]byte(baseNode), bytes.Repeat([]byte("# long\n"), MaxNodeFile/7)...)
	_, d, problems := ReadNode("node.yaml", data)
	if d == nil || problems.Errors() == nil || !strings.Contains(problems.Error(), "larger than 64 KiB") {
		t.Errorf("got %v", problems)
	}
}

func TestEmptyNodeFileIsFine(t *testing.T) {
	n, _, problems := ReadNode("node.yaml", []byte("weft: node/v1\n"))
	if len(problems) > 0 || !reflect.DeepEqual(n, Node{Weft: NodeVersion}) {
		t.Errorf("got %+v, %v", n, problems)
	}
}

func TestDefaults(t *testing.T) {
	p := Profile{
		Network: Network{Pods: prefixes("10.244.0.0/16", "fd42::/48"), Peers: []Peer{{Name: "a"}}},
		Links:   []Link{{Addresses: prefixes("192.168.1.11/24")}, {Addresses: prefixes("2001:db8::1/64")}},
	}
	got := p.WithDefaults()
	n := got.Network
	if n.SubnetLength != (SubnetLength{24, 64}) || n.Backend.Type != "vxlan" || n.Backend.VNI != 1 || n.Backend.Port != 8472 {
		t.Errorf("got %+v", n)
	}
	if !*n.Backend.ChecksumOffload || !*n.Masquerade.IPv4 || *n.Masquerade.IPv6 {
		t.Errorf("got %+v", n)
	}
	if got.Hostname.Prefix != "node" || !*got.Hostname.DHCP {
		t.Errorf("got %+v", got.Hostname)
	}
	if *got.Links[0].DHCP4 || !*got.Links[1].DHCP4 || !*got.Links[0].RouterAdvertisements {
		t.Error("links have wrong defaults")
	}
	if n.Peers[0].MAC != VTEPMAC("a").String() {
		t.Errorf("peer has MAC %s", n.Peers[0].MAC)
	}
	if p.Network.Peers[0].MAC != "" || p.Links[0].DHCP4 != nil {
		t.Error("the profile itself was changed")
	}
	if !reflect.DeepEqual(got.WithDefaults(), got) {
		t.Error("defaults of defaults differ")
	}
}

func TestSubnetLengthsFollowFlannel(t *testing.T) {
	for pods, want := range map[string]int{
		"10.0.0.0/8": 24, "10.244.0.0/22": 24, "10.244.0.0/23": 25, "10.244.0.0/28": 30,
		"fd42::/48": 64, "fd42::/62": 64, "fd42::/63": 65, "fd42::/124": 126,
	} {
		n := Network{Pods: prefixes(pods)}.WithDefaults()
		if got := n.SubnetLength.of(n.Pods[0].Addr()); got != want {
			t.Errorf("%s: /%d, want /%d", pods, got, want)
		}
	}
}

func TestVTEPMACIsLocalUnicastAndStable(t *testing.T) {
	// Written down once: nodes of two versions must agree on it.
	if got := VTEPMAC("node-1").String(); got != "6a:70:34:74:7f:ca" {
		t.Errorf("node-1 has %s", got)
	}
	seen := map[string]bool{}
	for i := range 1000 {
		mac := VTEPMAC(fmt.Sprintf("node-%d", i))
		if len(mac) != 6 || mac[0]&3 != 2 || seen[mac.String()] {
			t.Fatalf("node-%d has %s", i, mac)
		}
		seen[mac.String()] = true
	}
}

func TestDerivedSubnets(t *testing.T) {
	const uuid = "0b9f1c3e-0000-4000-8000-000000000001"
	for _, c := range []struct {
		pods   []string
		length SubnetLength
	}{
		{[]string{"10.244.0.0/16", "fd42::/48"}, SubnetLength{}},
		{[]string{"10.244.0.0/28"}, SubnetLength{}},
		{[]string{"10.0.0.0/8"}, SubnetLength{IPv4: 30}},
		{[]string{"fd00::/8"}, SubnetLength{IPv6: 126}},
		{[]string{"fd42::/124"}, SubnetLength{}},
	} {
		n := Network{Pods: prefixes(c.pods...), SubnetLength: c.length}
		seen := map[netip.Prefix]bool{}
		for i := range 300 {
			got := SubnetsFor(n, fmt.Sprint(uuid, i))
			if len(got) != len(n.Pods) {
				t.Fatalf("%v: got %v", c.pods, got)
			}
			for j, s := range got {
				if s != s.Masked() || !n.Pods[j].Contains(s.Addr()) || s.Addr() == n.Pods[j].Addr() {
					t.Fatalf("%v: got %v", c.pods, got)
				}
				if want := n.WithDefaults().SubnetLength.of(s.Addr()); s.Bits() != want {
					t.Fatalf("%v: got %v, want /%d", c.pods, got, want)
				}
				seen[s] = true
			}
		}
		spare := n.WithDefaults().SubnetLength.of(n.Pods[0].Addr()) - n.Pods[0].Bits()
		if spare <= 2 && len(seen) != 3 || spare > 20 && len(seen) < 300 {
			t.Errorf("%v: only %d subnets in use", c.pods, len(seen))
		}
	}
	if got := fmt.Sprint(SubnetsFor(Network{Pods: prefixes("10.244.0.0/16", "fd42::/48")}, uuid)); got != "[10.244.24.0/24 fd42:0:0:552f::/64]" {
		t.Errorf("a node would change its subnets to %s", got)
	}
}

func TestHostnames(t *testing.T) {
	for _, name := range []string{"node-1", "a", "1a", "pi.example.org", "debian-2", strings.Repeat("a", 63), "x--y"} {
		if err := SoundHostname(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "localhost", "localhost.localdomain", "localhost6", "(none)", "raspberrypi", "debian", "ubuntu", "guest",
		"Node", "a_b", "-a", "a-", "a..b", ".a", "a.", "a b", "ä", "10.0.0.1", strings.Repeat("a", 64), "a\n",
	} {
		if SoundHostname(name) == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestProblemsOfNetdForPointIntoNoFile(t *testing.T) {
	p := Profile{Network: Network{Pods: prefixes("10.244.0.0/16"), Backend: Backend{Type: "vxlan"}}}
	_, err := NetdFor(p, Node{Subnets: prefixes("10.9.0.0/24")}, "node-1", "0b9f1c3e-0000-4000-8000-000000000001")
	var problems document.Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "10.9.0.0/24 is not inside 10.244.0.0/16") {
		t.Errorf("got %v", err)
	}
	if problems[0].File != "" || problems[0].Line != 0 {
		t.Errorf("got %+v", problems[0])
	}
}

// prefixes parses prefixes.
func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// addrs parses addresses.
func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

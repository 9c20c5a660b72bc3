package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/document"
	"weft/profiles"
)

const wireguardFile = `weft: cluster/v1
name: home
profile: wireguard
nodes:
  - {name: pi-1, addresses: [192.168.1.11]}
  - {name: pi-2, addresses: [192.168.1.12]}
`

// write makes a file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read reads a cluster file that is as it should be.
func read(t *testing.T, text string) *Fleet {
	t.Helper()
	f, err := finder.Read(write(t, t.TempDir(), "home.yaml", text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var finder = Finder{Version: "test", Board: "x86-64-cloud"}

// chance is a source of random bytes that are always the same.
func chance() *bytes.Reader {
	var b []byte
	for i := range 4096 {
		b = append(b, byte(i*7), byte(i>>4))
	}
	return bytes.NewReader(b)
}

// complete makes all keys of a fleet.
func complete(t *testing.T, f *Fleet, s Secrets, rotate ...string) (Secrets, []string) {
	t.Helper()
	s, made, err := f.Complete(s, Rotation{Nodes: rotate}, chance())
	if err != nil {
		t.Fatal(err)
	}
	return s, made
}

// refused wants a problem with all parts, which points into the cluster file.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	var problems document.Problems
	if !errors.As(err, &problems) {
		t.Errorf("got %v, want problems", err)
		return
	}
	text := fmt.Sprint(problems)
	for _, p := range problems {
		text += p.Message + "\n" + p.Note + "\n" + p.Fix
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
}

func TestEachNodeHasItsKeyAndAllPublicOnes(t *testing.T) {
	f := read(t, wireguardFile)
	s, made := complete(t, f, Secrets{})
	if len(made) != 2 {
		t.Errorf("made %q", made)
	}
	members, err := f.Members(s)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range members {
		if m.Node.WireGuardKey != s.WireGuard[m.Name] || m.Node.WireGuardKey == members[1-i].Node.WireGuardKey {
			t.Errorf("%s has another key", m.Name)
		}
		public, err := publicKey(m.Node.WireGuardKey)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range members {
			if got := other.Node.Peers[i]; got.Name != m.Name || got.PublicKey != public {
				t.Errorf("%s knows %+v", other.Name, got)
			}
		}
	}
	if f.Cluster.Nodes[0].PublicKey != "" {
		t.Error("the cluster was changed")
	}
}

// The public key of the private one in RFC 7748, section 6.1.
func TestPublicKeysAreThoseOfCurve25519(t *testing.T) {
	got, err := publicKey("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=")
	if want := "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestKeysThatAreThereStay(t *testing.T) {
	f := read(t, wireguardFile)
	first, _ := complete(t, f, Secrets{WireGuard: map[string]string{"pi-1": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="}})
	if again, made := complete(t, f, first); len(made) > 0 || again.WireGuard["pi-2"] != first.WireGuard["pi-2"] {
		t.Errorf("made %q", made)
	}
	if first.WireGuard["pi-1"] != "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=" {
		t.Error("the key of pi-1 was replaced")
	}
	turned, made := complete(t, f, first, "pi-1")
	if len(made) != 1 || turned.WireGuard["pi-1"] == first.WireGuard["pi-1"] || turned.WireGuard["pi-2"] != first.WireGuard["pi-2"] {
		t.Errorf("rotated: %q", made)
	}
	if strings.Contains(fmt.Sprint(made), turned.WireGuard["pi-1"]) {
		t.Error("the key is told")
	}
	_, _, err := f.Complete(first, Rotation{Nodes: []string{"pi-3"}}, chance())
	refused(t, err, `there is no node "pi-3"`, "did you mean")
}

func TestWhatAllNodesShareIsReplacedWhenAsked(t *testing.T) {
	maker := finder
	maker.NewSecrets = true
	f, err := maker.Read(write(t, t.TempDir(), "home.yaml", strings.NewReplacer("profile: wireguard", "profile: k3s-flannel-vxlan\nsecrets: home.secrets",
		"name: pi-1,", "name: pi-1, role: server,").Replace(wireguardFile)))
	if err != nil {
		t.Fatal(err)
	}
	first, _ := complete(t, f, Secrets{Token: "00112233445566778899aabbccddeeff"})
	next, made, err := f.Complete(first, Rotation{Token: true}, chance())
	if err != nil || next.Token == first.Token || next.Token == "" {
		t.Errorf("the token is replaced: %t, %v", next.Token != first.Token, err)
	}
	if len(made) != 1 || made[0] != "the token that nodes join Kubernetes with, in place of the old one" {
		t.Errorf("made %q", made)
	}
	if _, _, err := f.Complete(first, Rotation{PSK: true}, chance()); err == nil || !strings.Contains(err.Error(), "no profile of cluster home has a pre-shared key") {
		t.Errorf("a key that nothing uses: %v", err)
	}
}

func TestMissingKeysAreRefusedWithTheWayOut(t *testing.T) {
	f := read(t, wireguardFile)
	_, err := f.Members(Secrets{})
	refused(t, err, "home.secrets has no WireGuard key for pi-1, pi-2", "run: weft cluster keys ")
}

func TestPublicKeyInTheFileMustFit(t *testing.T) {
	f := read(t, strings.Replace(wireguardFile, "192.168.1.11]", `192.168.1.11], publicKey: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="`, 1))
	s, made := complete(t, f, Secrets{})
	if len(made) != 1 || s.WireGuard["pi-1"] != "" {
		t.Errorf("a node that has its key got another: %q", made)
	}
	if _, err := f.Members(s); err != nil {
		t.Error(err)
	}
	s.WireGuard["pi-1"] = s.WireGuard["pi-2"]
	_, err := f.Members(s)
	refused(t, err, "this is not the key of pi-1")
}

func TestNetworksWithSharedKeysAndTokens(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, profile, what string
		node                func(profiles.Node) string
	}{
		{"wireguard", "extends: wireguard\nnetwork:\n  backend: {pskFile: " + profiles.DefaultPSKFile + "}\n", "wireguardPSK", func(n profiles.Node) string { return n.PSK }},
		{"ipsec", "network:\n  pods: [10.244.0.0/16]\n  backend: {type: ipsec}\n", "ipsecPSK", func(n profiles.Node) string { return n.PSK }},
		{"k3s", "kubernetes: {distribution: k3s}\n", "token", func(n profiles.Node) string { return n.Kubernetes.Token }},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, dir, c.name+".yaml", "weft: profile/v1\nname: "+c.name+"\ndescription: x\n"+c.profile)
			text := strings.NewReplacer("wireguard", "./"+c.name+".yaml", "name: pi-1,", "name: pi-1, role: server,", "nodes:", "secrets: keys\nnodes:").Replace(wireguardFile)
			if c.name != "k3s" {
				text = strings.Replace(text, " role: server,", "", 1)
			}
			f, err := Finder{Version: "test", Board: "x86-64-cloud", NewSecrets: true}.Read(write(t, dir, "c.yaml", text))
			if err != nil {
				t.Fatal(err)
			}
			s, _ := complete(t, f, Secrets{})
			members, err := f.Members(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.node(members[1].Node); got == "" || got != c.node(members[0].Node) {
				t.Errorf("the nodes do not share %s", c.what)
			}
			s.WireGuardPSK, s.IPsecPSK, s.Token = "", "", ""
			_, err = f.Members(s)
			refused(t, err, "no "+c.what)
		})
	}
}

func TestSecretsAreReadBackAndAreTheirOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "home.secrets")
	f := read(t, wireguardFile)
	want, _ := complete(t, f, Secrets{})
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, err := ReadSecrets(path)
	if err != nil || got.WireGuard["pi-1"] != want.WireGuard["pi-1"] || len(got.WireGuard) != 2 {
		t.Errorf("read back: %v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, got.WireGuard["pi-1"]) {
		t.Error("secrets are printed")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = ReadSecrets(path)
	refused(t, err, "others can read", "chmod 600 "+path)
	if none, err := ReadSecrets(path + "-not"); err != nil || none.WireGuard != nil {
		t.Errorf("no file: %v", err)
	}
	if _, err := ReadSecrets(filepath.Join(path, "x")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path through a file: %v", err)
	}
}

// badSecrets are files that are refused; none of the messages may hold TELLTALE.
var badSecrets = map[string]string{
	"empty":              "",
	"no version":         "token: TELLTALE\n",
	"another kind":       "weft: node/v1\n",
	"an unknown key":     "weft: cluster-secrets/v1\nTELLTALE: x\n",
	"a list":             "weft: cluster-secrets/v1\nwireguard: [TELLTALE]\n",
	"no YAML":            "weft: cluster-secrets/v1\n\tTELLTALE",
	"a short key":        "weft: cluster-secrets/v1\nwireguard: {pi-1: TELLTALE}\n",
	"a short shared key": "weft: cluster-secrets/v1\nwireguardPSK: TELLTALE\n",
	"a short IPsec key":  "weft: cluster-secrets/v1\nipsecPSK: TELLTALE\n",
	"a token of words":   "weft: cluster-secrets/v1\ntoken: TELLTALE x\n",
}

func TestBadSecretsAreRefusedWithoutBeingTold(t *testing.T) {
	for name, text := range badSecrets {
		if _, err := parseSecrets([]byte(text)); err == nil || strings.Contains(err.Error(), "TELLTALE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSecrets(f *testing.F) {
	for _, text := range badSecrets {
		f.Add([]byte(text))
	}
	f.Add([]byte("weft: cluster-secrets/v1\nwireguard: {pi-1: dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSecrets(data)
		if err != nil {
			return
		}
		for _, key := range s.WireGuard {
			if _, err := publicKey(key); err != nil {
				t.Error(err)
			}
		}
	})
}

// cards are the cards of a node in these tests.
func cards(node string) Cards {
	last := node[len(node)-1]
	return Cards{Uplink: net.HardwareAddr{2, 0, 0, 0, 0, last}, Segment: net.HardwareAddr{2, 0, 0, 0, 1, last}}
}

func TestNodesOnASegment(t *testing.T) {
	f := read(t, `weft: cluster/v1
name: home
profile: dual-stack
networks:
  - {name: here, prefixes: [192.168.1.0/25]}
  - {name: there, prefixes: [192.168.2.0/24]}
nodes:
  - {name: pi-1, addresses: [192.168.1.1, "fd00::11"], links: [{match: {name: "en*"}}]}
  - {name: pi-2}
  - {name: pi-3, addresses: [192.168.2.13, "2001:db8::13"]}
`)
	if err := f.OnSegment(cards); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"[192.168.1.1/25 fd00::11/64] [fd77::1/128 192.168.2.13/32 2001:db8::13/128]",
		"[192.168.1.2/25 fd77::1/64] [fd00::11/128 192.168.2.13/32 2001:db8::13/128]",
		"[192.168.2.13/24 2001:db8::13/64] [192.168.1.1/32 fd00::11/128 192.168.1.2/32 fd77::1/128]",
	} {
		n := f.Cluster.Nodes[i]
		var to []netip.Prefix
		for _, r := range n.Links[1].Routes {
			to = append(to, r.To)
		}
		if got := fmt.Sprint(n.Links[1].Addresses, " ", to); len(n.Links) != 2 || got != want {
			t.Errorf("%s has %s, want %s", n.Name, got, want)
		}
		if n.Links[0].DHCP4 != nil || n.Links[1].Match.MAC != cards(n.Name).Segment.String() {
			t.Errorf("%s: %+v", n.Name, n.Links)
		}
	}
	if _, err := f.Members(Secrets{}); err != nil {
		t.Error(err)
	}
}

func TestSegmentWithoutIPv4(t *testing.T) {
	f := read(t, "weft: cluster/v1\nname: six\nprofile: ipv6-only\nnodes: [{name: a}, {name: b}]\n")
	_, err := f.Members(Secrets{})
	refused(t, err, "the peers of a do not know where it is", "the peers of b")
	if err := f.OnSegment(cards); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.Cluster.Nodes {
		if len(n.Addresses) != 1 || n.Addresses[0].Is4() || *n.Links[0].DHCP4 {
			t.Errorf("%+v", n)
		}
	}
}

func TestNetworkTooSmallForTheNodesIsRefused(t *testing.T) {
	f := read(t, "weft: cluster/v1\nname: x\nprofile: vxlan\nnetworks: [{name: n, prefixes: [10.9.9.0/31]}]\nnodes: [{name: a}, {name: b}]\n")
	refused(t, f.OnSegment(cards), "10.9.9.0/31 has no address left for b")
}

// Before anything is built for it.
func TestRaspberryPisAreNotRunInQEMU(t *testing.T) {
	const why = " boots by the firmware of a Raspberry Pi, which QEMU does not have"
	for _, c := range []struct{ name, text, want string }{
		{"named by the cluster", "board: rpi4\nnodes: [{name: a}, {name: b}]\n", "4:8: rpi4" + why},
		{"named by a node", "nodes: [{name: a}, {name: b, board: rpi3}]\n", "4:37: rpi3" + why},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := read(t, "weft: cluster/v1\nname: x\nprofile: vxlan\n"+c.text)
			refused(t, f.OnSegment(cards), c.want, "use the board arm64-uefi or x86-64-cloud")
		})
	}
}

func TestNodesShareImagesByBoardAndProfile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.yaml", "weft: profile/v1\nname: mine\ndescription: x\nextends: vxlan\n")
	f, err := finder.Read(write(t, dir, "c.yaml", `weft: cluster/v1
name: x
profile: vxlan
nodes:
  - {name: a, addresses: [192.168.1.11]}
  - {name: b, addresses: [192.168.1.12], profile: ./p.yaml, board: x86-64}
  - {name: c, addresses: [192.168.1.13]}
`))
	if err != nil {
		t.Fatal(err)
	}
	members, err := f.Members(Secrets{})
	if err != nil || len(f.Bases) != 2 || members[0].Base != 0 || members[1].Base != 1 || members[2].Base != 0 {
		t.Fatalf("%v: %d bases, %+v", err, len(f.Bases), members)
	}
	if name := f.Bases[1].Plan.Name(); name != "x86-64-mine" {
		t.Errorf("the second image is called %s", name)
	}
	if fmt.Sprint(members[0].Node.Peers) != fmt.Sprint(members[1].Node.Peers) {
		t.Error("nodes with another profile have other peers")
	}
	write(t, dir, "q.yaml", "weft: profile/v1\nname: vxlan\ndescription: another\nextends: vxlan\n")
	_, err = finder.Read(write(t, dir, "d.yaml", "weft: cluster/v1\nname: x\nprofile: vxlan\nnodes:\n  - {name: a, addresses: [192.168.1.11]}\n  - {name: b, addresses: [192.168.1.12], profile: ./q.yaml}\n"))
	refused(t, err, "two different images would be called x86-64-cloud-vxlan")
}

func TestFaultsOfTheClusterComeFromItsRules(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(wireguardFile, "pi-2", "pi-1", 1):                            "pi-1",
		strings.Replace(wireguardFile, "192.168.1.12", "192.168.1.11", 1):            "192.168.1.11",
		strings.Replace(wireguardFile, "nodes:", "board: x86_64\nnodes:", 1):         "did you mean x86-64?",
		strings.Replace(wireguardFile, "profile: wireguard", "profile: wiregard", 1): "did you mean wireguard?",
		strings.Replace(wireguardFile, "nodes:", "secrets: none\nnodes:", 1):         "there is no file none",
	} {
		_, err := finder.Read(write(t, t.TempDir(), "home.yaml", text))
		refused(t, err, want)
	}
}

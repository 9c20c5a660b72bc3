package rancher

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"weft/profiles"
	"weft/profiles/kube"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// versions are one of each side of every version that changes what is
// written, oldest first; the last is the newest there is.
var versions = map[string][]string{
	profiles.K3s:  {"v1.26.15+k3s1", ""},
	profiles.RKE2: {"v1.26.15+rke2r1", "v1.33.5+rke2r1", ""},
}

// find reads a shipped profile.
func find(t testing.TB, name string) profiles.Profile {
	t.Helper()
	p, _, problems, err := profiles.Find(name)
	if err != nil || problems.Errors() != nil {
		t.Fatalf("%s: %v %v", name, err, problems)
	}
	return p
}

// boot is what a node with two cards and both families knows.
func boot(name string) Boot {
	a := func(device, prefix string, def bool) Address {
		return Address{Interface: device, Prefix: netip.MustParsePrefix(prefix), Default: def}
	}
	return Boot{Name: name, Arch: "amd64", Token: true, Addresses: []Address{
		a("lo", "127.0.0.1/8", false), a("lo", "::1/128", false),
		a("eth0", "fe80::1/64", true), a("eth0", "10.0.2.15/24", true), a("eth0", "2001:db8::15/64", true),
		a("eth1", "192.168.1.11/24", false), a("eth1", "fd00:1::11/64", false),
	}}
}

// place is a node that begins a cluster, or joins one.
func place(role string) profiles.Node { return placeIn(profiles.K3s, role) }

// placeIn is a node of a distribution's cluster.
func placeIn(distribution, role string) profiles.Node {
	n := profiles.Node{Weft: profiles.NodeVersion, Kubernetes: profiles.NodeKubernetes{Role: role}}
	if role == profiles.RoleAgent {
		n.Kubernetes.Join = kube.JoinURL(distribution, "192.168.1.11")
		n.Kubernetes.Labels = map[string]string{"rack": "1"}
	}
	return n
}

func TestGoldenFilesOfEveryProfileRoleAndVersion(t *testing.T) {
	seen := map[string]bool{}
	for _, offer := range profiles.Shipped() {
		if offer.Distribution == profiles.NoKubernetes {
			continue
		}
		p := find(t, offer.Name)
		gates := versions[offer.Distribution]
		if p.Kubernetes.Version != "" {
			gates = []string{p.Kubernetes.Version}
		}
		for _, role := range []string{profiles.RoleServer, profiles.RoleAgent} {
			var newest []byte
			for _, version := range slices.Backward(gates) {
				p.Kubernetes.Version = version
				files, err := RenderAt(p, placeIn(offer.Distribution, role), boot("node-"+role))
				if err != nil {
					t.Fatalf("%s %s: %v", offer.Name, role, err)
				}
				got := Print(files)
				name := filepath.Join("testdata", offer.Name+"."+role+".txt")
				if newest == nil {
					newest = got
				} else if bytes.Equal(got, newest) {
					continue
				} else {
					name = filepath.Join("testdata", offer.Name+"."+role+"@"+strings.TrimPrefix(version, "v")+".txt")
				}
				seen[name] = true
				golden(t, name, got)
			}
		}
	}
	for name, n := range map[string]profiles.Node{
		"first": {Kubernetes: profiles.NodeKubernetes{More: true}},
		"next":  {Kubernetes: profiles.NodeKubernetes{Role: profiles.RoleServer, Join: kube.JoinURL(profiles.K3s, "kubernetes.internal")}},
	} {
		files, err := RenderAt(find(t, "k3s-ha"), n, boot("node-"+name))
		if err != nil {
			t.Fatal(err)
		}
		file := "testdata/k3s-ha.server-" + name + ".txt"
		seen[file] = true
		golden(t, file, Print(files))
	}
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !seen[name] {
			t.Errorf("%s is a golden file of nothing", name)
		}
	}
}

// golden compares with a golden file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs: look at it and run go test ./profiles/rancher -update\n%s", name, got)
	}
}

// config reads the settings that K3s would see: the file with the drop-ins
// over it.
func config(t *testing.T, files []File) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, f := range files {
		if !strings.Contains(f.Path, "/config.yaml") {
			continue
		}
		var m map[string]any
		if err := yaml.Unmarshal(f.Data, &m); err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

func TestEveryKeyIsOneThatTheDistributionKnows(t *testing.T) {
	for _, offer := range profiles.Shipped() {
		if offer.Distribution == profiles.NoKubernetes {
			continue
		}
		p := find(t, offer.Name)
		known := kube.Keys(offer.Distribution)
		for _, role := range []string{profiles.RoleServer, profiles.RoleAgent} {
			files, err := RenderAt(p, place(role), boot("n"))
			if err != nil {
				t.Fatal(err)
			}
			for key := range config(t, files) {
				k, ok := kube.Find(known, key)
				if want := map[string]kube.Role{"server": kube.Server, "agent": kube.Agent}[role]; !ok || k.Roles&want == 0 || !k.In(p.Kubernetes.Release()) {
					t.Errorf("%s %s: %s is no key of it", offer.Name, role, key)
				}
			}
			for _, f := range files {
				var v any
				if strings.HasSuffix(f.Path, ".yaml") && yaml.Unmarshal(f.Data, &v) != nil {
					t.Errorf("%s %s: %s is no YAML", offer.Name, role, f.Path)
				}
			}
		}
	}
}

func TestEqualInputsGiveEqualBytes(t *testing.T) {
	p := find(t, "rke2-cilium-hubble")
	first, err := RenderAt(p, place("server"), boot("n"))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := RenderAt(p.WithDefaults(), place("server"), boot("n"))
		if err != nil || !bytes.Equal(Print(first), Print(again)) {
			t.Fatalf("%v\n%s", err, Print(again))
		}
	}
}

func TestNodeAddressesFollowTheRule(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, s := range texts {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	four, six := prefixes("10.42.0.0/16")[0], prefixes("fd42:42::/56")[0]
	cases := []struct {
		name     string
		pods     []netip.Prefix
		underlay profiles.Underlay
		want     string
		device   string
	}{
		{"default route", []netip.Prefix{four}, profiles.Underlay{}, "[10.0.2.15]", "eth0"},
		{"default route, both families", []netip.Prefix{four, six}, profiles.Underlay{}, "[10.0.2.15 2001:db8::15]", "eth0"},
		{"IPv6 first", []netip.Prefix{six, four}, profiles.Underlay{}, "[2001:db8::15 10.0.2.15]", "eth0"},
		{"device", []netip.Prefix{four, six}, profiles.Underlay{UnderlayChoice: profiles.UnderlayChoice{Interfaces: []string{"eth9", "eth1"}}}, "[192.168.1.11 fd00:1::11]", "eth1"},
		{"address of a device", []netip.Prefix{six}, profiles.Underlay{UnderlayChoice: profiles.UnderlayChoice{Interfaces: []string{"192.168.1.11"}}}, "[fd00:1::11]", "eth1"},
		{"expression", []netip.Prefix{four}, profiles.Underlay{UnderlayChoice: profiles.UnderlayChoice{InterfacesRegex: []string{"^192\\.168\\."}}}, "[192.168.1.11]", "eth1"},
		{"subnet", []netip.Prefix{four, six}, profiles.Underlay{UnderlayChoice: profiles.UnderlayChoice{Subnet: prefixes("192.168.0.0/16", "fd00:1::/64")}}, "[192.168.1.11 fd00:1::11]", "eth1"},
		{"reach on a link", []netip.Prefix{four}, profiles.Underlay{UnderlayChoice: profiles.UnderlayChoice{CanReach: []netip.Addr{netip.MustParseAddr("192.168.1.1")}}}, "[192.168.1.11]", "eth1"},
		{"reach by the default route", []netip.Prefix{four}, profiles.Underlay{UnderlayChoice: profiles.UnderlayChoice{CanReach: []netip.Addr{netip.MustParseAddr("8.8.8.8")}}}, "[10.0.2.15]", "eth0"},
		{"one family apart", []netip.Prefix{four, six}, profiles.Underlay{IPv6: &profiles.UnderlayChoice{Interfaces: []string{"eth1"}}}, "[10.0.2.15 fd00:1::11]", "eth0"},
	}
	for _, c := range cases {
		got, device, err := NodeAddresses(profiles.Network{Pods: c.pods, Underlay: c.underlay}, boot("").Addresses)
		if err != nil || fmt.Sprint(got) != c.want || device != c.device {
			t.Errorf("%s: %v on %s, %v", c.name, got, device, err)
		}
	}
}

func TestMissingFamilyIsToldByName(t *testing.T) {
	p := find(t, "k3s-dual-stack")
	at := boot("n")
	at.Addresses = at.Addresses[:4] // IPv4 and a link-local address
	_, err := RenderAt(p, profiles.Node{}, at)
	var late *NoAddressError
	if !errors.As(err, &late) || !late.IPv6 || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("got %v", err)
	}
	if files := Render(p, profiles.Node{}); config(t, files)["node-ip"] != nil {
		t.Error("a node that has not booted has an address")
	}
	n := profiles.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.9"), netip.MustParseAddr("fd00::9")}}
	files, err := RenderAt(p, n, at)
	if err != nil || fmt.Sprint(config(t, files)["node-ip"]) != "[192.168.1.9 fd00::9]" {
		t.Errorf("the node file's addresses do not count: %v, %v", config(t, files)["node-ip"], err)
	}
}

func TestVersionGates(t *testing.T) {
	p := find(t, "k3s-dual-stack")
	p.Network.Underlay.Interfaces = []string{"eth1"}
	for version, want := range map[string]string{"v1.26.9+k3s1": "[node-ip=0.0.0.0]", "v1.27.1+k3s1": "<nil>"} {
		p.Kubernetes.Version = version
		files, err := RenderAt(p, place("agent"), boot("n"))
		if err != nil {
			t.Fatal(err)
		}
		c := config(t, files)
		if got := fmt.Sprint(c["kubelet-arg"]); got != want || c["flannel-iface"] != "eth1" {
			t.Errorf("%s: kubelet-arg %s, flannel-iface %v", version, got, c["flannel-iface"])
		}
	}
	r := find(t, "rke2-canal")
	no := false
	r.Kubernetes.Traefik = &no
	for version, want := range map[string]string{"v1.26.9+rke2r1": "<nil> [rke2-ingress-nginx]", "v1.27.1+rke2r1": "none <nil>"} {
		r.Kubernetes.Version = version
		c := config(t, Render(r, profiles.Node{}))
		if got := fmt.Sprint(c["ingress-controller"], " ", c["disable"]); got != want {
			t.Errorf("%s: %s", version, got)
		}
	}
	m := find(t, "rke2-multus")
	m.Kubernetes.CNI = []string{"multus", "cilium"}
	for version, want := range map[string]bool{"v1.33.5+rke2r1": true, "v1.33.6+rke2r1": false} {
		m.Kubernetes.Version = version
		if got := bytes.Contains(Print(Render(m, profiles.Node{})), []byte("exclusive: false")); got != want {
			t.Errorf("%s: Cilium leaves the other lists: %v", version, got)
		}
	}
}

func TestKubeletIsToldBothAddressesWithoutTheCloudController(t *testing.T) {
	p := find(t, "k3s-dual-stack")
	p.Kubernetes.Server["disable-cloud-controller"] = true
	files, err := RenderAt(p, place("agent"), boot("n"))
	if err != nil || fmt.Sprint(config(t, files)["kubelet-arg"]) != "[node-ip=10.0.2.15,2001:db8::15]" {
		t.Errorf("%v, %v", config(t, files)["kubelet-arg"], err)
	}
}

func TestTokenIsNeverWritten(t *testing.T) {
	n := place("agent")
	n.Kubernetes.Token = "K10secret"
	files := Render(find(t, "k3s-ha"), n)
	if bytes.Contains(Print(files), []byte("secret")) || config(t, files)["token-file"] != TokenFile {
		t.Errorf("%s", Print(files))
	}
}

func TestPayloadsOfTheImageArePutInPlace(t *testing.T) {
	p := find(t, "k3s-canal")
	p.Kubernetes.Images = []profiles.Payload{{Path: "a.tar.zst", Arch: "amd64"}, {Path: "b.tar.zst", Arch: "arm64"}}
	p.Kubernetes.Manifests = []profiles.Payload{{URL: "https://example.org/x.yaml?raw=1"}}
	p.Kubernetes.Registries.Mirrors = map[string]profiles.Mirror{"*": {Endpoints: []string{"https://mirror.lan"}}}
	files, err := RenderAt(p, place("server"), boot("n"))
	text := string(Print(files))
	for _, want := range []string{
		"== /var/lib/rancher/k3s/agent/images/a.tar.zst -> /usr/share/weft/images/a.tar.zst\n",
		"== /var/lib/rancher/k3s/server/manifests/weft-x.yaml 0600, a copy of /usr/share/weft/manifests/x.yaml\n",
		"== /etc/rancher/k3s/registries.yaml 0600\n", "endpoint:\n      - https://mirror.lan",
		`"allow_ip_forwarding": true`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if err != nil || strings.Contains(text, "b.tar") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestRoles(t *testing.T) {
	k3s, netd := find(t, "k3s-netd"), find(t, "vxlan")
	if s, on := ServiceFor(k3s, place("server")); !on || s.Path != "/usr/local/bin/k3s" || s.Args[0] != "server" {
		t.Errorf("server: %+v %v", s, on)
	}
	if s, on := ServiceFor(k3s, place("agent")); !on || s.Args[0] != "agent" {
		t.Errorf("agent: %+v %v", s, on)
	}
	for name, none := range map[string]profiles.Node{"k3s": place(profiles.RoleNone), "netd": {}} {
		p := map[string]profiles.Profile{"k3s": k3s, "netd": netd}[name]
		files, err := RenderAt(p, none, boot("n"))
		if _, on := ServiceFor(p, none); on || len(files) > 0 || err != nil {
			t.Errorf("%s: a plain node runs Kubernetes: %v %v", name, files, err)
		}
	}
	for _, s := range mustService(t, k3s).Env {
		if strings.HasPrefix(s, "INVOCATION_ID") {
			t.Error("K3s would take the cgroup driver for systemd's")
		}
	}
}

// mustService is the service of a server.
func mustService(t *testing.T, p profiles.Profile) Service {
	t.Helper()
	s, on := ServiceFor(p, profiles.Node{})
	if !on {
		t.Fatal("nothing runs")
	}
	return s
}

func TestHosts(t *testing.T) {
	got := fmt.Sprint(Hosts("a.example.org", []netip.Addr{netip.MustParseAddr("fd00::1")}))
	if want := "[{127.0.0.1 [localhost]} {::1 [localhost ip6-localhost ip6-loopback]} {fd00::1 [a.example.org a]}]"; got != want {
		t.Errorf("got %s", got)
	}
}

func BenchmarkRenderAt(b *testing.B) {
	p := find(b, "k3s-canal").WithDefaults()
	for b.Loop() {
		if _, err := RenderAt(p, place("server"), boot("n")); err != nil {
			b.Fatal(err)
		}
	}
}

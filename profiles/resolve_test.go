package profiles

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft/document"
)

const uuid1 = "0b9f1c3e-0000-4000-8000-000000000001"

// sound reads a file that must have no problems.
func sound[T any](t *testing.T, read func(string, []byte) (T, *document.Document, document.Problems), text string) T {
	t.Helper()
	v, _, problems := read("test.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return v
}

func TestOwnEntryGivesTheNodeItsPart(t *testing.T) {
	p := sound(t, Read, base)
	got, err := NetdFor(p, Node{}, "node-1", uuid1)
	if err != nil {
		t.Fatal(err)
	}
	want := NetdNode{
		Name: "node-1", UUID: uuid1, MAC: "02:00:00:00:00:01",
		Addresses: addrs("192.168.1.11", "2001:db8::11"),
		Subnets:   prefixes("10.244.1.0/24", "fd42:0:0:1::/64"),
	}
	if !reflect.DeepEqual(got.Node, want) {
		t.Errorf("got %+v\nwant %+v", got.Node, want)
	}
	if len(got.Network.Peers) != 1 || got.Network.Peers[0].Name != "node-2" {
		t.Errorf("peers are %+v", got.Network.Peers)
	}
	if got.Network.Peers[0].MAC != VTEPMAC("node-2").String() {
		t.Errorf("the peer has MAC %s", got.Network.Peers[0].MAC)
	}
	if len(p.Network.Peers) != 2 || p.Network.Peers[1].MAC != "" {
		t.Error("the profile was changed")
	}
}

func TestNodeFileWinsOverTheList(t *testing.T) {
	p := sound(t, Read, base)
	yes := true
	n := Node{
		Addresses: addrs("192.168.9.1"), Subnets: prefixes("10.244.77.0/24", "fd42:0:0:77::/64"), Probe: &yes,
		Peers: []Peer{{Name: "other", Addresses: addrs("192.168.9.2", "2001:db8::2"), Subnets: prefixes("10.244.78.0/24", "fd42:0:0:78::/64")}},
	}
	got, err := NetdFor(p, n, "node-1", uuid1)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Node.Addresses, n.Addresses) || !reflect.DeepEqual(got.Node.Subnets, n.Subnets) {
		t.Errorf("got %+v", got.Node)
	}
	if !got.Network.Probe || len(got.Network.Peers) != 1 || got.Network.Peers[0].Name != "other" {
		t.Errorf("got %+v", got.Network)
	}
	// node-1 is not in the node file's list, so its MAC comes from its name.
	if got.Node.MAC != VTEPMAC("node-1").String() {
		t.Errorf("got %s", got.Node.MAC)
	}
}

func TestNodeWithoutAnyListDerivesItsPart(t *testing.T) {
	p := sound(t, Read, base)
	p.Network.Peers = nil
	got, err := NetdFor(p, Node{}, "somewhere", uuid1)
	if err != nil {
		t.Fatal(err)
	}
	if got.Node.Addresses != nil || !slices.Equal(got.Node.Subnets, SubnetsFor(p.Network, uuid1)) || got.Network.Peers != nil {
		t.Errorf("got %+v", got)
	}
	if got.Paths != DefaultNetdPaths || got.Listen != DefaultListen || got.Weft != NetdVersion {
		t.Errorf("got %+v", got)
	}
}

func TestNetdForRefusesWhatDoesNotHoldTogether(t *testing.T) {
	p := sound(t, Read, base)
	for _, c := range []struct {
		name string
		node Node
		uuid string
		want string
	}{
		{"a subnet of node-2", Node{Subnets: prefixes("10.244.2.0/24", "fd42:0:0:1::/64")}, uuid1, "overlaps this node's"},
		{"an address of node-2", Node{Addresses: addrs("192.168.1.12")}, uuid1, "has this node's address"},
		{"one family only", Node{Subnets: prefixes("10.244.9.0/24")}, uuid1, "lacks one for IPv6"},
		{"a subnet elsewhere", Node{Subnets: prefixes("10.1.9.0/24", "fd42:0:0:9::/64")}, uuid1, "is not inside 10.244.0.0/16"},
		{"no identity", Node{}, "", "is no UUID"},
	} {
		_, err := NetdFor(p, c.node, "node-1", c.uuid)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := NetdFor(Profile{}, Node{}, "node-1", uuid1); err == nil || !strings.Contains(err.Error(), "no range for pods") {
		t.Errorf("an empty profile: %v", err)
	}
}

func TestRenderedFilesReadBackEqual(t *testing.T) {
	p := sound(t, Read, base)
	n := sound(t, ReadNode, baseNode)
	netd, err := NetdFor(p, Node{}, "node-1", uuid1)
	if err != nil {
		t.Fatal(err)
	}
	rendersBack(t, p, Profile.YAML, Read)
	rendersBack(t, p.WithDefaults(), Profile.YAML, Read)
	rendersBack(t, n, Node.YAML, ReadNode)
	rendersBack(t, netd, Netd.YAML, ReadNetd)
	rendersBack(t, sound(t, ReadNetd, baseNetd), Netd.YAML, ReadNetd)

	// Text that YAML could take for something else.
	p.Sysctls = map[string]string{"a.b": "yes", "a.c": "1e3", "a.d": "0x1f", "a.e": "~", "a.f": "1 2", "a.g": "12:30:45"}
	rendersBack(t, p, Profile.YAML, Read)
}

// rendersBack renders a value twice and reads it.
func rendersBack[T any](t *testing.T, v T, render func(T) ([]byte, error), read func(string, []byte) (T, *document.Document, document.Problems)) {
	t.Helper()
	first, err := render(v)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := render(v)
	if string(first) != string(second) {
		t.Error("two renderings differ")
	}
	got, _, problems := read("rendered.yaml", first)
	if problems.Errors() != nil {
		t.Fatalf("%v\n%s", problems, first)
	}
	if !reflect.DeepEqual(got, v) {
		t.Errorf("got %+v\nwant %+v\n%s", got, v, first)
	}
}

func TestContractFollowsTheFamilies(t *testing.T) {
	for _, c := range []struct {
		name    string
		pods    []string
		modules string
		sysctls string
	}{
		{"IPv4", []string{"10.244.0.0/16"},
			"vxlan bridge veth br_netfilter nf_conntrack nf_tables nft_chain_nat nft_masq",
			"net.ipv6.conf.default.accept_ra=0 net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288"},
		{"IPv6", []string{"fd42::/48"},
			"ipv6 vxlan bridge veth br_netfilter nf_conntrack nf_tables nft_chain_nat nft_masq",
			"net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.forwarding=1 net.ipv6.conf.all.forwarding=1 net.bridge.bridge-nf-call-ip6tables=1 fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288"},
		{"both", []string{"10.244.0.0/16", "fd42::/48"},
			"ipv6 vxlan bridge veth br_netfilter nf_conntrack nf_tables nft_chain_nat nft_masq",
			"net.ipv6.conf.default.accept_ra=0 net.ipv4.ip_forward=1 net.ipv6.conf.default.forwarding=1 net.ipv6.conf.all.forwarding=1 net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288"},
	} {
		got := ContractFor(Profile{Network: Network{Pods: prefixes(c.pods...)}})
		var modules, sysctls []string
		for _, m := range got.Modules {
			modules = append(modules, m.Name)
			if !strings.HasPrefix(m.Config, "CONFIG_") || m.Reason == "" || m.Path == "" {
				t.Errorf("%s: incomplete need %+v", c.name, m)
			}
		}
		for _, s := range got.Sysctls {
			sysctls = append(sysctls, s.Name+"="+s.Value)
			if s.Reason == "" || s.Path == "" {
				t.Errorf("%s: incomplete need %+v", c.name, s)
			}
		}
		if strings.Join(modules, " ") != c.modules {
			t.Errorf("%s: modules %v", c.name, modules)
		}
		if strings.Join(sysctls, " ") != c.sysctls {
			t.Errorf("%s: sysctls %v", c.name, sysctls)
		}
	}
}

func TestProfileAddsToItsContractAndWins(t *testing.T) {
	p := Profile{
		Network: Network{Pods: prefixes("10.244.0.0/16")},
		Modules: []string{"wireguard", "br-netfilter"},
		Sysctls: map[string]string{"vm.swappiness": "1", "fs.inotify.max_user_watches": "9", "kernel.panic": "5"},
	}
	got := ContractFor(p)
	mine := got.Modules[len(got.Modules)-2:]
	if mine[0].Name != "wireguard" || mine[0].Path != "modules[0]" || mine[1].Name != "br_netfilter" || mine[1].Path != "modules[1]" {
		t.Errorf("modules %+v", mine)
	}
	var text []string
	for _, s := range got.Sysctls {
		text = append(text, fmt.Sprintf("%s=%s@%s", s.Name, s.Value, s.Path))
	}
	if len(text) != 7 || text[4] != "fs.inotify.max_user_watches=9@sysctls[fs.inotify.max_user_watches]" ||
		text[5] != "kernel.panic=5@sysctls[kernel.panic]" || text[6] != "vm.swappiness=1@sysctls[vm.swappiness]" {
		t.Errorf("sysctls %v", text)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(base))
	f.Fuzz(func(t *testing.T, data []byte) { survives(t, data, Read, Profile.YAML) })
}

func FuzzReadNode(f *testing.F) {
	f.Add([]byte(baseNode))
	f.Fuzz(func(t *testing.T, data []byte) { survives(t, data, ReadNode, Node.YAML) })
}

func FuzzReadNetd(f *testing.F) {
	f.Add([]byte(baseNetd))
	f.Fuzz(func(t *testing.T, data []byte) { survives(t, data, ReadNetd, Netd.YAML) })
}

// survives reads bytes; what has no errors must render and read back equal.
func survives[T any](t *testing.T, data []byte, read func(string, []byte) (T, *document.Document, document.Problems), render func(T) ([]byte, error)) {
	v, _, problems := read("fuzz.yaml", data)
	_ = problems.Error()
	if problems.Errors() != nil {
		return
	}
	if p, ok := any(v).(Profile); ok {
		ContractFor(p)
		if _, err := NetdFor(p, Node{}, "fuzz", uuid1); err != nil && !strings.Contains(err.Error(), "peer") {
			t.Errorf("a sound profile gives no netd configuration: %v", err)
		}
	}
	rendersBack(t, v, render, read)
}

// Where the store gives subnets, none are made up: two nodes could have the
// same, and that of a Kubernetes node is its podCIDR.
func TestStoreThatGivesSubnetsLeavesThemOpen(t *testing.T) {
	for _, kind := range []string{StoreEtcd, StoreKubernetes} {
		p := sound(t, Read, base)
		p.Network.Peers = nil
		p.Network.Store.Type = kind
		p.Network.Store.Kubernetes.Kubeconfig = map[string]string{StoreKubernetes: "/etc/weft/kubeconfig"}[kind]
		got, err := NetdFor(p, Node{}, "somewhere", uuid1)
		if err != nil || len(got.Node.Subnets) != 0 {
			t.Errorf("%s: subnets %v, %v; want none", kind, got.Node.Subnets, err)
		}
		data, err := got.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, problems := ReadNetd("netd.yaml", data); problems.Errors() != nil {
			t.Errorf("%s: %v", kind, problems)
		}
	}
}

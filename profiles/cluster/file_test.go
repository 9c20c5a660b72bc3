package cluster

import (
	"fmt"
	"reflect"
	"testing"

	"weft/profiles"
)

const netdProfile = `weft: profile/v1
name: p
network:
  pods: [10.244.0.0/16, "fd42::/48"]
  backend: {type: vxlan}
  masquerade: {ipv6: true}
`

const three = `weft: cluster/v1
name: home
profile: p
nodes:
  - {name: node-1, addresses: [192.168.1.11, "2001:db8::11"]}
  - {name: node-2, addresses: [192.168.1.12, "2001:db8::12"], subnets: [10.244.1.0/24, "fd42:0:0:7::/64"]}
  - {name: node-3, addresses: [192.168.1.13, "2001:db8::13"]}
`

func TestNodeFilesOfACluster(t *testing.T) {
	p, _, problems := profiles.Read("p.yaml", []byte(netdProfile))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c, _, problems := Read("home.yaml", []byte(three))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	nodes, err := c.NodeFiles(p)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"[10.244.2.0/24 fd42:0:0:1::/64]", "[10.244.1.0/24 fd42:0:0:7::/64]", "[10.244.3.0/24 fd42:0:0:2::/64]"}
	for i, n := range nodes {
		if got := fmt.Sprint(n.Subnets); got != want[i] {
			t.Errorf("%s has %s, want %s", n.Hostname, got, want[i])
		}
		if len(n.Peers) != 3 || n.Weft != profiles.NodeVersion {
			t.Errorf("%+v", n)
		}
		if _, err := profiles.NetdFor(p, n, n.Hostname, "0b9f1c3e-0000-4000-8000-00000000000"+string(rune('1'+i))); err != nil {
			t.Error(err)
		}
		text, err := n.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, problems := profiles.ReadNode("node.yaml", text); len(problems) > 0 {
			t.Error(problems)
		}
	}
}

func TestKubernetesGivesOutSubnetsItself(t *testing.T) {
	p, _, _ := profiles.Read("p.yaml", []byte("weft: profile/v1\nname: p\nkubernetes: {distribution: k3s}\n"))
	c, _, _ := Read("home.yaml", []byte(three))
	nodes, err := c.NodeFiles(p)
	if err != nil || nodes[0].Subnets != nil || nodes[0].Peers != nil || nodes[0].Hostname != "node-1" {
		t.Errorf("%v %+v", err, nodes)
	}
}

// etcd gives out subnets, but to a node that has one of its own.
func TestNodesOnEtcdHaveTheSubnetsTheFileGivesAndNoOthers(t *testing.T) {
	p, _, problems := profiles.Read("p.yaml", []byte(netdProfile+"  store: {type: etcd, etcd: {endpoints: [\"http://192.168.1.5:2379\"]}}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c, _, _ := Read("home.yaml", []byte(three))
	nodes, err := c.NodeFiles(p)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"[]", "[10.244.1.0/24 fd42:0:0:7::/64]", "[]"} {
		if got := fmt.Sprint(nodes[i].Subnets); got != want || nodes[i].Peers != nil {
			t.Errorf("%s has %s and peers %v, want %s", nodes[i].Hostname, got, nodes[i].Peers, want)
		}
	}
}

func TestNetworkThatIsFullIsRefused(t *testing.T) {
	p, _, _ := profiles.Read("p.yaml", []byte("weft: profile/v1\nname: p\nnetwork:\n  pods: [10.244.0.0/23]\n  subnetLength: {ipv4: 25}\n  backend: {type: vxlan}\n"))
	c := Cluster{Name: "home"}
	for range 4 {
		c.Nodes = append(c.Nodes, Node{Name: "n"})
	}
	if _, err := c.NodeFiles(p); err == nil {
		t.Error("four nodes in a network of four parts, the first of which stays free")
	}
}

func TestLockIsReadBack(t *testing.T) {
	p, _, _ := profiles.Read("p.yaml", []byte(netdProfile))
	want := Cluster{ID: "5d1c6d6e-1b9c-4c41-9a53-0c4b7a6d1f01"}.LockFor(p)
	text, err := want.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, _, problems := ReadLock("home.lock", text)
	if len(problems) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: got %+v, want %+v", problems, got, want)
	}
	if _, _, problems := ReadLock("home.lock", []byte("weft: cluster/v1\nid: x\npods: []\n")); problems.Errors() == nil {
		t.Error("another kind of file is taken")
	}
}

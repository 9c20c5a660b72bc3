package cluster

import (
	"net/netip"
	"reflect"
	"testing"

	"weft/profiles"
)

func TestNodesKnowTheirPlaceInKubernetes(t *testing.T) {
	a := func(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }
	c := Cluster{Name: "c", Nodes: []Node{
		{Name: "s1", Role: Server, Bootstrap: true, Addresses: a("fd00::1")},
		{Name: "s2", Role: Server, Addresses: a("fd00::2")},
		{Name: "a1", Labels: map[string]string{"rack": "1"}, Taints: []string{"x=y:NoSchedule"}},
		{Name: "p1", Role: Plain, Labels: map[string]string{"rack": "1"}},
	}}
	p := profiles.Profile{Kubernetes: profiles.Kubernetes{Distribution: profiles.RKE2}}
	nodes, err := c.NodeFiles(p)
	if err != nil {
		t.Fatal(err)
	}
	want := []profiles.NodeKubernetes{
		{Role: Server, More: true},
		{Role: Server, Join: "https://[fd00::1]:9345"},
		{Role: Agent, Join: "https://[fd00::1]:9345", Labels: map[string]string{"rack": "1"}, Taints: []string{"x=y:NoSchedule"}},
		{Role: Plain},
	}
	for i, n := range nodes {
		if !reflect.DeepEqual(n.Kubernetes, want[i]) {
			t.Errorf("%s: %+v", n.Hostname, n.Kubernetes)
		}
	}
	c.Address = "kubernetes.internal"
	nodes, err = c.NodeFiles(profiles.Profile{Kubernetes: profiles.Kubernetes{Distribution: profiles.K3s}})
	if err != nil || nodes[1].Kubernetes.Join != "https://kubernetes.internal:6443" {
		t.Errorf("%+v %v", nodes, err)
	}
}

package rules

import (
	"fmt"
	"strings"
	"testing"

	"weft/profiles/cluster"
)

func TestClashesOfNodesAreFoundWhereTheyStand(t *testing.T) {
	for _, c := range []struct {
		name, first, second, message string
		column                       int
	}{
		{"one subnet", "subnets: [10.244.1.0/24]", "subnets: [10.244.1.0/25]", "the pod subnet 10.244.1.0/25 is in part that of another node, 10.244.1.0/24", 30},
		{"one key", "publicKey: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", "publicKey: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", "two nodes have the WireGuard key hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", 31},
		{"one hardware address", "links: [{match: {mac: \"02:00:00:00:00:0a\"}}]", "links: [{match: {mac: \"02:00:00:00:00:0A\"}}]", "two nodes have the hardware address 02:00:00:00:00:0a", 42},
		{"one address of a link", "links: [{match: {name: eth0}, addresses: [10.0.0.5/24]}]", "links: [{match: {name: eth0}, addresses: [10.0.0.5/16]}]", "two nodes have the address of a link 10.0.0.5", 62},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := fmt.Sprintf("weft: cluster/v1\nname: home\nprofile: wireguard\nnodes:\n  - {name: node-1, %s}\n  - {name: node-2, %s}\n", c.first, c.second)
			parsed, d, problems := cluster.Read("home.yaml", []byte(text))
			if problems.Errors() != nil {
				t.Fatal(problems)
			}
			found := clashes(&Subject{Cluster: &parsed, Doc: d})
			if len(found) != 1 || found[0].Message != c.message || found[0].Line != 6 || found[0].Column != c.column {
				t.Errorf("found %+v", found)
			}
		})
	}
}

// The names were found by trying: of 18 million, two have one address.
func TestNamesWithOneTunnelAddressAreFound(t *testing.T) {
	text := "weft: cluster/v1\nname: home\nprofile: vxlan\nnodes:\n  - {name: node-15968707}\n  - {name: node-17921966}\n"
	parsed, d, problems := cluster.Read("home.yaml", []byte(text))
	if problems.Errors() != nil {
		t.Fatal(problems)
	}
	found := clashes(&Subject{Cluster: &parsed, Doc: d})
	if len(found) != 1 || found[0].Line != 6 || found[0].Column != 12 ||
		!strings.HasPrefix(found[0].Message, "node-15968707 and node-17921966 have the tunnel address ") {
		t.Errorf("found %+v", found)
	}
}

// Kubernetes gives out the subnets, and a cluster file that does says so where
// it does.
func TestSubnetsOfNodesBesideKubernetesAreFound(t *testing.T) {
	const nodes = "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], subnets: [10.42.7.0/24]}\n"
	for store, want := range map[string]int{
		"{type: kubernetes, kubernetes: {kubeconfig: /k}}": 1,
		"{type: etcd}": 0,
	} {
		file := place(t, Example{
			Profile: "network: {backend: {type: vxlan}, store: " + store + "}\nkubernetes:\n  server: {flannel-backend: none}\n",
			Cluster: "name: home\n" + nodes,
		})
		found := 0
		problems := check(t, file, Facts{})
		for _, p := range problems {
			if p.Rule == "N29" && p.Line == 5 && strings.Contains(p.Fix, "remove subnets") {
				found++
			}
		}
		if found != want {
			t.Errorf("%s: found %d times, want %d:\n%v", store, found, want, problems)
		}
	}
}

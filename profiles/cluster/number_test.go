package cluster

import (
	"fmt"
	"testing"
)

func TestNodesWithoutAddressesAreNumbered(t *testing.T) {
	const text = `weft: cluster/v1
name: home
profile: p
networks:
  - {name: lan, prefixes: [192.168.1.0/24, "fd77:1::/64"], first: [192.168.1.11, "fd77:1::11"]}
  - {name: vpn, prefixes: [10.9.0.0/24]}
nodes:
  - {name: one}
  - {name: two, addresses: [192.168.1.12]}
  - {name: three, addresses: ["fd77:1::12"]}
  - {name: four}
  - {name: five, externalAddresses: [192.168.1.15]}
`
	c, _, problems := Read("home.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []string{
		"[192.168.1.11 fd77:1::11]", "[192.168.1.12 fd77:1::13]", "[fd77:1::12 192.168.1.13]",
		"[192.168.1.14 fd77:1::14]", "[192.168.1.16 fd77:1::15]",
	}
	for i, n := range c.Nodes {
		if got := fmt.Sprint(n.Addresses); got != want[i] {
			t.Errorf("%s has %s, want %s", n.Name, got, want[i])
		}
	}
	if i, _ := c.Crowded(); i >= 0 {
		t.Errorf("%s has no address", c.Nodes[i].Name)
	}
}

func TestANetworkThatIsFullIsFound(t *testing.T) {
	const text = `weft: cluster/v1
name: home
profile: p
networks:
  - {name: lan, prefixes: [192.168.1.0/24], first: [192.168.1.253]}
nodes: [{name: one}, {name: two}, {name: three}]
`
	c, _, problems := Read("home.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	// 192.168.1.255 is the broadcast address.
	if i, first := c.Crowded(); i != 2 || first.String() != "192.168.1.253" {
		t.Errorf("node %d from %s on", i, first)
	}
}

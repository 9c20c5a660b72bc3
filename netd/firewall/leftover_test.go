package firewall

import (
	"strings"
	"testing"

	"weft/netd/nstest"
	"weft/profiles"
)

// flanneldIPTables is what flanneld writes in its iptables mode on node 1,
// with a jump that somebody else added.
const flanneldIPTables = `*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`

// hostRules are rules of the host's other parts.
const hostRules = `*nat
:KUBE-POSTROUTING - [0:0]
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
*filter
:HOST - [0:0]
-A FORWARD -j HOST
-A HOST -s 192.0.2.0/24 -j DROP
-A HOST -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A HOST -m addrtype --dst-type LOCAL -m statistic --mode random --probability 0.50000000000 -j RETURN
-A HOST -p tcp -m multiport --dports 80,443 -m limit --limit 5/min -j LOG --log-prefix "host "
-A HOST -i eth+ -p udp -m udp --dport 53 -j REJECT
-A HOST -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m connlimit --connlimit-above 9 --connlimit-mask 32 --connlimit-saddr -j DROP
COMMIT
`

const flanneldNFT = `
add table ip flannel-ipv4 { comment "rules for flannel-ipv4"; }
add chain ip flannel-ipv4 postrtg { type nat hook postrouting priority srcnat; }
add rule ip flannel-ipv4 postrtg meta mark 0x4000 return
add table ip6 flannel-ipv6 { comment "rules for flannel-ipv6"; }
add chain ip6 flannel-ipv6 forward { type filter hook forward priority filter; }
add table ip6 flannel-ipv4
add table ip mine
`

// load feeds text to a program that reads it from a file.
func load(t *testing.T, n *nstest.Node, text, program string, args ...string) {
	t.Helper()
	n.Run(t, "sh", "-c", "printf '%s' \"$1\" | "+program+" "+strings.Join(args, " "), "sh", text)
}

// Taking over from flanneld in iptables mode changes nothing and doubles
// nothing: the rules are the same.
func TestTakingOverFlanneldsIPTablesChangesNothing(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		load(t, n, hostRules+flanneldIPTables, "iptables-restore", "--noflush")
		before := savedRules(t, n)
		only4 := withIPTables(dual(true))
		only4.Tables = only4.Tables[:1]
		if ensure(t, n, only4) {
			t.Error("flanneld's rules were changed")
		}
		if after := savedRules(t, n); after != before {
			t.Errorf("rules are\n%s\nwere\n%s", after, before)
		}
	})
}

// From mode to mode, and from flanneld in either of its modes, nothing is left
// behind and nothing of the host's is touched.
func TestMigrationLeavesNothingBehind(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		load(t, n, hostRules, "iptables-restore", "--noflush")
		load(t, n, strings.NewReplacer("192.0.2.0/24", "2001:db8::/32", "mask 32", "mask 128").Replace(hostRules), "ip6tables-restore", "--noflush")
		host := tablesInOrder(savedRules(t, n))
		load(t, n, flanneldNFT, "nft", "-f", "-")
		load(t, n, flanneldIPTables, "iptables-restore", "--noflush")
		n.Run(t, "iptables", "-t", "nat", "-I", "POSTROUTING", "-s", "10.9.0.0/16", "-j", "FLANNEL-POSTRTG")
		n.Run(t, "ip6tables", "-N", "FLANNEL-FWD")
		n.Run(t, "ip6tables", "-A", "FORWARD", "-j", "FLANNEL-FWD")

		f, network := New(), testNetwork(true)
		network.Firewall.MSSClamp = true
		tables := func() string { return n.Run(t, "nft", "list", "tables") }
		for range 2 { // there, back, and once more
			network.Firewall.Mode = profiles.FirewallNFTables
			ensureBy(t, f, n, Wanted(testNode, network))
			if after := tablesInOrder(savedRules(t, n)); after != host {
				t.Errorf("by nftables: iptables holds\n%s\nwant what the host has:\n%s", after, host)
			}
			for _, want := range []string{"table ip weft\n", "table ip6 weft\n", "table ip mine\n", "table ip6 flannel-ipv4\n"} {
				if !strings.Contains(tables(), want) {
					t.Errorf("by nftables: no %s in\n%s", want, tables())
				}
			}
			network.Firewall.Mode = profiles.FirewallIPTables
			ensureBy(t, f, n, Wanted(testNode, network))
			if after := savedRules(t, n); strings.Count(after, "-j FLANNEL-POSTRTG\n") != 2 ||
				strings.Count(after, "-j FLANNEL-FWD\n") != 2 || !strings.Contains(after, "KUBE-POSTROUTING") {
				t.Errorf("by iptables: rules are\n%s", after)
			}
			for _, gone := range []string{"weft", "flannel-ipv6", "table ip flannel-ipv4"} {
				if strings.Contains(tables(), gone) {
					t.Errorf("by iptables: %s is still there:\n%s", gone, tables())
				}
			}
		}
	})
}

// Chains that flanneld left in the kind of iptables that is not the node's go
// as well.
func TestLeftoversOfTheOtherKindOfIPTablesGo(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		for _, kind := range []string{"nft", "legacy"} {
			load(t, n, hostRules+flanneldIPTables, "iptables-"+kind+"-restore", "--noflush")
		}
		only4 := withIPTables(dual(true))
		only4.Tables = only4.Tables[:1]
		ensure(t, n, only4)
		left := 0
		for _, kind := range []string{"nft", "legacy"} {
			out := n.Run(t, "iptables-"+kind+"-save")
			if strings.Contains(out, "FLANNEL") {
				left++
			}
			if !strings.Contains(out, "-A HOST") || !strings.Contains(out, "-j KUBE-POSTROUTING") {
				t.Errorf("the host's rules are gone from iptables-%s:\n%s", kind, out)
			}
		}
		if left != 1 {
			t.Errorf("flannel's chains are in %d kinds of iptables, want 1", left)
		}
		if ensure(t, n, only4) {
			t.Error("rules in place were changed")
		}
	})
}

// A node with nftables alone is not given the tables of the legacy iptables
// by being looked at.
func TestSweepMakesNoLegacyTables(t *testing.T) {
	n := nstest.New(t, "node")
	ensure(t, n, dual(true))
	if err := n.Do(func() error {
		for _, c := range xchains(Table{}, false) {
			if hasLegacy(false, c.table) || hasLegacy(true, c.table) {
				t.Errorf("the legacy table %s was made", c.table)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

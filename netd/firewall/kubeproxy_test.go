package firewall

import (
	"net"
	"strings"
	"testing"

	"weft/netd/nstest"
)

// The rules that kube-proxy writes for a service with one pod and a node port,
// in their bare form, in its two modes (pkg/proxy/iptables/proxier.go,
// pkg/proxy/nftables/proxier.go).
const (
	kubeProxyIPTables = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SEP - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-SERVICES ! -s PODS -d SERVICE -p udp --dport 53 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d SERVICE -p udp --dport 53 -j KUBE-SEP
-A KUBE-SERVICES -p udp --dport 30053 -m addrtype --dst-type LOCAL -j KUBE-MARK-MASQ
-A KUBE-SERVICES -p udp --dport 30053 -m addrtype --dst-type LOCAL -j KUBE-SEP
-A KUBE-SEP -p udp -j DNAT --to-destination POD
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
`
	kubeProxyNFT = `
table FAMILY kube-proxy {
	chain services {
		FAMILY saddr != PODS FAMILY daddr SERVICE udp dport 53 meta mark set meta mark or 0x4000
		FAMILY daddr SERVICE udp dport 53 dnat to POD
		fib daddr type local udp dport 30053 meta mark set meta mark or 0x4000
		fib daddr type local udp dport 30053 dnat to POD
	}
	chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
	chain nat-output { type nat hook output priority -100; jump services; }
	chain masquerading {
		meta mark and 0x4000 == 0 return
		meta mark set meta mark xor 0x4000
		masquerade fully-random
	}
	chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
}
`
)

// The rules of kube-proxy come before netd's and after: chains of one priority
// are passed in the order in which they were made.
func TestServicesOfKubeProxyGoOnWorking(t *testing.T) {
	packetFilters(t, func(t *testing.T, mode string) {
		for name, netdFirst := range map[string]bool{" first": false, " second": true} {
			t.Run("kube-proxy by iptables"+name, func(t *testing.T) {
				keepsServices(t, mode, netdFirst, kubeProxyIPTables, []string{"iptables-restore", "ip6tables-restore"}, "--noflush")
			})
			t.Run("kube-proxy by nftables"+name, func(t *testing.T) {
				keepsServices(t, mode, netdFirst, kubeProxyNFT, []string{"nft", "nft"}, "-f", "-")
			})
		}
	})
}

func keepsServices(t *testing.T, mode string, netdFirst bool, rules string, programs []string, args ...string) {
	w := newWire(t)
	network := testNetwork(true)
	network.Firewall.Mode = mode
	if netdFirst {
		w.protect(t, network)
	}
	for i, f := range wireFamilies {
		text := strings.NewReplacer("SERVICE", f.service, "PODS", network.Pods[i].String(), "FAMILY", []string{"ip", "ip6"}[i],
			"POD", net.JoinHostPort(f.pod[1], "7000")).Replace(rules)
		load(t, w.node[0], text, programs[i], args...)
		echo(t, w.pod[1], f.pod[1], "7000")
		w.outside.Run(t, "ip", "route", "add", f.service+f.whole, "via", f.node[0])
		w.node[0].Run(t, "ip", "route", "add", f.service+f.whole, "dev", "eth0") // as a default route would
	}
	w.protect(t, network)
	for _, f := range wireFamilies {
		for _, c := range []struct {
			name               string
			from               *nstest.Node
			to, port, expected string
		}{
			{"pod to service", w.pod[0], f.service, "53", f.pod[0]},
			{"host to service", w.node[0], f.service, "53", f.tunnel[0]},
			{"outside to service", w.outside, f.service, "53", f.tunnel[0]},
			{"outside to node port", w.outside, f.node[0], "30053", f.tunnel[0]},
		} {
			if seen, err := seenAs(c.from, "", c.to, c.port); err != nil || seen != c.expected {
				t.Errorf("%s, %s: seen as %q, %v; want %s", f.name, c.name, seen, err, c.expected)
			}
		}
	}
}

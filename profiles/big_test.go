package profiles

import (
	"fmt"
	"net/netip"
	"testing"
)

// bigNetd is the configuration of a node with 5,000 peers.
func bigNetd(tb testing.TB) []byte {
	p := Profile{Network: Network{Pods: prefixes("10.0.0.0/8", "fd42::/32"), Backend: Backend{Type: "vxlan"}}}
	for i := range 5000 {
		p.Network.Peers = append(p.Network.Peers, Peer{
			Name:      fmt.Sprintf("node-%d", i),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))},
			Subnets: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
				netip.MustParsePrefix(fmt.Sprintf("fd42:0:%x::/64", i+1))},
		})
	}
	n, err := NetdFor(p, Node{}, "node-7", uuid1)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := n.YAML()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func BenchmarkReadNetdWith5000Peers(b *testing.B) {
	text := bigNetd(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, problems := ReadNetd("netd.yaml", text); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

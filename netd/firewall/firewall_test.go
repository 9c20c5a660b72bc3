package firewall

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/wanted"
	"weft/profiles"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

func dual(masquerade6 bool) Ruleset {
	node := wanted.Node{IPv4: netip.MustParsePrefix("10.244.1.0/24"), IPv6: netip.MustParsePrefix("fd42:0:0:1::/64")}
	return Wanted(node, profiles.Network{
		Pods:       []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd42::/48")},
		Masquerade: profiles.Masquerade{IPv6: &masquerade6},
	})
}

// ensure is Ensure inside a node.
func ensure(t *testing.T, n *nstest.Node, want Ruleset) (changed bool) {
	t.Helper()
	if err := n.Do(func() (err error) { changed, err = NFT{}.Ensure(want); return err }); err != nil {
		t.Fatal(err)
	}
	return changed
}

// The rules have the meaning of flannel's iptables rules, in their order; nft
// is the oracle.
func TestRulesAreFlannelsIptablesRules(t *testing.T) {
	n := nstest.New(t, "node")
	ensure(t, n, dual(true))
	got := n.Run(t, "nft", "-s", "list", "ruleset")
	for _, want := range []string{`
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x00004000 == 0x00004000 return comment "marked: decided elsewhere"
		ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return comment "from own pods to pods"
		ip saddr 10.244.0.0/16 ip daddr 10.244.1.0/24 return comment "from pods to own pods"
		ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return comment "from outside to own pods"
		ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random comment "from pods to outside"
		ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random comment "from this node to pods of others"
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr 10.244.0.0/16 accept comment "from pods"
		ip daddr 10.244.0.0/16 accept comment "to pods"
	}
`, `
		ip6 saddr != fd42::/48 ip6 daddr fd42:0:0:1::/64 return comment "from outside to own pods"
		ip6 saddr fd42::/48 ip6 daddr != ff00::/8 masquerade fully-random comment "from pods to outside"
`} {
		if !strings.Contains(got, want) {
			t.Errorf("ruleset is\n%s\nwithout\n%s", got, want)
		}
	}
}

func TestRulesInPlaceAreNotTouched(t *testing.T) {
	n := nstest.New(t, "node")
	if !ensure(t, n, dual(true)) {
		t.Error("nothing was changed in an empty packet filter")
	}
	if ensure(t, n, dual(true)) {
		t.Error("rules in place were changed")
	}
}

func TestEveryChangeOfTheRulesIsUndone(t *testing.T) {
	n := nstest.New(t, "node")
	ensure(t, n, dual(true))
	n.Run(t, "nft", "add", "table", "ip", "foreign")
	before := n.Run(t, "nft", "-s", "list", "ruleset", "ip6") + n.Run(t, "nft", "-s", "list", "table", "ip", "weft")
	for _, change := range []string{
		"flush table ip weft",
		"flush chain ip6 weft postrouting",
		"delete table ip6 weft",
		"add rule ip weft forward drop",
		"insert rule ip weft postrouting accept",
		"add chain ip weft extra",
		"add chain ip weft forward { policy drop; }",
		"add table ip weft { flags dormant; }",
	} {
		n.Run(t, "nft", change)
		if !ensure(t, n, dual(true)) {
			t.Errorf("%s: was not noticed", change)
		}
		after := n.Run(t, "nft", "-s", "list", "ruleset", "ip6") + n.Run(t, "nft", "-s", "list", "table", "ip", "weft")
		if after != before {
			t.Errorf("%s: rules are\n%s\nwere\n%s", change, after, before)
		}
	}
	if out := n.Run(t, "nft", "list", "tables"); !strings.Contains(out, "table ip foreign") {
		t.Errorf("a foreign table was removed:\n%s", out)
	}
}

func TestTableOfAFamilyNoLongerWantedGoes(t *testing.T) {
	n := nstest.New(t, "node")
	ensure(t, n, dual(false))
	ensure(t, n, dual(false)[:1])
	if out := n.Run(t, "nft", "list", "tables"); strings.Contains(out, "ip6 weft") || !strings.Contains(out, "ip weft") {
		t.Errorf("tables are\n%s", out)
	}
}

func TestChangesAreHeard(t *testing.T) {
	n := nstest.New(t, "node")
	ensure(t, n, dual(false))
	ctx, cancel := context.WithTimeout(context.Background(), 1e10)
	defer cancel()
	heard := make(chan error, 1)
	err := n.Do(func() error {
		changes, err := NFT{}.Changes(ctx)
		go func() {
			for _, err := range changes {
				heard <- err
				return
			}
		}()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Run(t, "nft", "add", "table", "ip", "foreign") // not ours
	n.Run(t, "nft", "flush", "ruleset")
	select {
	case err := <-heard:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("a flushed ruleset was not heard of")
	}
}

func FuzzTableOf(f *testing.F) {
	message := []byte{unix.AF_INET, 0, 0, 0}
	message = binary.NativeEndian.AppendUint16(message, 9)
	message = binary.NativeEndian.AppendUint16(message, 1)
	message = append(message, "weft\x00\x00\x00\x00"...)
	f.Add(uint16(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE), message)
	f.Add(uint16(0), []byte{})
	f.Fuzz(func(t *testing.T, kind uint16, b []byte) {
		if name, ok := tableOf(kind, b); !ok && name != "" {
			t.Errorf("no table, but the name %q", name)
		}
	})
}

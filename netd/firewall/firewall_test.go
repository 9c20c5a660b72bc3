package firewall

import (
	"encoding/binary"
	"flag"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/wanted"
	"weft/profiles"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

var update = flag.Bool("update", false, "write the golden files anew")

// testNode is node 1 of the test network.
var testNode = wanted.Node{IPv4: netip.MustParsePrefix("10.244.1.0/24"), IPv6: netip.MustParsePrefix("fd42:0:0:1::/64")}

func testNetwork(masquerade6 bool) profiles.Network {
	return profiles.Network{
		Pods:       []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd42::/48")},
		Backend:    profiles.Backend{Type: profiles.BackendVXLAN},
		Masquerade: profiles.Masquerade{IPv6: &masquerade6},
	}
}

func dual(masquerade6 bool) Ruleset { return Wanted(testNode, testNetwork(masquerade6)) }

// ensure is Ensure inside a node, by a filter that has just been made.
func ensure(t *testing.T, n *nstest.Node, want Ruleset) (changed bool) {
	t.Helper()
	return ensureBy(t, New(), n, want)
}

func ensureBy(t *testing.T, f *Filter, n *nstest.Node, want Ruleset) (changed bool) {
	t.Helper()
	if err := n.Do(func() (err error) { changed, err = f.Ensure(t.Context(), want); return err }); err != nil {
		t.Fatal(err)
	}
	return changed
}

// What nft lists is what it lists after flanneld, less flannel's mistakes (see
// [Wanted]), with names and comments of netd's.
func TestNFTablesHoldsFlannelsRules(t *testing.T) {
	n := nstest.New(t, "node")
	network := testNetwork(true)
	network.Firewall.MSSClamp = true
	ensure(t, n, Wanted(testNode, network))
	golden(t, "nft-ruleset.txt", n.Run(t, "nft", "-s", "list", "ruleset"))
}

// Both packet filters hold the same rules: iptables over nftables lists as
// nft does, with counters.
func TestBothPacketFiltersHoldTheSameRules(t *testing.T) {
	n := nstest.New(t, "node")
	rules := func(table, chain string) (all []string) {
		for line := range strings.Lines(n.Run(t, "nft", "-s", "list", "chain", "ip", table, chain)) {
			rule, _, _ := strings.Cut(strings.Replace(strings.TrimSpace(line), " counter", "", 1), " comment ")
			if rule = strings.Join(strings.Fields(rule), " "); rule != "" && rule[0] != '#' && !strings.HasPrefix(rule, "type ") && !strings.ContainsAny(rule, "{}") {
				all = append(all, rule)
			}
		}
		return all
	}
	network := testNetwork(true)
	network.Firewall.MSSClamp = true
	network.Backend.Type = profiles.BackendWireGuard
	ensure(t, n, Wanted(testNode, network))
	have := slices.Concat(rules("weft", "postrouting"), rules("weft", "forward"), rules("weft", "output"))
	network.Firewall.Mode = profiles.FirewallIPTables
	ensure(t, n, Wanted(testNode, network))
	want := slices.Concat(rules("nat", "FLANNEL-POSTRTG"), rules("mangle", "WEFT-MSS"), rules("filter", "FLANNEL-FWD"), rules("filter", "WEFT-OUT"))
	if len(have) != 14 || !slices.Equal(have, want) {
		t.Errorf("nftables holds\n%s\niptables\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// The rules for pods are the same for all backends.
func TestEveryBackendHasTheRules(t *testing.T) {
	want := dual(true)
	for _, kind := range profiles.Backends {
		network := testNetwork(true)
		network.Backend.Type = kind
		got := Wanted(testNode, network)
		for i := range got.Tables {
			got.Tables[i].Output = nil // see TestTunnelPortsAreTheBackends
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: rules are %+v, want %+v", kind, got, want)
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
	only4 := dual(false)
	only4.Tables = only4.Tables[:1]
	ensure(t, n, only4)
	if out := n.Run(t, "nft", "list", "tables"); strings.Contains(out, "ip6 weft") || !strings.Contains(out, "ip weft") {
		t.Errorf("tables are\n%s", out)
	}
}

func FuzzObjectOf(f *testing.F) {
	message := []byte{unix.AF_INET, 0, 0, 0}
	message = binary.NativeEndian.AppendUint16(message, 9)
	message = binary.NativeEndian.AppendUint16(message, 1)
	message = append(message, "weft\x00\x00\x00\x00"...)
	f.Add(uint16(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE), message)
	f.Add(uint16(0), []byte{})
	f.Fuzz(func(t *testing.T, kind uint16, b []byte) {
		if o, ok := objectOf(kind, b); ok && len(o.table) > len(b) {
			t.Errorf("a name of %d bytes in %d", len(o.table), len(b))
		}
	})
}

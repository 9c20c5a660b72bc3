package profiles

import (
	"slices"
	"testing"
)

func TestIPTablesModeNeedsItsExtensions(t *testing.T) {
	names := func(f Firewall) (all []string) {
		p := Profile{Network: Network{Pods: prefixes("10.244.0.0/16"), Firewall: f}}
		for _, m := range ContractFor(p).Modules {
			all = append(all, m.Name)
		}
		return all
	}
	if got := names(Firewall{MSSClamp: true}); slices.Contains(got, "nft_compat") {
		t.Errorf("nftables needs %v", got)
	}
	if got := names(Firewall{Mode: FirewallIPTables}); slices.Contains(got, "xt_TCPMSS") || !slices.Contains(got, "nft_compat") {
		t.Errorf("iptables needs %v", got)
	}
	if got := names(Firewall{Mode: FirewallIPTables, MSSClamp: true}); !slices.Contains(got, "xt_TCPMSS") {
		t.Errorf("iptables with the clamp needs %v", got)
	}
}

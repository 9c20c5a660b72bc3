package kmod

import (
	"fmt"
	"strings"

	"weft/profiles"
)

// A SymbolFinding is what a kernel has to say about one part of itself that a
// contract asks for.
type SymbolFinding struct {
	// Need is what was asked.
	Need profiles.SymbolNeed
	// OK says whether it is there. A kernel whose configuration is not known
	// is believed to have it.
	OK bool
	// Detail says what the configuration says of it.
	Detail string
	// Fix says what would bring it; empty when it is there.
	Fix string
}

// CheckSymbols compares the configuration of a kernel with a contract. It
// returns one finding for each need, in the order of the contract.
func CheckSymbols(k *Kernel, contract profiles.Contract) []SymbolFinding {
	findings := make([]SymbolFinding, 0, len(contract.Symbols))
	for _, need := range contract.Symbols {
		findings = append(findings, k.symbol(need))
	}
	return findings
}

func (k *Kernel) symbol(need profiles.SymbolNeed) SymbolFinding {
	f := SymbolFinding{Need: need}
	if !k.Config.Known() {
		f.OK, f.Detail = true, "not known: the kernel package has no configuration"
		return f
	}
	var states []string
	for _, symbol := range need.Any {
		if v := k.Config.Value(symbol); v == "y" || v == "m" {
			f.OK, f.Detail = true, symbol+"="+v
			return f
		}
		states = append(states, k.Config.State(symbol))
	}
	f.Detail = fmt.Sprintf("kernel %s: %s", k.Release, strings.Join(states, ", "))
	f.Fix = fmt.Sprintf("use a kernel with %s=y%s", need.Any[0], k.others())
	return f
}

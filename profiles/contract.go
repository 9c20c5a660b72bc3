package profiles

import "slices"

// ContractFile is where the builder puts the contract in the root, as JSON.
const ContractFile = "/etc/weft/contract.json"

// A Contract is what a profile needs of the node that runs it, each item with
// its reason. The builder checks it against the kernel package, init checks
// and fulfils it at boot.
type Contract struct {
	// Modules are kernel features, loaded as modules or built in.
	Modules []ModuleNeed `json:"modules"`
	// Sysctls are kernel settings, in the order they must be written.
	Sysctls []SysctlNeed `json:"sysctls"`
	// Symbols are features that are no modules: parts of the kernel itself.
	Symbols []SymbolNeed `json:"symbols,omitempty"`
	// Files are programs and files on the node.
	Files []FileNeed `json:"files,omitempty"`
}

// ModuleNeed is one kernel feature a profile needs.
type ModuleNeed struct {
	// Name is the module's name, with underscores.
	Name string `json:"name"`
	// Config is the kernel configuration symbol that brings it, such as
	// CONFIG_VXLAN; empty when unknown (modules the profile lists itself).
	Config string `json:"config,omitempty"`
	// Any are other features that serve as well, such as those of the older
	// family of packet filters. The first that the kernel has counts, Name
	// before them.
	Any []Alternative `json:"any,omitempty"`
	// Optional says that the feature is used where it is, and not missed
	// where it is not.
	Optional bool `json:"optional,omitempty"`
	// Options are given to the module when it is loaded, as in
	// "max_bonds=0 miimon=100"; empty for none.
	Options string `json:"options,omitempty"`
	// Reason says what stops working without it.
	Reason string `json:"reason"`
	// Path is the key of the profile that asks for it, such as
	// network.backend.type, for pointing at its line.
	Path string `json:"path"`
}

// An Alternative is a kernel feature that serves instead of another.
type Alternative struct {
	// Name is the module's name, with underscores.
	Name string `json:"name"`
	// Config is the kernel configuration symbol that brings it.
	Config string `json:"config,omitempty"`
	// With are modules that must be there with it to serve.
	With []string `json:"with,omitempty"`
}

// Ways lists the feature and what serves instead of it, best first.
func (n ModuleNeed) Ways() []Alternative {
	return append([]Alternative{{Name: n.Name, Config: n.Config}}, n.Any...)
}

// Modules lists the feature's module and those that must be with it.
func (a Alternative) Modules() []string { return append([]string{a.Name}, a.With...) }

// Choose picks the modules that meet the need on a kernel of which has tells
// what it has: those of the first way that is there whole. Where none is, they
// are those of the best way, so that its name is in the message, or none for
// an optional need.
func (n ModuleNeed) Choose(has func(module string) bool) []string {
	for _, way := range n.Ways() {
		if !slices.ContainsFunc(way.Modules(), func(name string) bool { return !has(name) }) {
			return way.Modules()
		}
	}
	if n.Optional {
		return nil
	}
	return []string{n.Name}
}

// SymbolNeed is a part of the kernel that is never a module.
type SymbolNeed struct {
	// Any are the configuration symbols of which one must be set, such as
	// CONFIG_MEMCG; kernels have called some of them otherwise.
	Any []string `json:"any"`
	// Reason says what stops working without it.
	Reason string `json:"reason"`
	// Path is the key of the profile that asks for it.
	Path string `json:"path"`
}

// Who brings a file, by the values of [FileNeed.By].
const (
	// ByWeft is the builder or init.
	ByWeft = "weft"
	// ByPayload is a payload that the profile must name.
	ByPayload = "payload"
	// ByPackage is a Debian package; see [PackagesFor].
	ByPackage = "package"
	// ByDistribution is K3s or RKE2 itself, when it starts.
	ByDistribution = "distribution"
)

// FileNeed is a program or another file.
type FileNeed struct {
	// File is its path on the node.
	File string `json:"file"`
	// Program says that it is run.
	Program bool `json:"program,omitempty"`
	// By is who brings it: weft, payload, package or distribution; Name is
	// the payload's or the package's name.
	By   string `json:"by"`
	Name string `json:"name,omitempty"`
	// Reason says what stops working without it.
	Reason string `json:"reason"`
	// Path is the key of the profile that asks for it.
	Path string `json:"path"`
}

// SysctlNeed is one kernel setting a profile needs.
type SysctlNeed struct {
	// Name is the dotted name, such as net.ipv4.ip_forward.
	Name string `json:"name"`
	// Value is what is written.
	Value string `json:"value"`
	// Reason says what stops working without it.
	Reason string `json:"reason"`
	// Path is the key of the profile that asks for it.
	Path string `json:"path"`
}

package profiles

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
}

// ModuleNeed is one kernel feature a profile needs.
type ModuleNeed struct {
	// Name is the module's name, with underscores.
	Name string `json:"name"`
	// Config is the kernel configuration symbol that brings it, such as
	// CONFIG_VXLAN; empty when unknown (modules the profile lists itself).
	Config string `json:"config,omitempty"`
	// Reason says what stops working without it.
	Reason string `json:"reason"`
	// Path is the key of the profile that asks for it, such as
	// network.backend.type, for pointing at its line.
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

package profiles

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft/document"
)

// maxPrefix is the longest hostname prefix, in bytes: a hyphen and a MAC
// address follow it, and a serial number may be longer.
const maxPrefix = 32

// maxModule is the longest module name, in bytes (MODULE_NAME_LEN less the
// final zero, include/linux/moduleparam.h).
const maxModule = 55

// maxSysctl is the longest value of a sysctl, in bytes; the kernel takes a
// page, but nothing a person sets comes near.
const maxSysctl = 1024

// systemRules are what a profile's settings of the node must keep.
var systemRules = []document.Rule[Profile]{
	{ID: "N19", Source: "RFC 1123, section 2.1", Check: checkHostnamePrefix},
	{ID: "N20", Source: "sysctl(8); Documentation/admin-guide/sysctl", Check: checkSysctlNames},
	{ID: "N21", Source: "proc(5)", Check: checkSysctlValues},
	{ID: "N22", Level: document.Warning, Source: "measured on Linux 6.18", Check: checkSysctlsWithoutEffect},
	{ID: "N23", Source: "what the pod network needs", Check: checkSysctlsThatBreak},
	{ID: "N24", Source: "modprobe(8)", Check: checkModules},
}

func checkHostnamePrefix(p Profile, d *document.Document) document.Problems {
	prefix := p.Hostname.Prefix
	if prefix == "" && !d.Has("hostname.prefix") {
		return nil
	}
	// A hyphen at its end is fine, since more follows.
	err := soundLabel(strings.TrimSuffix(prefix, "-"))
	if err == nil && len(prefix) <= maxPrefix {
		return nil
	}
	found := d.Problem("hostname.prefix", fmt.Sprintf("%q cannot begin a hostname", prefix)).
		WithFix("use lower-case letters, digits and hyphens, such as node")
	if err != nil {
		return document.Problems{found.WithNote(err.Error())}
	}
	return document.Problems{found.WithNote(fmt.Sprintf("it is longer than %d characters", maxPrefix))}
}

// sysctlPattern is a dotted name of at least two parts. Device names with
// dots, such as VLANs, cannot be named; links set what they need themselves.
var sysctlPattern = lazily(`^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_@-]+)+$`)

func checkSysctlNames(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	for _, name := range slices.Sorted(maps.Keys(p.Sysctls)) {
		if sysctlPattern().MatchString(name) {
			continue
		}
		pr := d.KeyProblem(document.Key("sysctls", name), fmt.Sprintf("%q is no name of a sysctl", name))
		dotted := strings.Trim(strings.ReplaceAll(strings.TrimPrefix(name, "/proc/sys/"), "/", "."), ".")
		if dotted != name && sysctlPattern().MatchString(dotted) {
			pr.Fix = "write " + dotted
		} else {
			pr.Fix = "write it with dots, such as net.core.somaxconn"
		}
		found = append(found, pr)
	}
	return found
}

func checkSysctlValues(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	for _, name := range slices.Sorted(maps.Keys(p.Sysctls)) {
		value := p.Sysctls[name]
		at := document.Key("sysctls", name)
		if strings.TrimSpace(value) == "" && d.Position(at).Line > 0 {
			found = append(found, d.Problem(at, fmt.Sprintf("%s has no value", name)).
				WithFix("give it one, or remove it to keep the kernel's"))
			continue
		}
		bad := strings.IndexFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') })
		if bad >= 0 || len(value) > maxSysctl {
			found = append(found, d.Problem(at, fmt.Sprintf("the value of %s must be one line of plain ASCII", name)).
				WithFix("write what cat /proc/sys/... would print for it"))
		}
	}
	return found
}

func checkSysctlsWithoutEffect(p Profile, d *document.Document) document.Problems {
	const name = "net.ipv6.conf.all.accept_ra"
	if _, set := p.Sysctls[name]; !set {
		return nil
	}
	return document.Problems{d.KeyProblem(document.Key("sysctls", name), name+" has no effect on Linux").
		WithNote("only each device's own counts").
		WithFix("remove it; weft sets accept_ra of every uplink to 2 before forwarding starts")}
}

// A breaker is a setting that cuts off the network.
type breaker struct {
	// name is the sysctl, sound the only value that leaves the network whole.
	name, sound string
	// ipv4 and ipv6 say which pods it hits.
	ipv4, ipv6 bool
	// note says what happens.
	note string
}

var breakers = []breaker{
	{"net.ipv4.ip_forward", "1", true, false, "the node would not route its pods' packets"},
	{"net.ipv4.conf.all.forwarding", "1", true, false, "the node would not route its pods' packets"},
	{"net.ipv4.conf.default.forwarding", "1", true, false, "pods' devices would not be routed"},
	{"net.ipv6.conf.all.forwarding", "1", false, true, "the node would not route its pods' packets"},
	{"net.ipv6.conf.default.forwarding", "1", false, true, "pods' devices would not be routed"},
	{"net.ipv6.conf.all.disable_ipv6", "0", false, true, "pods would have no IPv6"},
	{"net.ipv6.conf.default.disable_ipv6", "0", false, true, "pods would have no IPv6"},
	{"net.ipv6.conf.default.accept_ra", "0", true, true, "a pod could take over the node's default route"},
	{"net.bridge.bridge-nf-call-iptables", "1", true, false, "services would not work within a node"},
	{"net.bridge.bridge-nf-call-ip6tables", "1", false, true, "services would not work within a node"},
}

func checkSysctlsThatBreak(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	for _, b := range breakers {
		value, set := p.Sysctls[b.name]
		hit := b.ipv4 && p.Network.HasIPv4() || b.ipv6 && p.Network.HasIPv6()
		if set && hit && strings.TrimSpace(value) != b.sound {
			found = append(found, d.Problem(document.Key("sysctls", b.name), fmt.Sprintf("%s must be %s", b.name, b.sound)).
				WithNote(b.note).WithFix("remove it; weft sets it"))
		}
	}
	if _, set := p.Sysctls["kernel.hostname"]; set {
		found = append(found, d.KeyProblem(document.Key("sysctls", "kernel.hostname"), "all nodes would have one name").
			WithFix("give each node its hostname in its node file"))
	}
	return found
}

// modulePattern is what the kernel build calls modules.
var modulePattern = lazily(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// moduleName tells whether s can be the name of a module or a driver.
func moduleName(s string) bool { return modulePattern().MatchString(s) && len(s) <= maxModule }

func checkModules(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	first := map[string]int{}
	for i, entry := range p.Modules {
		at := document.Index("modules", i)
		name, options, _ := strings.Cut(entry, " ")
		for _, option := range strings.Fields(options) {
			if key, value, ok := strings.Cut(option, "="); !moduleName(key) || ok && value == "" {
				found = append(found, d.Problem(at, fmt.Sprintf("%q is no option of module %s", option, name)).
					WithFix("write the module, a space, and KEY=VALUE, as in bonding max_bonds=0"))
			}
		}
		if !moduleName(name) {
			pr := d.Problem(at, fmt.Sprintf("%q is no name of a module", name))
			if short, _, cut := strings.Cut(name, ".ko"); cut {
				pr.Fix = "write " + short[strings.LastIndex(short, "/")+1:]
			}
			found = append(found, pr)
			continue
		}
		// The kernel takes - and _ for the same in module names.
		folded := strings.ReplaceAll(name, "-", "_")
		if before, twice := first[folded]; twice {
			found = append(found, d.Problem(at, fmt.Sprintf("module %s is here twice", name)).
				WithNote(inLine(d, document.Index("modules", before), "the first is")).WithFix("remove one"))
			continue
		}
		first[folded] = i
	}
	return found
}

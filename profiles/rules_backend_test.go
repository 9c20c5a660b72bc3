package profiles

import (
	"strings"
	"testing"

	"weft/document"
)

// ipsecBase is a sound profile with backend ipsec, apart from the warning.
var ipsecBase = `weft: profile/v1
name: old
description: an old network
network:
  pods: [10.244.0.0/16]
  backend: {type: ipsec}
`

// ipsecCases are of profiles.
var ipsecCases = []ruleCase{
	{"N61", "an IPv6 range", "10.244.0.0/16", "10.244.0.0/16, \"fd42::/48\"", "10.240.0.0/12"},
	{"N62", "a proposal with commas", "type: ipsec", "type: ipsec, espProposal: \"aes256,sha256\"", "type: ipsec, espProposal: aes256-sha256"},
	{"N62", "a relative key file", "type: ipsec", "type: ipsec, pskFile: psk", "type: ipsec, pskFile: /data/psk"},
	{"N60", "ipsec at all", "  backend: {type: ipsec}", "  backend: {type: ipsec, mtu: 1400}", "  backend: {type: vxlan}"},
}

// settingCases are of profiles.
var settingCases = []ruleCase{
	{"N77", "a VNI of host-gw", backendLine, "  backend: {type: host-gw, vni: 1}", "  backend: {type: host-gw, mtu: 1400}"},
	{"N77", "a mode of vxlan", backendLine, "  backend: {type: vxlan, mode: dual}", "  backend: {type: vxlan, learning: true}"},
	{"N77", "a port of wireguard", backendLine, encrypted(", port: 8472"), encrypted(", listenPort: 8472")},
	{"N77", "a key file of none", backendLine, "  backend: {type: none, pskFile: /data/psk}", encrypted(", pskFile: /data/psk")},
	{"N77", "a proposal of wireguard-native", backendLine, "  backend: {type: wireguard-native, espProposal: aes256-sha256}", "  backend: {type: wireguard-native, keepalive: 25}"},
}

func TestSettingRules(t *testing.T) { tryCases(t, base, settingCases, problemsOf(Read)) }

// A profile that changes the backend of one it extends cannot take out what
// that says.
func TestWhatCameWithTheExtendedProfileIsNotWarnedOf(t *testing.T) {
	_, _, problems := Load("case.yaml", []byte("weft: profile/v1\nname: case\ndescription: x\nextends: wireguard\nnetwork:\n  backend: {type: host-gw, gbp: true}\n"))
	if len(problems) != 1 || problems[0].Rule != "N77" || problems[0].Line != 6 {
		t.Errorf("problems are: %v", problems)
	}
}

func TestIPsecRules(t *testing.T) {
	for _, c := range ipsecCases {
		for text, want := range map[string]bool{c.breaks: true, c.keeps: false} {
			_, _, problems := Read("case.yaml", []byte(strings.Replace(ipsecBase, c.from, text, 1)))
			found := false
			for _, p := range problems {
				found = found || p.Rule == c.rule
				if p.Level == document.Error && p.Rule != c.rule {
					t.Errorf("%s: %v", c.name, p)
				}
			}
			if found != want {
				t.Errorf("%s: %s found is %v: %v", text, c.rule, found, problems)
			}
		}
	}
}

func TestPackagesAreThoseOfWhatIsUsed(t *testing.T) {
	p, _, problems := Read("case.yaml", []byte(ipsecBase))
	if problems.Errors() != nil {
		t.Fatal(problems)
	}
	p = p.WithDefaults()
	names := func(p Profile) string {
		var all []string
		for _, n := range PackagesFor(p) {
			if n.Reason == "" || n.Path == "" {
				t.Errorf("%+v has no reason", n)
			}
			all = append(all, n.Name)
		}
		return strings.Join(all, " ")
	}
	if got := names(p); got != "strongswan-charon strongswan-swanctl libstrongswan-standard-plugins" {
		t.Errorf("packages are %s", got)
	}
	if p.Network.Backend.PSKFile != DefaultPSKFile {
		t.Errorf("key file is %q", p.Network.Backend.PSKFile)
	}
	modules := map[string]bool{}
	for _, m := range ContractFor(p).Modules {
		modules[m.Name] = true
	}
	if !modules["esp4"] || !modules["xfrm_user"] || !modules["gcm"] || modules["authenc"] || modules["vxlan"] {
		t.Errorf("modules are %v", modules)
	}
	p.Network.Backend.Type, p.Network.Firewall.Mode = BackendVXLAN, FirewallIPTables
	if got := names(p); got != "iptables" {
		t.Errorf("packages are %s", got)
	}
	p.Network.Firewall.Mode = FirewallNFTables
	if got := names(p); got != "" {
		t.Errorf("packages are %s", got)
	}
}

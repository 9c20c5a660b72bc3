package kmod

import (
	"reflect"
	"strings"
	"testing"

	"weft/profiles"
)

func asks(name, config string) profiles.ModuleNeed {
	return profiles.ModuleNeed{Name: name, Config: config, Path: "network.backend.type", Reason: "packets between nodes travel in tunnels."}
}

// monolithic is the shape of kernels made for appliances: WireGuard built in,
// VXLAN left out, hardly a module.
func monolithic() kernelFiles {
	files := newKernel()
	files.config("CONFIG_WIREGUARD=y\nCONFIG_BRIDGE=y\n# CONFIG_VXLAN is not set\n")
	files.builtin([]string{"kernel/drivers/net/wireguard/wireguard.ko", "kernel/net/bridge/bridge.ko"})
	return files
}

func TestKernelWithoutVXLANIsRefusedByName(t *testing.T) {
	findings := Check(monolithic().open(t), profiles.Contract{Modules: []profiles.ModuleNeed{
		asks("wireguard", "CONFIG_WIREGUARD"), asks("vxlan", "CONFIG_VXLAN"), asks("bridge", "CONFIG_BRIDGE"),
	}})
	if len(findings) != 3 || findings[0].State != BuiltIn || findings[2].State != BuiltIn {
		t.Fatalf("got %+v", findings)
	}
	unmet := Unmet(findings)
	if len(unmet) != 1 || unmet[0].State != Missing {
		t.Fatalf("got %+v", unmet)
	}
	wantDetail := "kernel 6.12.47-v8 has no module vxlan: CONFIG_VXLAN is not set in 6.12.47-v8; network.backend.type needs it: packets between nodes travel in tunnels"
	wantFix := "use a kernel with CONFIG_VXLAN=m, such as the package linux-image-cloud-amd64 or linux-image-amd64 of trixie; or choose another backend (network.backend.type)"
	if unmet[0].Detail != wantDetail {
		t.Errorf("detail: %s\nwant:   %s", unmet[0].Detail, wantDetail)
	}
	if unmet[0].Fix != wantFix {
		t.Errorf("fix:  %s\nwant: %s", unmet[0].Fix, wantFix)
	}
}

func TestFindings(t *testing.T) {
	whole := vxlanKernel(t)
	asked := profiles.ModuleNeed{Name: "vxlna", Path: "modules[2]", Reason: "the profile asks for it"}
	cases := []struct {
		name   string
		files  kernelFiles
		need   profiles.ModuleNeed
		state  State
		detail []string
		fix    []string
	}{
		{"module", whole, asks("vxlan", "CONFIG_VXLAN"), Module, []string{"kernel/drivers/net/vxlan/vxlan.ko.xz"}, nil},
		{"module, written with hyphens", whole, asks("br-netfilter", "CONFIG_BRIDGE_NETFILTER"), Module, []string{"br_netfilter.ko"}, nil},
		{"built in", whole, asks("wireguard", "CONFIG_WIREGUARD"), BuiltIn, []string{"built in"}, nil},
		{"built in and never a module", monolithic(), asks("br_port", "CONFIG_BRIDGE"), BuiltIn, []string{"CONFIG_BRIDGE=y"}, nil},
		{"in the configuration, not in the folder",
			whole.without(whole.dir + "/kernel/drivers/net/vxlan/vxlan.ko.xz"), asks("vxlan", "CONFIG_VXLAN"), Missing,
			[]string{"no module vxlan", "CONFIG_VXLAN=m", "network.backend.type"},
			[]string{"linux-modules-extra-" + release, "use a kernel that comes whole"}},
		{"dependency not in the folder",
			whole.without(whole.dir + "/kernel/net/ipv4/udp_tunnel.ko.zst"), asks("vxlan", "CONFIG_VXLAN"), Missing,
			[]string{"has module vxlan but not what it depends on", "udp_tunnel is missing (vxlan -> udp_tunnel)"},
			[]string{"holds udp_tunnel", "choose another backend"}},
		{"misspelt by a person", whole, asked, Missing,
			[]string{"no module vxlna", "modules[2] needs it"},
			[]string{"did you mean vxlan?", "take vxlna out of modules"}},
		{"no configuration", monolithic().without("boot/config-" + release), asks("vxlan", "CONFIG_VXLAN"), Missing,
			[]string{"no module vxlan", "the package has no configuration"}, []string{"CONFIG_VXLAN=m"}},
		{"damaged", whole.with(whole.dir+"/kernel/net/bridge/bridge.ko", []byte("x")), asks("br_netfilter", ""), Missing,
			[]string{"kernel/net/bridge/bridge.ko", "not an ELF file"}, []string{"unpack the kernel package again"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			findings := Check(c.files.open(t), profiles.Contract{Modules: []profiles.ModuleNeed{c.need}})
			f := findings[0]
			if f.State != c.state || !reflect.DeepEqual(f.Need, c.need) {
				t.Fatalf("got %+v", f)
			}
			for _, want := range c.detail {
				if !strings.Contains(f.Detail, want) {
					t.Errorf("detail %q does not say %q", f.Detail, want)
				}
			}
			for _, want := range c.fix {
				if !strings.Contains(f.Fix, want) {
					t.Errorf("fix %q does not say %q", f.Fix, want)
				}
			}
			if (f.Fix == "") != f.OK() {
				t.Errorf("fix %q for state %s", f.Fix, f.State)
			}
		})
	}
}

// What is named as the way out must have more than the kernel at hand.
func TestFixNamesAFullerKernel(t *testing.T) {
	for rel, want := range map[string]string{
		"6.12.107+deb13-cloud-amd64": "such as the package linux-image-amd64;",
		"6.12.107+deb13-amd64":       "such as a newer one from backports;",
		"6.12.47-v8":                 "linux-image-cloud-amd64 or linux-image-amd64",
	} {
		k := &Kernel{Release: rel, Arch: "amd64"}
		if f := k.check(asks("vxlan", "CONFIG_VXLAN")); !strings.Contains(f.Fix, want) {
			t.Errorf("%s: %q does not say %q", rel, f.Fix, want)
		}
	}
}

func TestTableShowsEveryNeedAndExplainsTheMissing(t *testing.T) {
	var b strings.Builder
	findings := Check(monolithic().open(t), profiles.Contract{Modules: []profiles.ModuleNeed{
		asks("wireguard", "CONFIG_WIREGUARD"), asks("vxlan", "CONFIG_VXLAN"), asks("nothing", ""),
	}})
	if err := WriteTable(&b, findings); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"MODULE     HERE           SYMBOL            ASKED BY              WHY\n",
		"wireguard  yes, built in  CONFIG_WIREGUARD  network.backend.type  packets",
		"vxlan      no             CONFIG_VXLAN ",
		"nothing    no             - ",
		"\nvxlan: kernel 6.12.47-v8 has no module vxlan: CONFIG_VXLAN is not set",
		"\nfix: use a kernel with CONFIG_VXLAN=m",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s\ndoes not have %q", b.String(), want)
		}
	}
}

func TestOlderPacketFilterServesWhereTheNewerIsMissing(t *testing.T) {
	need := asks("nft_chain_nat", "CONFIG_NFT_NAT")
	need.Any = []profiles.Alternative{{Name: "iptable_nat", Config: "CONFIG_IP_NF_NAT", With: []string{"ip6table_nat"}}}
	check := func(builtin ...string) Finding {
		files := newKernel()
		files.config("CONFIG_BRIDGE=y\n")
		files.builtin(builtin)
		return Check(files.open(t), profiles.Contract{Modules: []profiles.ModuleNeed{need}})[0]
	}
	four, six, nft := "kernel/net/ipv4/netfilter/iptable_nat.ko", "kernel/net/ipv6/netfilter/ip6table_nat.ko", "kernel/net/netfilter/nft_chain_nat.ko"
	if f := check(four, six, nft); f.State != BuiltIn || !reflect.DeepEqual(f.By, []string{"nft_chain_nat"}) {
		t.Errorf("both: %+v", f)
	}
	if f := check(four, six); f.State != BuiltIn || !reflect.DeepEqual(f.By, []string{"iptable_nat", "ip6table_nat"}) {
		t.Errorf("older alone: %+v", f)
	}
	if f := check(four); f.State != Missing || !strings.Contains(f.Lack, "no module nft_chain_nat") || !strings.Contains(f.Lack, "nor iptable_nat instead") {
		t.Errorf("half of the older: %+v", f)
	}
	need.Optional = true
	if f := check(four); f.State != Absent || !f.OK() {
		t.Errorf("optional: %+v", f)
	}
}

func TestSymbolsOfTheKernelItself(t *testing.T) {
	files := newKernel()
	files.config("CONFIG_BRIDGE=y\nCONFIG_CGROUP_BPF=y\n# CONFIG_MEMCG is not set\n")
	got := CheckSymbols(files.open(t), profiles.Contract{Symbols: []profiles.SymbolNeed{
		{Any: []string{"CONFIG_MEMCG"}}, {Any: []string{"CONFIG_CGROUP_DEVICE", "CONFIG_CGROUP_BPF"}},
	}})
	if got[0].OK || !strings.Contains(got[0].Detail, "CONFIG_MEMCG is not set") || !strings.Contains(got[0].Fix, "CONFIG_MEMCG=y") {
		t.Errorf("missing: %+v", got[0])
	}
	if !got[1].OK || got[1].Detail != "CONFIG_CGROUP_BPF=y" {
		t.Errorf("there under another name: %+v", got[1])
	}
}

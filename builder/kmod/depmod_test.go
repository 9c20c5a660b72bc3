package kmod

import (
	"slices"
	"testing"
)

func TestFilesAreWhatDepmodWrites(t *testing.T) {
	set, err := vxlanKernel(t).open(t).Closure("vxlan", "bridge")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"modules.dep", string(set.Dep(".ko")), `kernel/crypto/crc32c_generic.ko:
kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/net/bridge/bridge.ko:
kernel/net/bridge/bridge-extra.ko:
kernel/net/ipv4/udp_tunnel.ko:
kernel/net/ipv6/ip6_udp_tunnel.ko: kernel/net/ipv4/udp_tunnel.ko
kernel/drivers/net/vxlan/vxlan.ko: kernel/net/ipv6/ip6_udp_tunnel.ko kernel/net/ipv4/udp_tunnel.ko
`},
		{"modules.alias", string(set.Alias()), `# Aliases extracted from modules themselves.
alias crc32c crc32c_generic
alias crypto-crc32c crc32c_generic
alias crypto-crc32c crc32c_intel
alias crc32c crc32c_intel
alias cpu:type:x86,ven*fam*mod*:feature:*0094* crc32c_intel
alias rtnl-link-vxlan vxlan
`},
		{"modules.softdep", string(set.Softdep()), `# Soft dependencies extracted from modules themselves.
softdep bridge pre: crc32c post: bridge-extra missing-one
`},
		{"modules.builtin", string(set.Builtin()), `kernel/drivers/net/wireguard/wireguard.ko
kernel/net/ipv6/ipv6.ko
`},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, c.got, c.want)
		}
	}
}

func TestPathsKeepThePackagesSuffixUnlessTold(t *testing.T) {
	m := Member{Path: "kernel/net/ipv4/udp_tunnel.ko.zst"}
	for suffix, want := range map[string]string{
		"":       "kernel/net/ipv4/udp_tunnel.ko.zst",
		".ko":    "kernel/net/ipv4/udp_tunnel.ko",
		".ko.xz": "kernel/net/ipv4/udp_tunnel.ko.xz",
	} {
		if got := m.StoredAs(suffix); got != want {
			t.Errorf("%q: %s, want %s", suffix, got, want)
		}
	}
}

func TestFirmwareIsThatOfTheMembers(t *testing.T) {
	files := vxlanKernel(t)
	files.module(t, "kernel/drivers/nic.ko", "name=nic", "firmware=nic/b.bin", "firmware=nic/a*.bin", "firmware=nic/b.bin",
		"firmware=/*(DEBLOBBED)*/", "firmware=../../etc/shadow", "firmware=.")
	files.module(t, "kernel/drivers/other.ko", "name=other", "firmware=other.bin")
	set, err := files.open(t).Closure("nic", "wireguard")
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Firmware(); !slices.Equal(got, []string{"nic/a*.bin", "nic/b.bin", "wg/one.bin"}) {
		t.Errorf("got %v", got)
	}
}

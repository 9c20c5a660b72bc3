package modules

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	depText = `kernel/drivers/net/vxlan/vxlan.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz kernel/net/ipv6/ip6_udp_tunnel.ko.xz
kernel/net/ipv4/udp_tunnel.ko.xz:
kernel/net/ipv6/ip6_udp_tunnel.ko.xz:
# a comment

kernel/lib/libcrc32c.ko.xz:
kernel/net/netfilter/nf_tables.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/arch/x86/crypto/crc32c-intel.ko.xz:
kernel/net/bridge/br_netfilter.ko:
`
	aliasText = `# Aliases extracted from modules themselves.
alias rtnl-link-vxlan vxlan
alias crc32c crc32c-intel
alias pci:v00001AF4d* gone
alias broken
alias pci:v*d*sv*sd*bc02sc00i* vxlan
`
	softdepText = `# Soft dependencies extracted from modules themselves.
softdep libcrc32c pre: crc32c
softdep br_netfilter pre: libcrc32c none post: nf_tables
softdep gone pre: vxlan
softdep short
`
	builtinText = "kernel/net/ipv6/ipv6.ko\nkernel/fs/ext4/ext4.ko\n"
)

func index(t *testing.T) *Index {
	t.Helper()
	x, err := NewIndex(depText, aliasText, softdepText, builtinText)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestNames(t *testing.T) {
	for file, want := range map[string]string{
		"kernel/lib/crc32c-intel.ko.xz": "crc32c_intel",
		"virtio_blk":                    "virtio_blk",
		"x.ko":                          "x",
		"a/b-c.ko.zst":                  "b_c",
		"":                              "",
	} {
		if got := Name(file); got != want {
			t.Errorf("Name(%q) = %q, want %q", file, got, want)
		}
	}
}

func TestIndexKnowsModulesBuiltinsAndAliases(t *testing.T) {
	x := index(t)
	for name, want := range map[string]bool{
		"vxlan": true, "br-netfilter": true, "ipv6": true, "ext4": true, "crc32c": true,
		"rtnl-link-vxlan": true, "wireguard": false, "gone": false,
	} {
		if got := x.Has(name); got != want {
			t.Errorf("Has(%q) = %v", name, got)
		}
	}
	if got := x.Resolve("ipv6"); got != nil {
		t.Errorf("a built-in feature resolves to %q", got)
	}
	if got := x.Resolve("crc32c"); !slices.Equal(got, []string{"crc32c_intel"}) {
		t.Errorf("crc32c is %q", got)
	}
	// A module that is not carried serves no device, and a device without
	// any is no fault.
	if got := x.Match("pci:v00001AF4d00001000sv0sd0bc02sc00i00"); !slices.Equal(got, []string{"vxlan"}) {
		t.Errorf("matched %q", got)
	}
	if x.Len() != 7 {
		t.Errorf("%d modules", x.Len())
	}
	if got := x.modules["libcrc32c"].pre; !slices.Equal(got, []string{"crc32c_intel"}) {
		t.Errorf("libcrc32c has soft dependencies %q", got)
	}
}

func TestABrokenIndexIsRefusedByName(t *testing.T) {
	for name, c := range map[string]struct{ dep, want string }{
		"no colon":        {"kernel/a.ko\n", "modules.dep:1"},
		"leaves":          {"../a.ko:\n", "leaves the module folder"},
		"absolute":        {"/a.ko:\n", "leaves the module folder"},
		"missing":         {"a.ko: b.ko\n", "a needs b"},
		"circle":          {"a.ko: b.ko\nb.ko: c.ko\nc.ko: a.ko\n", "need each other"},
		"circle with two": {"z.ko:\na.ko: b.ko\nb.ko: a.ko\n", "need each other"},
	} {
		_, err := NewIndex(c.dep, "", "", "")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	if _, err := ReadIndex(t.TempDir()); err == nil || !strings.Contains(err.Error(), "modules.dep") {
		t.Errorf("without an index: %v", err)
	}
}

func TestASoftCircleIsCutNotWaitedFor(t *testing.T) {
	x, err := NewIndex("a.ko:\nb.ko: c.ko\nc.ko:\n", "", "softdep a pre: b\nsoftdep c pre: a\nsoftdep b pre: b\n", "")
	if err != nil {
		t.Fatal(err)
	}
	for name := range x.modules {
		for _, dep := range slices.Concat(x.modules[name].pre, x.modules[name].hard) {
			if x.reaches(dep, name, map[string]bool{}) {
				t.Errorf("%s waits for itself by %s", name, dep)
			}
		}
	}
}

// TestReadIndexReadsWhatDepmodWrites lets depmod(8) write the files of a tree
// without modules: the form of the files, comments and all, is what counts.
func TestReadIndexReadsWhatDepmodWrites(t *testing.T) {
	depmod, err := exec.LookPath("depmod")
	if err != nil {
		if depmod, err = exec.LookPath("/sbin/depmod"); err != nil {
			t.Fatal("install kmod: make deps")
		}
	}
	base := t.TempDir()
	const release = "6.0.0-test"
	dir := filepath.Join(base, "lib/modules", release)
	if err := os.MkdirAll(filepath.Join(dir, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"modules.builtin":         "kernel/net/ipv6/ipv6.ko\n",
		"modules.order":           "",
		"modules.builtin.modinfo": "ipv6.alias=net-pf-10\x00",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(depmod, "-b", base, release).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	x, err := ReadIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !x.Has("ipv6") || x.Len() != 0 {
		t.Errorf("ipv6 %v, %d modules", x.Has("ipv6"), x.Len())
	}
}

func FuzzNewIndex(f *testing.F) {
	f.Add(depText, aliasText, softdepText, builtinText)
	f.Add("a.ko: a.ko\n", "alias * a\n", "softdep a pre: a post: a\n", "a.ko\n")
	f.Fuzz(func(t *testing.T, dep, alias, softdep, builtin string) {
		x, err := NewIndex(dep, alias, softdep, builtin)
		if err != nil {
			return
		}
		for name, m := range x.modules {
			if !filepath.IsLocal(m.file) {
				t.Errorf("%q leaves the folder", m.file)
			}
			for _, d := range append(slices.Clone(m.hard), m.pre...) {
				if x.modules[d] == nil || x.reaches(d, name, map[string]bool{}) {
					t.Errorf("%s waits for %s for ever", name, d)
				}
			}
		}
		x.Match(alias)
	})
}

package kmod

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// names are the members of a set in their order.
func names(s Set) []string {
	var list []string
	for _, m := range s.Members() {
		list = append(list, m.Name)
	}
	return list
}

// isOrdered checks that every member comes after all it depends on.
func isOrdered(t *testing.T, s Set) {
	t.Helper()
	seen := map[string]bool{}
	for _, m := range s.Members() {
		for _, d := range m.Depends {
			if !seen[d] {
				t.Errorf("%s comes before %s, which it depends on: %v", m.Name, d, names(s))
			}
		}
		seen[m.Name] = true
	}
}

func TestClosureBringsDependenciesFirst(t *testing.T) {
	set, err := vxlanKernel(t).open(t).Closure("vxlan")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"udp_tunnel", "ip6_udp_tunnel", "vxlan"}
	if got := names(set); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	isOrdered(t, set)
}

func TestMembersSayWhyTheyAreIn(t *testing.T) {
	set, err := vxlanKernel(t).open(t).Closure("vxlan", "br-netfilter")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"vxlan":          "vxlan",
		"ip6_udp_tunnel": "vxlan -> ip6_udp_tunnel",
		"udp-tunnel":     "vxlan -> udp_tunnel",
		"crc32c_intel":   "br_netfilter -> bridge -> crc32c_intel (softdep)",
		"bridge_extra":   "br_netfilter -> bridge -> bridge_extra (softdep)",
		"wireguard":      "",
	} {
		if got := set.Why(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	m, ok := set.Member("udp_tunnel")
	if !ok || m.Path != "kernel/net/ipv4/udp_tunnel.ko.zst" || m.Size == 0 || m.Builtin || m.How != Depends || m.By != "vxlan" {
		t.Errorf("got %+v", m)
	}
}

func TestHyphenAndUnderscoreAreOne(t *testing.T) {
	k := vxlanKernel(t).open(t)
	for _, name := range []string{"br_netfilter", "br-netfilter", "bridge-extra", "bridge_extra", "crc32c-intel", "ip6-udp-tunnel"} {
		if _, err := k.Closure(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// libcrc32c asks for "crc32c", which is the alias of two modules, or built in.
func TestSoftdepsAreFoundByAlias(t *testing.T) {
	files := vxlanKernel(t)
	set, err := files.open(t).Closure("bridge")
	if err != nil {
		t.Fatal(err)
	}
	got := names(set)
	if !slices.Equal(got, []string{"crc32c_generic", "crc32c_intel", "bridge", "bridge_extra"}) {
		t.Errorf("as modules: %v", got)
	}

	files = files.without(files.dir + "/kernel/crypto/crc32c_generic.ko")
	files.builtin([]string{"kernel/crypto/crc32c_generic.ko"}, "crc32c_generic.alias=crypto-crc32c", "crc32c_generic.alias=crc32c")
	if set, err = files.open(t).Closure("bridge"); err != nil {
		t.Fatal(err)
	}
	if got = names(set); !slices.Equal(got, []string{"crc32c_generic", "bridge", "bridge_extra"}) {
		t.Errorf("built in: %v", got)
	}
	if m, _ := set.Member("crc32c_generic"); !m.Builtin || m.Size != 0 || len(set.Loadable()) != 2 {
		t.Errorf("crc32c_generic is built in, got %+v", m)
	}
}

func TestAliasesOutsideOfTheCryptoFoldersAreFoundToo(t *testing.T) {
	files := newKernel()
	files.module(t, "kernel/drivers/leds/leds-gpio.ko", "name=leds_gpio", "alias=platform:leds-gpio")
	files.module(t, "kernel/drivers/a.ko", "name=a", "softdep=pre: platform:leds-gpio")
	set, err := files.open(t).Closure("a")
	if err != nil || !slices.Equal(names(set), []string{"leds_gpio", "a"}) {
		t.Errorf("got %v, %v", names(set), err)
	}
}

func TestSoftdepThatTheKernelCannotFulfilIsNoted(t *testing.T) {
	files := vxlanKernel(t)
	files.module(t, "kernel/net/half.ko", "name=half", "depends=gone")
	files.module(t, "kernel/net/wishful.ko", "name=wishful", "softdep=pre: half", "weakdep=never-built")
	set, err := files.open(t).Closure("bridge", "wishful")
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(set.Notes(), "\n")
	for _, want := range []string{"bridge wants missing_one (softdep)", "wishful wants half (softdep), left out", "half -> gone", "wishful wants never_built (weakdep)"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes do not say %q:\n%s", want, notes)
		}
	}
	if _, ok := set.Member("half"); ok {
		t.Error("half cannot load and should not be carried")
	}
}

func TestWeakdepsAreCarried(t *testing.T) {
	files := vxlanKernel(t)
	files.module(t, "kernel/net/asks.ko", "name=asks", "weakdep=vxlan")
	set, err := files.open(t).Closure("asks")
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Why("udp_tunnel"); got != "asks -> vxlan (weakdep) -> udp_tunnel" {
		t.Errorf("got %q", got)
	}
}

// The missing ones are told all at once.
func TestUnknownModulesAreNamedWithTheirSymbol(t *testing.T) {
	files := vxlanKernel(t)
	files.config("CONFIG_GENEVE=m\n# CONFIG_DUMMY is not set\n")
	_, err := files.open(t).Closure("vxlna", "geneve", "dummy", "zzzzzzzz")
	for _, want := range []string{
		"no module vxlna; did you mean vxlan?",
		"no module geneve: CONFIG_GENEVE=m, so its file is in another package",
		"no module dummy: CONFIG_DUMMY is not set",
		"no module zzzzzzzz",
		release,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	missing := new(MissingError)
	if !errors.As(err, &missing) {
		t.Errorf("%T is no MissingError", err)
	}
}

func TestMissingDependencyIsNamedWithItsChain(t *testing.T) {
	files := vxlanKernel(t)
	files = files.without(files.dir + "/kernel/net/ipv4/udp_tunnel.ko.zst")
	_, err := files.open(t).Closure("vxlan")
	missing := new(MissingError)
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	if missing.Name != "udp_tunnel" || !slices.Equal(missing.Chain, []string{"vxlan", "udp_tunnel"}) {
		t.Errorf("got %+v", missing)
	}
	if !strings.Contains(err.Error(), "needed by vxlan (vxlan -> udp_tunnel)") {
		t.Errorf("got %v", err)
	}
}

func TestCyclesDoNotHangAndKeepDependenciesFirst(t *testing.T) {
	files := newKernel()
	// Softdeps lead back to a module that is depended on, through two hops.
	files.module(t, "kernel/a.ko", "name=a", "softdep=pre: b")
	files.module(t, "kernel/b.ko", "name=b", "softdep=pre: c")
	files.module(t, "kernel/c.ko", "name=c", "depends=a", "softdep=post: c a")
	// Two modules that claim to depend on each other.
	files.module(t, "kernel/x.ko", "name=x", "depends=y")
	files.module(t, "kernel/y.ko", "name=y", "depends=x")
	k := files.open(t)

	set, err := k.Closure("a")
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Members()) != 3 {
		t.Errorf("got %v", names(set))
	}
	isOrdered(t, set)

	if set, err = k.Closure("x"); err != nil || !slices.Equal(names(set), []string{"y", "x"}) {
		t.Errorf("got %v, %v", names(set), err)
	}
	if got := string(set.Dep("")); got != "kernel/y.ko: kernel/x.ko\nkernel/x.ko: kernel/y.ko\n" {
		t.Errorf("got %q", got)
	}
}

func TestOrderDoesNotDependOnTheOrderOfTheNames(t *testing.T) {
	k := vxlanKernel(t).open(t)
	one, err := k.Closure("vxlan", "br_netfilter", "wireguard")
	if err != nil {
		t.Fatal(err)
	}
	two, err := vxlanKernel(t).open(t).Closure("wireguard", "br-netfilter", "vxlan", "vxlan")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names(one), names(two)) || string(one.Dep("")) != string(two.Dep("")) || string(one.Alias()) != string(two.Alias()) {
		t.Errorf("%v\n%v", names(one), names(two))
	}
}

func TestClosureOfNothingIsEmpty(t *testing.T) {
	set, err := newKernel().open(t).Closure()
	if err != nil || len(set.Members()) != 0 || len(set.Dep("")) != 0 {
		t.Errorf("got %v, %v", names(set), err)
	}
}

package kmod

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"weft/builder/apt"
	"weft/builder/apt/debfs"
	"weft/builder/apt/store"
	"weft/profiles"
)

// networking is what a node of a cluster loads: both kinds of tunnels, both
// kinds of firewall, containers, and the NIC of a virtual machine.
var networking = []string{
	"vxlan", "wireguard", "bridge", "br_netfilter", "veth", "overlay", "virtio_net",
	"nf_tables", "nft_masq", "nft_nat", "nft_chain_nat", "nft_ct", "nft_compat",
	"xt_MASQUERADE", "xt_comment", "xt_conntrack", "xt_mark", "xt_addrtype",
	"iptable_filter", "iptable_nat", "iptable_mangle", "ip6table_filter", "ip6table_nat", "ip6table_mangle",
}

// cloudKernel returns the files of trixie's cloud kernel, from the mirror
// that a build on this machine would use, through the same cache.
func cloudKernel(t *testing.T) fs.FS {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mirror, _, err := apt.ChooseMirror("", os.Getenv("WEFT_MIRROR"), os.DirFS("/"))
	must(err)
	dir, err := store.Dir(os.Getenv("WEFT_CACHE"))
	must(err)
	cache, err := store.Open(dir, time.Now(), nil)
	must(err)
	source, err := apt.New(apt.Options{Mirror: mirror, Cache: cache})
	must(err)
	lock, err := source.Resolve(t.Context(), apt.Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-cloud-amd64"})
	must(err)
	packages, err := source.FetchAll(t.Context(), lock.Packages)
	must(err)
	var members []fs.FS
	for _, p := range packages {
		t.Cleanup(func() { p.Close() })
		members = append(members, p)
	}
	return debfs.Union(members...)
}

func TestDebiansCloudKernel(t *testing.T) {
	cache := &memory{}
	files := cloudKernel(t)
	k, err := Open(files, WithCache(cache))
	if err != nil {
		t.Fatal(err)
	}
	if k.Arch != "amd64" || !strings.HasSuffix(k.Release, "-cloud-amd64") {
		t.Errorf("kernel %s for %s", k.Release, k.Arch)
	}
	if !k.Decompresses(".ko.xz") {
		t.Error("Debian's kernels load .ko.xz; the root carries modules as packaged because of it")
	}

	t.Run("networking agrees with depmod", func(t *testing.T) {
		set, err := k.Closure(networking...)
		if err != nil {
			t.Fatal(err)
		}
		isOrdered(t, set)
		agreesWithDepmod(t, k, set)
		// 45 modules of 0.93 MB in 6.12.107.
		if n, size := len(set.Loadable()), set.Size(); n < 35 || n > 60 || size < 700_000 || size > 1_400_000 {
			t.Errorf("%d modules of %d bytes", n, size)
		}
		if len(set.Notes()) > 0 {
			t.Errorf("notes: %v", set.Notes())
		}
	})
	t.Run("all modules agree with depmod", func(t *testing.T) {
		set, err := k.Closure(k.Names()...)
		if err != nil {
			t.Fatal(err)
		}
		isOrdered(t, set)
		agreesWithDepmod(t, k, set)
		if n := len(set.Loadable()); n < 1000 {
			t.Errorf("%d modules", n)
		}
	})
	t.Run("a second build decompresses nothing", func(t *testing.T) {
		cache.reset()
		again, err := Open(files, WithCache(cache))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Closure(networking...); err != nil {
			t.Fatal(err)
		}
		if cache.misses > 0 {
			t.Errorf("%d modules were read anew", cache.misses)
		}
	})
	t.Run("contract", func(t *testing.T) {
		for _, c := range []struct {
			name, config string
			want         State
		}{
			{"vxlan", "CONFIG_VXLAN", Module},
			{"wireguard", "CONFIG_WIREGUARD", Module},
			{"br_netfilter", "CONFIG_BRIDGE_NETFILTER", Module},
			{"nft_chain_nat", "CONFIG_NFT_NAT", Module},
			{"erofs", "CONFIG_EROFS_FS", Module},
			{"ipv6", "CONFIG_IPV6", BuiltIn},
			{"nvme", "CONFIG_BLK_DEV_NVME", BuiltIn},
			{"e1000e", "CONFIG_E1000E", Missing},
		} {
			f := Check(k, profiles.Contract{Modules: []profiles.ModuleNeed{asks(c.name, c.config)}})[0]
			if f.State != c.want {
				t.Errorf("%s is %s: %s", c.name, f.State, f.Detail)
			}
			if c.want == Missing && (!strings.Contains(f.Detail, c.config) || !strings.Contains(f.Fix, "linux-image-amd64")) {
				t.Errorf("%s: %s; fix: %s", c.name, f.Detail, f.Fix)
			}
		}
	})
}

package kmod

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestKernelsAreFoundInEveryLayout(t *testing.T) {
	base := vxlanKernel(t)
	modules := "usr/lib/modules/" + release
	cases := []struct {
		name  string
		files kernelFiles
		image string
		arch  string
	}{
		{"Debian 6.12", base, "boot/vmlinuz-" + release, "amd64"},
		{"Debian 7.x", base.moved("boot/vmlinuz-"+release, modules+"/vmlinuz").moved("boot/config-"+release, modules+"/config"), modules + "/vmlinuz", "amd64"},
		{"lib without usr", base.moved("usr/lib/", "lib/"), "boot/vmlinuz-" + release, "amd64"},
		{"kernel at the top", base.moved("boot/vmlinuz-"+release, "vmlinuz").moved("boot/config-"+release, "config").moved("usr/lib/", "lib/"), "vmlinuz", "amd64"},
		{"arm64", base.with("boot/vmlinuz-"+release, arm64Image(release)), "boot/vmlinuz-" + release, "arm64"},
		{"arm64, gzipped", base.with("boot/vmlinuz-"+release, gzipped(arm64Image(release))), "boot/vmlinuz-" + release, "arm64"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			k := c.files.open(t)
			if k.Release != release || k.Arch != c.arch || k.ImagePath != c.image {
				t.Errorf("got %s %s %s", k.Release, k.Arch, k.ImagePath)
			}
			if got := k.Config.State("CONFIG_VXLAN"); got != "CONFIG_VXLAN=m" {
				t.Errorf("config: %s", got)
			}
			if !k.Has("br-netfilter") || !k.Has("wireguard") || k.Has("nothing") {
				t.Error("modules are not those of the package")
			}
		})
	}
}

func TestImageReturnsTheKernelAsPackaged(t *testing.T) {
	k := newKernel().open(t)
	data, err := k.Image()
	if err != nil || string(data) != string(bzImage(release)) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// Boot images fetched as ready-made sets have had a kernel of one patch
// release and the modules of another.
func TestKernelOfAnotherReleaseIsRefusedNamingBoth(t *testing.T) {
	for name, image := range map[string]string{
		"named for its own release":        "boot/vmlinuz-7.1.2",
		"named for the modules' release":   "boot/vmlinuz-" + release,
		"at the top, named for no release": "vmlinuz",
	} {
		t.Run(name, func(t *testing.T) {
			files := newKernel().without("boot/vmlinuz-" + release)
			files.put(image, bzImage("7.1.2"))
			_, err := Open(files.MapFS)
			mismatch := new(ReleaseError)
			if !errors.As(err, &mismatch) {
				t.Fatalf("got %v", err)
			}
			for _, want := range []string{"7.1.2", "usr/lib/modules/" + release, image} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
		})
	}
}

func TestPackagesThatAreNoKernelAreRefused(t *testing.T) {
	base := vxlanKernel(t)
	dir := base.dir
	second := base.with("usr/lib/modules/6.1.0/modules.builtin", nil)
	cases := []struct {
		name  string
		files kernelFiles
		want  []string
	}{
		{"nothing at all", kernelFiles{MapFS: fstest.MapFS{}}, []string{"no modules folder", "usr/lib/modules"}},
		{"two releases", second, []string{"usr/lib/modules/6.1.0", dir}},
		{"no kernel", base.without("boot/vmlinuz-" + release), []string{"no kernel for " + release, "boot/vmlinuz-" + release}},
		{"no modules.builtin", base.without(dir + "/modules.builtin"), []string{"modules.builtin", "make modules_install"}},
		{"kernel of another kind", base.with("boot/vmlinuz-"+release, make([]byte, 8192)), []string{"boot/vmlinuz-" + release, "neither"}},
		{"empty kernel", base.with("boot/vmlinuz-"+release, nil), []string{"neither"}},
		{"EFI zboot kernel", base.with("boot/vmlinuz-"+release, []byte("MZ\x00\x00zimg\x00\x00\x00\x00")), []string{"zboot", "Image"}},
		{"arm64 kernel without banner", base.with("boot/vmlinuz-"+release, arm64Image("%s")), []string{"Linux version"}},
		{"configuration that is none", base.with("boot/config-"+release, []byte("<html>\n")), []string{"boot/config-" + release, "line 1", "<html>"}},
		{"one module twice", base.with(dir+"/kernel/net/other/vxlan.ko", koFile()), []string{"kernel/net/other/vxlan.ko", "kernel/drivers/net/vxlan/vxlan.ko.xz"}},
		{"blank in a module's path", base.with(dir+"/kernel/a b.ko", koFile()), []string{"a b.ko"}},
		{"builtin list of something else", base.with(dir+"/modules.builtin", []byte("kernel/x.o\n")), []string{"modules.builtin", "line 1", "kernel/x.o"}},
		{"builtin modinfo of something else", base.with(dir+"/modules.builtin.modinfo", []byte("ext4\x00")), []string{"modules.builtin.modinfo", "ext4"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(c.files.MapFS)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestUpdatesWinOverThePackagesOwnModule(t *testing.T) {
	files := vxlanKernel(t)
	files.module(t, "updates/dkms/vxlan.ko", "name=vxlan", "depends=")
	set, err := files.open(t).Closure("vxlan")
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := set.Member("vxlan"); m.Path != "updates/dkms/vxlan.ko" {
		t.Errorf("took %s", m.Path)
	}
}

func TestMergedLibIsOneFolder(t *testing.T) {
	base := vxlanKernel(t)
	linked := base.with("lib", []byte("usr/lib"))
	linked.MapFS["lib"].Mode = fs.ModeSymlink | 0o777
	both := base.moved("usr/lib/", "lib/")
	maps.Copy(both.MapFS, base.MapFS)
	for name, files := range map[string]kernelFiles{"a link": linked, "both names": both} {
		if k := files.open(t); k.ModulesDir != "usr/lib/modules/"+release {
			t.Errorf("%s: took %s", name, k.ModulesDir)
		}
	}
}

func TestNamesListsEachModuleOnce(t *testing.T) {
	names := vxlanKernel(t).open(t).Names()
	if !slices.IsSorted(names) || !slices.Contains(names, "wireguard") || !slices.Contains(names, "crc32c_intel") || len(names) != 10 {
		t.Errorf("got %v", names)
	}
}

func TestKernelDecompressesOnlyWhatItWasBuiltFor(t *testing.T) {
	files := newKernel()
	files.config("CONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_XZ=y\n# CONFIG_MODULE_COMPRESS_ZSTD is not set\n")
	k := files.open(t)
	for suffix, want := range map[string]bool{".ko": true, ".ko.xz": true, ".ko.zst": false, ".ko.gz": false, ".tar": false} {
		if got := k.Decompresses(suffix); got != want {
			t.Errorf("%s: %v, want %v", suffix, got, want)
		}
	}
	files.config("# CONFIG_MODULE_DECOMPRESS is not set\nCONFIG_MODULE_COMPRESS_XZ=y\n")
	if files.open(t).Decompresses(".ko.xz") {
		t.Error("a kernel without MODULE_DECOMPRESS loads no compressed module")
	}
}

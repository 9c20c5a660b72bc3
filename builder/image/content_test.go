package image_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft/builder/buildtest"
	"weft/builder/disk"
	"weft/builder/image"
	"weft/builder/inspect"
	"weft/builder/node"
	"weft/profiles"
	"weft/slot"
)

// An opened image is what the tests look into.
type opened struct {
	*testing.T
	*inspect.Image
	result image.Result
}

// open opens an image as weft inspect does.
func open(t *testing.T, result image.Result) opened {
	t.Helper()
	f, err := os.Open(result.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	i, err := inspect.Open(f, result.Size)
	if err != nil {
		t.Fatal(err)
	}
	if faults := i.Report().Faults; len(faults) > 0 {
		t.Fatalf("weft's own image has faults: %q", faults)
	}
	return opened{t, i, result}
}

// partition copies a partition into a file.
func (o opened) partition(name string) string {
	o.Helper()
	p, ok := o.Disk.Layout.Partition(name)
	if !ok {
		o.Fatalf("no partition %s", name)
	}
	return buildtest.Partition(o.T, o.result.Path, p.Start, p.Size)
}

// read returns a file; the name may begin with a slash.
func (o opened) read(fsys fs.FS, name string) []byte {
	o.Helper()
	data, err := fs.ReadFile(fsys, strings.TrimPrefix(name, "/"))
	if err != nil {
		o.Fatal(err)
	}
	return data
}

func TestTheCloudImageIsWhatItsPartsSay(t *testing.T) {
	o := open(t, buildtest.Image(t, "x86-64-cloud", "vxlan"))
	for name, check := range map[string]func(opened){
		"oracles":        oracles,
		"boot partition": bootPartition,
		"initramfs":      initramfs,
		"root":           root,
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.T = t
			check(o)
		})
	}
}

func TestTheFullImageCarriesFirmware(t *testing.T) {
	o := open(t, buildtest.Image(t, "x86-64", "vxlan"))
	oracles(o)
	o.copyrights()
	o.needs()
	// One file of each kind of package: free, split off, and of one vendor.
	for _, name := range []string{"rtl_nic/rtl8168h-2.fw", "tigon/tg3.bin", "isci/isci_firmware.bin"} {
		if _, err := fs.Stat(o.Root, "usr/lib/firmware/"+name); err != nil {
			t.Errorf("firmware: %v", err)
		}
	}
	if len(o.result.NoFirmware) > 5 {
		t.Errorf("no package has %q", o.result.NoFirmware)
	}
	t.Logf("root %d bytes, initramfs %d bytes, %d modules, %d bytes on disk",
		o.result.Root, o.result.Initramfs, o.result.Modules, o.result.Mapped)
}

// oracles asks the programs that other people wrote.
func oracles(o opened) {
	if out := buildtest.Tool(o.T, "sgdisk", "-v", o.result.Path); !strings.Contains(out, "No problems found") {
		o.Errorf("sgdisk -v:\n%s", out)
	}
	boot := o.partition(disk.Boot)
	buildtest.Tool(o.T, "fsck.vfat", "-n", boot)
	list := buildtest.Tool(o.T, "mdir", "-i", boot, "-/", "-b", "::")
	for _, name := range []string{"::/EFI/BOOT/BOOTX64.EFI", "::/loader/entries/weft-a+3-0.conf", "::/weft/a/vmlinuz", "::/weft/a/initrd"} {
		if !strings.Contains(list, name) {
			o.Errorf("mtools do not see %s:\n%s", name, list)
		}
	}
	buildtest.Tool(o.T, "fsck.erofs", o.partition(disk.RootA))
	buildtest.Tool(o.T, "e2fsck", "-f", "-n", o.partition(disk.Data))
}

// bootPartition compares the boot partition with the package and the plan.
func bootPartition(o opened) {
	o.checkKernel()
	entry := string(o.read(o.Boot, slot.EntriesDir+"/"+slot.NewEntry(slot.A).File()))
	for _, name := range []string{disk.RootA, disk.Boot, disk.Data} {
		p, _ := o.Disk.Layout.Partition(name)
		if !strings.Contains(entry, "=PARTUUID="+p.ID.String()) {
			o.Errorf("the entry does not name %s by its PARTUUID %s:\n%s", name, p.ID, entry)
		}
	}
	for _, want := range []string{"weft.slot=a", "console=tty0", "console=ttyS0,115200", "no_timer_check"} {
		if !strings.Contains(entry, want) {
			o.Errorf("the entry lacks %s:\n%s", want, entry)
		}
	}
	example := o.read(o.Boot, "weft/node.example.yaml")
	if _, _, problems := profiles.ReadNode("node.example.yaml", example); len(problems) > 0 {
		o.Errorf("the example of a node file is not one:\n%v", problems)
	}
	if _, ok := o.NodeFile(); ok {
		o.Error("an image for all nodes has a node file")
	}
}

// checkKernel compares the kernel with the one of the package.
func (o opened) checkKernel() {
	o.Helper()
	build := buildtest.Options(o.T, buildtest.Plan(o.T, "x86-64-cloud", "vxlan"), buildtest.CacheDir(o.T), o.TempDir())
	lock, err := build.Source.Resolve(o.Context(), requestKernel)
	if err != nil {
		o.Fatal(err)
	}
	pkg, err := build.Source.Fetch(o.Context(), lock.Packages[0])
	if err != nil {
		o.Fatal(err)
	}
	defer pkg.Close()
	want := o.read(pkg, "boot/vmlinuz-"+o.result.Kernel)
	if !bytes.Equal(o.read(o.Boot, slot.A.Kernel()), want) {
		o.Error("the kernel is not the package's")
	}
}

// initramfs unpacks the initramfs with the tools of a Debian system.
func initramfs(o opened) {
	dir := o.TempDir()
	packed := filepath.Join(dir, "initrd.zst")
	if err := os.WriteFile(packed, o.read(o.Boot, slot.A.Initrd()), 0o644); err != nil {
		o.Fatal(err)
	}
	plain := filepath.Join(dir, "initrd")
	buildtest.Tool(o.T, "zstd", "-q", "-d", packed, "-o", plain)
	in, err := os.Open(plain)
	if err != nil {
		o.Fatal(err)
	}
	defer in.Close()
	cmd := exec.CommandContext(o.Context(), "cpio", "--quiet", "-i", "-d", "--no-absolute-filenames",
		"init", "etc/*", "usr/*")
	cmd.Dir, cmd.Stdin = dir, in
	if out, err := cmd.CombinedOutput(); err != nil {
		o.Fatalf("cpio: %v (install cpio: make deps)\n%s", err, out)
	}
	unpacked := os.DirFS(dir)
	if !bytes.Equal(o.read(unpacked, "init"), o.program("init")) {
		o.Error("/init is not the embedded init")
	}
	if info, err := os.Stat(filepath.Join(dir, "init")); err != nil || info.Mode().Perm() != 0o755 {
		o.Errorf("/init: %v, %v", info.Mode(), err)
	}
	load := string(o.read(unpacked, "etc/modules-load.d/weft.conf"))
	for _, name := range o.plan().Board.Boot.Load {
		if !strings.Contains(load, "\n"+name+"\n") {
			o.Errorf("modules-load.d lacks %s:\n%s", name, load)
		}
	}
	modules := "usr/lib/modules/" + o.result.Kernel
	for _, name := range []string{"modules.dep", "modules.alias", "modules.softdep", "modules.builtin"} {
		o.read(unpacked, modules+"/"+name)
	}
	if dep := string(o.read(unpacked, modules+"/modules.dep")); strings.Count(dep, "\n") != o.result.BootModules {
		o.Errorf("modules.dep does not list the %d boot modules:\n%s", o.result.BootModules, dep)
	} else {
		o.depFiles(unpacked, modules, dep)
	}
}

// depFiles checks that every file that modules.dep names is there.
func (o opened) depFiles(fsys fs.FS, dir, dep string) {
	o.Helper()
	for line := range strings.Lines(dep) {
		for _, file := range strings.Fields(strings.Replace(line, ":", " ", 1)) {
			if data := o.read(fsys, dir+"/"+file); !bytes.HasPrefix(data, []byte("\x7fELF")) {
				o.Errorf("%s is not a plain module", file)
			}
		}
	}
}

// program is an embedded program.
func (o opened) program(name string) []byte {
	o.Helper()
	data, err := node.Program("amd64", name)
	if err != nil {
		o.Fatal(err)
	}
	return data
}

// root looks for what init and people need in the root.
func root(o opened) {
	want := o.plan()
	for _, name := range []string{"init", "netd"} {
		if !bytes.Equal(o.read(o.Root, "usr/sbin/"+name), o.program(name)) {
			o.Errorf("/usr/sbin/%s is not the embedded one", name)
		}
	}
	if to, err := fs.ReadLink(o.Root, "usr/sbin/modprobe"); err != nil || to != "init" {
		o.Errorf("/usr/sbin/modprobe leads to %q, %v; the kernel's requests go unanswered", to, err)
	}
	var contract profiles.Contract
	if err := json.Unmarshal(o.read(o.Root, profiles.ContractFile), &contract); err != nil {
		o.Fatal(err)
	}
	if !reflect.DeepEqual(contract, profiles.ContractFor(want.Profile)) {
		o.Errorf("the contract is not the profile's:\n%+v", contract)
	}
	profile, _, problems := profiles.Read("profile.yaml", o.read(o.Root, profiles.ProfileFile))
	if len(problems) > 0 {
		o.Fatalf("the resolved profile does not read back:\n%v", problems)
	}
	if again, err := profile.WithDefaults().YAML(); err != nil || !bytes.Equal(again, o.read(o.Root, profiles.ProfileFile)) {
		o.Errorf("the resolved profile says something else when read: %v\n%s", err, again)
	}
	if o.System.ID != o.result.ID || o.System.Kernel != o.result.Kernel || o.System.Arch != "amd64" {
		o.Errorf("system.json: %+v", o.System)
	}
	release := string(o.read(o.Root, "etc/os-release"))
	if !strings.Contains(release, `IMAGE_VERSION="`+o.result.ID[:16]+`"`) || !strings.Contains(release, "ID=\"weft\"\n") {
		o.Errorf("os-release:\n%s", release)
	}
	o.copyrights()
	o.links()
	o.needs()
	dir := "usr/lib/modules/" + o.result.Kernel
	o.depFiles(o.Root, dir, string(o.read(o.Root, dir+"/modules.dep")))
}

// copyrights: every package that something was taken from is named.
func (o opened) copyrights() {
	o.Helper()
	found, err := fs.Glob(o.Root, "usr/share/doc/*/copyright")
	if err != nil || len(found) < 2 {
		o.Errorf("copyright files: %q, %v", found, err)
	}
	if !slices.Contains(found, "usr/share/doc/systemd-boot-efi/copyright") {
		o.Errorf("no copyright of the boot loader: %q", found)
	}
}

// links: what changes at run time is not on the read-only root.
func (o opened) links() {
	o.Helper()
	for name, want := range map[string]string{
		"etc/hosts": "../run/weft/etc/hosts", "etc/resolv.conf": "../run/weft/etc/resolv.conf",
		"etc/machine-id": "../run/weft/etc/machine-id", "var": "data/var", "bin": "usr/bin",
	} {
		if got, err := fs.ReadLink(o.Root, name); err != nil || got != want {
			o.Errorf("%s -> %q, want %q (%v)", name, got, want, err)
		}
	}
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "data"} {
		if info, err := fs.Stat(o.Root, dir); err != nil || !info.IsDir() {
			o.Errorf("/%s is no folder: %v", dir, err)
		}
	}
}

// needs: every module of the contract is carried or built in.
func (o opened) needs() {
	o.Helper()
	carried := o.Report().Modules
	builtin := string(o.read(o.Root, "usr/lib/modules/"+o.result.Kernel+"/modules.builtin"))
	for _, need := range o.Contract.Modules {
		if !slices.Contains(carried, need.Name) && !strings.Contains(builtin, "/"+need.Name+".ko") {
			o.Errorf("module %s of the contract is neither carried nor built in", need.Name)
		}
	}
	if len(carried) != o.result.Modules {
		o.Errorf("%d modules in the root, %d counted", len(carried), o.result.Modules)
	}
}

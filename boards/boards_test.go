package boards

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"weft/document"
)

var update = flag.Bool("update", false, "write the golden files anew")

// base is a board that keeps every rule; the cases below change one thing.
const base = `weft: board/v1
name: base
description: the base of all cases
arch: amd64
suite: trixie
components: [main, non-free-firmware]
kernel: {package: linux-image-amd64}
boot:
  load: [erofs, ext4]
  drivers: [virtio_blk, nvme]
drivers: [virtio_net, e1000e]
firmware: [firmware-realtek]
consoles: [tty0, "ttyS0,115200"]
commandLine: [panic=10]
disk: {table: gpt, loaders: [uefi, bios], boot: 64, slot: 128, data: 32}
qemu: {machine: q35, cpu: "max,-cx16", memory: 512, commandLine: [no_timer_check]}
`

// Each case changes from into breaks, which breaks a rule, and into keeps,
// which just does not.
var cases = []struct{ rule, name, from, breaks, keeps string }{
	{"HW1", "another version", "board/v1", "board/v0", "'board/v1'"},
	{"HW2", "capital letters", "name: base", "name: Base", "name: b-4.1"},
	{"HW2", "two lines", "the base of all cases", `"a\nb"`, `"a b"`},
	{"HW3", "an unknown architecture", "arch: amd64", "arch: x86_64", "arch: 'amd64'"},
	{"HW3", "no architecture", "arch: amd64\n", "", "arch: amd64\n"},
	{"HW4", "an unknown area", "non-free-firmware]", "nonfree-firmware]", "non-free]"},
	{"HW4", "an area twice", "non-free-firmware]", "main]", "contrib]"},
	{"HW4", "no package name", "linux-image-amd64", "Linux Image", "linux-image-6.12.107+deb13-amd64"},
	{"HW4", "firmware that is no package", "firmware-realtek", "rtl_nic/rtl8168.fw", "firmware-misc-nonfree"},
	{"HW4", "no suite", "suite: trixie\n", "", "suite: trixie-backports\n"},
	{"HW5", "no kernel", "{package: linux-image-amd64}", "{}", "{dir: ../kernel}"},
	{"HW5", "two kernels", "{package: linux-image-amd64}", "{package: linux-image-amd64, deb: a.deb}", "{deb: a.deb}"},
	{"HW6", "another table", "table: gpt", "table: mbr", "table: 'gpt'"},
	{"HW7", "no loader", "loaders: [uefi, bios]", "loaders: []", "loaders: [bios]"},
	{"HW7", "an unknown loader", "loaders: [uefi, bios]", "loaders: [uefi, grub]", "loaders: [uefi]"},
	{"HW7", "a loader twice", "loaders: [uefi, bios]", "loaders: [uefi, uefi]", "loaders: [bios, uefi]"},
	{"HW7", "BIOS on arm64", "arch: amd64", "arch: arm64", "arch: amd64"},
	{"HW8", "a boot partition too small for FAT32", "boot: 64", "boot: 35", "boot: 36"},
	{"HW8", "a huge boot partition", "boot: 64", "boot: 2049", "boot: 2048"},
	{"HW8", "a small slot", "slot: 128", "slot: 15", "slot: 16"},
	{"HW8", "a huge slot", "slot: 128", "slot: 4097", "slot: 4096"},
	{"HW8", "a small data partition", "data: 32", "data: 31", "data: 32"},
	{"HW8", "a huge data partition", "data: 32", "data: 129", "data: 128"},
	{"HW8", "no size", ", data: 32", "", ", data: 33"},
	{"HW9", "no console", `[tty0, "ttyS0,115200"]`, "[]", "[ttyAMA0]"},
	{"HW9", "a console with its folder", "tty0", "/dev/tty0", "tty1"},
	{"HW9", "a speed without a comma", "ttyS0,115200", "ttyS0:115200", "ttyS0,115200n8r"},
	{"HW9", "a console twice", "tty0", `"ttyS0,115200"`, "ttyS1"},
	{"HW10", "a module's file name", "virtio_net", "virtio_net.ko.xz", "virtio-net"},
	{"HW10", "a module twice", "nvme", "virtio-blk", "virtio_scsi"},
	{"HW10", "a module name too long", "nvme", strings.Repeat("a", 56), strings.Repeat("a", 55)},
	{"HW11", "two arguments in one", "panic=10", "panic=10 quiet", "panic=-1"},
	{"HW11", "an argument in quotes", "panic=10", `'foo="a"'`, "foo=a,b"},
	{"HW11", "a console as an argument", "panic=10", "console=ttyS1", "consoleblank=0"},
	{"HW11", "a root as an argument", "no_timer_check", "root=/dev/sda1", "rootwait"},
	{"HW13", "an unknown word", "package: linux-image-amd64}", "package: linux-image-amd64, signatures: remove}", "package: linux-image-amd64, signatures: strip}"},
	{"HW12", "no machine", "machine: q35, ", "", "machine: pc, "},
	{"HW12", "a CPU with a space", `"max,-cx16"`, `"max -cx16"`, "qemu64"},
	{"HW12", "too little memory", "memory: 512", "memory: 127", "memory: 128"},
}

func TestBoardRules(t *testing.T) {
	if _, _, problems := Read("base.yaml", []byte(base)); len(problems) > 0 {
		t.Fatalf("the base has problems:\n%v", problems)
	}
	tested := map[string]bool{}
	for _, c := range cases {
		tested[c.rule] = true
		t.Run(c.rule+" "+c.name, func(t *testing.T) {
			if !strings.Contains(base, c.from) {
				t.Fatalf("the base does not hold %q", c.from)
			}
			_, _, broken := Read("case.yaml", []byte(strings.Replace(base, c.from, c.breaks, 1)))
			if !hasRule(broken, c.rule) || broken.Errors() == nil {
				t.Errorf("%s is not reported:\n%v", c.rule, broken)
			}
			_, _, kept := Read("case.yaml", []byte(strings.Replace(base, c.from, c.keeps, 1)))
			if len(kept) > 0 {
				t.Errorf("%q was refused:\n%v", c.keeps, kept)
			}
		})
	}
	for _, r := range rules {
		if !tested[r.ID] || r.Source == "" {
			t.Errorf("rule %s has no case or no source", r.ID)
		}
	}
}

// hasRule tells whether a problem is of a rule.
func hasRule(problems document.Problems, rule string) bool {
	for _, p := range problems {
		if p.Rule == rule {
			return true
		}
	}
	return false
}

func TestShippedBoardsAreSound(t *testing.T) {
	if got := Names(); !reflect.DeepEqual(got, []string{"x86-64", "x86-64-cloud"}) {
		t.Errorf("weft ships %v", got)
	}
	for _, name := range Names() {
		b, d, problems, err := Find(name)
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v\n%v", name, err, problems)
		}
		if b.Name != name || b.Description == "" || b.Weft != Version || d.File() != "boards/"+name+".yaml" {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

// The general kernel knows every machine that the cloud kernel knows; a board
// for it that lacks one of their drivers would be a slip.
func TestGeneralBoardHasEveryDriverOfTheCloudBoard(t *testing.T) {
	general, _, _, err := Find("x86-64")
	if err != nil {
		t.Fatal(err)
	}
	cloud, _, _, err := Find("x86-64-cloud")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, m := range append(append(append([]string{}, general.Boot.Load...), general.Boot.Drivers...), general.Drivers...) {
		have[m] = true
	}
	for _, m := range append(append(append([]string{}, cloud.Boot.Load...), cloud.Boot.Drivers...), cloud.Drivers...) {
		if !have[m] {
			t.Errorf("x86-64 lacks %s", m)
		}
	}
}

func TestFindTakesNamesAndPaths(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte(base), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, _, problems, err := Find(file); err != nil || len(problems) > 0 || b.Name != "base" {
		t.Errorf("a path: %v %v %+v", err, problems, b)
	}
	if _, _, _, err := Find("./none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	_, _, _, err := Find("x86_64")
	var unknown *document.UnknownError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "did you mean x86-64?") {
		t.Errorf("a misspelt name: %v", err)
	}
	if _, _, _, err := Find(""); !errors.As(err, &unknown) {
		t.Errorf("an empty name: %v", err)
	}
}

func TestBadBoardsAreExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, _, problems := Read(filepath.Base(f), data)
		var out bytes.Buffer
		if err := problems.Write(&out, false); err != nil {
			t.Fatal(err)
		}
		golden := strings.TrimSuffix(f, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatalf("%v (run go test -update and review)", err)
		}
		if !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%s differs\ngot:\n%s\nwant:\n%s", golden, out.Bytes(), want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(base))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, d, problems := Read("fuzz.yaml", data)
		if d == nil || len(problems) > 0 && problems.Error() == "" {
			t.Error("no document or an empty message")
		}
	})
}

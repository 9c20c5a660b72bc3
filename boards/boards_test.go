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
	{"HW4", "a kernel's suite that is none", "linux-image-amd64}", "linux-image-amd64, suite: Trixie}", "linux-image-amd64, suite: trixie-backports}"},
	{"HW4", "a suite for a folder", "{package: linux-image-amd64}", "{dir: ../kernel, suite: sid}", "{dir: ../kernel}"},
	{"HW6", "another table", "table: gpt", "table: apm", "table: 'gpt'"},
	{"HW6", "MBR for UEFI", "table: gpt", "table: mbr", "table: gpt"},
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
	{"HW11", "an argument of the virtual machine with a space", "memory: 512", "memory: 512, append: [a b]", "memory: 512, append: [a=b]"},
	{"HW11", "a root as an argument", "no_timer_check", "root=/dev/sda1", "rootwait"},
	{"HW13", "an unknown word", "package: linux-image-amd64}", "package: linux-image-amd64, signatures: remove}", "package: linux-image-amd64, signatures: strip}"},
	{"HW12", "no machine", "machine: q35, ", "", "machine: pc, "},
	{"HW12", "a CPU with a space", `"max,-cx16"`, `"max -cx16"`, "qemu64"},
	{"HW12", "a device tree on amd64", "machine: q35, ", "machine: q35, deviceTree: broadcom/a.dtb, ", "machine: q35, disk: virtio, "},
	{"HW12", "a serial port too many", "memory: 512", "memory: 512, serial: 4", "memory: 512, serial: 3"},
	{"HW12", "an unknown disk", "memory: 512", "memory: 512, disk: ide", "memory: 512, disk: sd"},
	{"HW12", "an unknown network", "memory: 512", "memory: 512, network: e1000", "memory: 512, network: usb"},
	{"HW14", "a model of amd64", "drivers: [virtio_net, e1000e]", "models: [{name: m, deviceTrees: [a/b.dtb], devices: [sd]}]", "drivers: []"},
	{"HW15", "what a Raspberry Pi reads", "drivers: [virtio_net, e1000e]", "raspberryPi: {package: raspi-firmware, serial: true}", "drivers: []"},
	{"HW12", "too little memory", "memory: 512", "memory: 127", "memory: 128"},
}

// pi is a board of device trees that keeps every rule.
const pi = `weft: board/v1
name: pi
description: the base of the cases about device trees
arch: arm64
suite: trixie
components: [main, non-free-firmware]
kernel: {package: linux-image-arm64, suite: trixie-backports}
models:
  - name: Model 4
    deviceTrees: [broadcom/a.dtb, broadcom/b.dtb]
    devices: [sd, ethernet]
    filter: pi4
    firmware: [start4.elf]
boot: {load: [erofs]}
consoles: [ttyS1]
disk: {table: mbr, loaders: [raspberrypi], boot: 64, slot: 128, data: 32}
raspberryPi:
  package: raspi-firmware
  serial: true
  gpuMemory: 32
  fan: {gpio: 14, temperature: 60}
  pcie: {generation: 2}
  overlays: [{name: gpio-fan, file: gpio-fan.dtbo, parameters: [gpiopin=14]}]
  config: [arm_boost=1]
qemu: {machine: raspi3b, cpu: cortex-a53, memory: 1024, deviceTree: broadcom/a.dtb, serial: 1, disk: sd, network: usb}
`

// piCases change pi.
var piCases = []struct{ rule, name, from, breaks, keeps string }{
	{"HW6", "GPT for a Raspberry Pi", "table: mbr", "table: gpt", "table: 'mbr'"},
	{"HW7", "two loaders", "[raspberrypi]", "[raspberrypi, uefi]", "['raspberrypi']"},
	{"HW7", "a Raspberry Pi that is none", "arch: arm64", "arch: amd64", "arch: 'arm64'"},
	{"HW12", "a tree without its folder", "deviceTree: broadcom/a.dtb", "deviceTree: a.dtb", "deviceTree: broadcom/b.dtb"},
	{"HW14", "no name", "name: Model 4", "name: ''", "name: '4'"},
	{"HW14", "no tree", "[broadcom/a.dtb, broadcom/b.dtb]", "[]", "[broadcom/a.dtb]"},
	{"HW14", "a tree by its path", "broadcom/b.dtb", "usr/lib/linux-image/broadcom/b.dtb", "ti/b-c.dtb"},
	{"HW14", "a tree twice", "broadcom/b.dtb", "broadcom/a.dtb", "broadcom/c.dtb"},
	{"HW14", "nothing must work", "devices: [sd, ethernet]", "devices: []", "devices: [nvme]"},
	{"HW14", "an unknown device", "[sd, ethernet]", "[sd, eth0]", "[sd, usb]"},
	{"HW14", "an unknown section", "filter: pi4", "filter: pi6", "filter: cm4"},
	{"HW14", "no section", "    filter: pi4\n", "", "    filter: pi400\n"},
	{"HW14", "firmware in a folder", "[start4.elf]", "[boot/start4.elf]", "[fixup4.dat]"},
	{"HW15", "no models", pi[strings.Index(pi, "models:"):strings.Index(pi, "boot: {load")], "", "models: [{name: m, deviceTrees: [a/b.dtb], devices: [sd], filter: pi5}]\n"},
	{"HW15", "no firmware", "raspi-firmware", "''", "raspi-firmware2"},
	{"HW15", "no section for the firmware", pi[strings.Index(pi, "raspberryPi:"):strings.Index(pi, "qemu:")], "", "raspberryPi: {package: raspi-firmware, serial: false}\n"},
	{"HW15", "an unknown word for HDMI", "serial: true", "hdmi: yes please", "serial: false\n  hdmi: off"},
	{"HW15", "an unknown word for the boot stage", "serial: true", "bootStage: tryboot", "serial: false\n  bootStage: on"},
	{"HW15", "too little for the graphics processor", "gpuMemory: 32", "gpuMemory: 31", "gpuMemory: 512"},
	{"HW15", "too much for the graphics processor", "gpuMemory: 32", "gpuMemory: 513", "gpuMemory: 64"},
	{"HW15", "a fan on the pins of the EEPROM", "gpio: 14", "gpio: 1", "gpio: 2"},
	{"HW15", "a fan that starts late", "temperature: 60", "temperature: 81", "temperature: 80"},
	{"HW15", "a speed there is not", "generation: 2", "generation: 4", "generation: 3"},
	{"HW15", "an overlay's file as its name", "name: gpio-fan", "name: gpio-fan.dtbo", "name: w1-gpio"},
	{"HW15", "two parameters in one", "gpiopin=14", "'gpiopin=14,temp=1'", "on"},
	{"HW15", "a line too long", "arm_boost=1", strings.Repeat("a", 99), strings.Repeat("a", 98)},
	{"HW15", "a line that the builder writes", "arm_boost=1", "kernel=mine", "kernel_address=0x80000"},
	{"HW15", "initramfs without =", "arm_boost=1", "initramfs mine followkernel", "dtdebug=1"},
}

func TestBoardRules(t *testing.T) {
	tested := map[string]bool{}
	testCases(t, tested, base, cases)
	testCases(t, tested, pi, piCases)
	for _, r := range rules {
		if !tested[r.ID] || r.Source == "" {
			t.Errorf("rule %s has no case or no source", r.ID)
		}
	}
}

// testCases tries each case, and notes the rules that have one.
func testCases(t *testing.T, tested map[string]bool, base string, cases []struct{ rule, name, from, breaks, keeps string }) {
	if _, _, problems := Read("base.yaml", []byte(base)); len(problems) > 0 {
		t.Fatalf("the base has problems:\n%v", problems)
	}
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
	if got := Names(); !reflect.DeepEqual(got, []string{"arm64-uefi", "rpi", "rpi-zero2w", "rpi3", "rpi4", "rpi5", "x86-64", "x86-64-cloud"}) {
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

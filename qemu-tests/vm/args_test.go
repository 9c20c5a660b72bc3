package vm

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"weft/qemu-tests/vm/hub"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func emptyFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArgumentsAreAsReviewed(t *testing.T) {
	segment := hub.New("lab")
	fw := firmwarePair{"/fw/code,4M.fd", "/fw/vars.fd"}
	file := emptyFile(t, "disk")
	for _, tc := range []struct {
		name  string
		accel Accel
		cfg   Config
	}{
		{"bare", TCG, Config{}},
		{"direct-kernel", TCG, Config{Kernel: file, Initrd: file, CommandLine: "console=ttyS0 panic=-1", NoReboot: true, DebugExit: true}},
		{"uefi-two-cards", KVM, Config{
			Name: "node-1", Firmware: UEFI, Memory: 256,
			Disks: []Disk{{Path: file}, {Path: file, Throwaway: true, Bus: "sata"}},
			NICs: []NIC{
				{Forwards: []Forward{{Host: 2222, Guest: 22}}},
				{Segment: segment, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Model: "e1000", BootROM: true},
			},
			SMBIOS: []string{"type=1,serial=X"}, Watchdog: true, ExtraArgs: []string{"-rtc", "base=2001-01-01"},
		}},
		{"arm64", TCG, Config{Arch: "arm64", Disks: []Disk{{Path: file, Throwaway: true}}}},
		{"raspi3b", TCG, Config{
			Arch: "arm64", Machine: "raspi3b", CPU: "cortex-a53", CPUs: 4, Firmware: NoFirmware,
			Kernel: file, Initrd: file, DeviceTree: file, CommandLine: "maxcpus=1", SerialPort: 1,
			Disks: []Disk{{Path: file}}, NICs: []NIC{{}},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, _, err := tc.cfg.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			live := arguments(cfg, tc.accel, fw, inherited(3, 4, 5, map[int]int{1: 6}, "/state/vars,x.fd"))
			hand := arguments(cfg, tc.accel, fw, byHand(cfg, fw))
			got := strings.ReplaceAll(strings.Join(live, "\n")+"\n\nby hand:\n"+shellLine(hand)+"\n", file, "/disk")
			golden := filepath.Join("testdata", tc.name+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestShellReadsEveryWordAsItIs(t *testing.T) {
	words := []string{"", "plain", "two words", `a'b"c$d\e`, "new\nline", "*", "~", "#x", "-append", "a=b,c:d"}
	out, err := exec.Command("/bin/sh", "-c", `printf '%s\0' `+shellLine(words)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); strings.Join(got, "|") != strings.Join(words, "|") {
		t.Errorf("the shell read %q, want %q", got, words)
	}
}

func TestWrongConfigurationsAreRefusedByName(t *testing.T) {
	segment := hub.New("lab")
	same := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, tc := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"unknown architecture", Config{Arch: "riscv64"}, []string{"riscv64", "amd64 or arm64"}},
		{"name with a comma", Config{Name: "a,b"}, []string{"the name may hold"}},
		{"unknown firmware", Config{Firmware: "coreboot"}, []string{"coreboot"}},
		{"BIOS on arm64", Config{Arch: "arm64", Firmware: BIOS}, []string{"has no BIOS"}},
		{"unknown accelerator", Config{Accel: "warp"}, []string{"warp"}},
		{"accelerator of another architecture", Config{Arch: map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH], Accel: KVM}, []string{"kvm runs guests of this host's architecture", "use auto or tcg"}},
		{"command line without kernel", Config{CommandLine: "quiet"}, []string{"needs a kernel"}},
		{"no such kernel", Config{Kernel: "/no/such/kernel"}, []string{"/no/such/kernel"}},
		{"no such disk", Config{Disks: []Disk{{Path: "/no/such/disk"}}}, []string{"/no/such/disk"}},
		{"unknown bus", Config{Disks: []Disk{{Path: "/", Bus: "floppy"}}}, []string{"floppy", "virtio"}},
		{"neither firmware nor kernel", Config{Firmware: NoFirmware}, []string{"without firmware"}},
		{"device tree without kernel", Config{DeviceTree: "/"}, []string{"device tree needs a kernel"}},
		{"no such serial port", Config{SerialPort: 4}, []string{"serial port 4", "0 to 3"}},
		{"card without a slot", Config{Disks: []Disk{{Path: "/", Bus: "sd"}}}, []string{"q35 has no bus sd", "use virtio"}},
		{"too much of everything", Config{CPUs: 65, Memory: 1 << 20}, []string{"65 processors", "1048576 MiB"}},
		{"one address twice", Config{NICs: []NIC{{MAC: same}, {MAC: same}}}, []string{"network card 1", "card 0"}},
		{"group address", Config{NICs: []NIC{{MAC: net.HardwareAddr{1, 0, 0, 0, 0, 1}}}}, []string{"01:00:00:00:00:01"}},
		{"forward on a segment", Config{NICs: []NIC{{Segment: segment, Forwards: []Forward{{Host: 1, Guest: 1}}}}}, []string{"need the uplink"}},
		{"forward of no port", Config{NICs: []NIC{{Forwards: []Forward{{Host: 0, Guest: 22}}}}}, []string{"1 to 65535"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := tc.cfg.withDefaults()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAddressesDifferByNameAndCardAndNothingElse(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{"a", "b", "node-1", "node-2"} {
		for card := range 3 {
			address := MACFor(name, card)
			if address[0]&3 != 2 {
				t.Errorf("%s is not a locally administered address of one card", address)
			}
			if seen[address.String()] || address.String() != MACFor(name, card).String() {
				t.Errorf("%s came twice or changed", address)
			}
			seen[address.String()] = true
		}
	}
	first, second, again := UUIDFor("a"), UUIDFor("b"), UUIDFor("a")
	if first == second || first != again || len(first) != 36 {
		t.Errorf("UUIDs %s, %s and %s", first, second, again)
	}
}

func TestFirmwareIsTakenFromTheFirstPlaceThatHasBoth(t *testing.T) {
	a := arches["amd64"]
	have := map[string]bool{
		"/usr/share/OVMF/OVMF_CODE_4M.fd": true, // without its variables
		"/usr/share/OVMF/OVMF_CODE.fd":    true, "/usr/share/OVMF/OVMF_VARS.fd": true,
	}
	pair, err := a.findFirmware(func(path string) bool { return have[path] })
	if err != nil || pair.code != "/usr/share/OVMF/OVMF_CODE.fd" {
		t.Errorf("%+v, %v", pair, err)
	}
	_, err = a.findFirmware(func(string) bool { return false })
	if err == nil || !strings.Contains(err.Error(), "install ovmf: make deps") || !strings.Contains(err.Error(), "/usr/share/OVMF") {
		t.Errorf("error %v", err)
	}
}

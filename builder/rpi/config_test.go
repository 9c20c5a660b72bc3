package rpi

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"weft/boards"
	"weft/slot"
)

// machine returns a machine by its tree.
func machine(t testing.TB, tree string) Machine {
	t.Helper()
	m, ok := ByTree(tree)
	if !ok {
		t.Fatalf("no machine has the tree %s", tree)
	}
	return m
}

// seen is what a machine takes of the value of kernel.
func seen(t *testing.T, tree, config string) string {
	t.Helper()
	s, err := Read(fstest.MapFS{"config.txt": {Data: []byte(config)}}, machine(t, tree))
	if err != nil {
		t.Fatal(err)
	}
	return s.Text("kernel", "none")
}

const (
	tree3      = "bcm2837-rpi-3-b.dtb"
	tree3Plus  = "bcm2837-rpi-3-b-plus.dtb"
	treeZero2  = "bcm2837-rpi-zero-2-w.dtb"
	tree4      = "bcm2711-rpi-4-b.dtb"
	tree400    = "bcm2711-rpi-400.dtb"
	treeCM4    = "bcm2711-rpi-cm4-io.dtb"
	tree5      = "bcm2712-rpi-5-b.dtb"
	tree5D     = "bcm2712-d-rpi-5-b.dtb"
	longComent = "# a comment may be as long as it likes, nobody reads it: ...................................................................\n"
)

func TestFiltersAreReadAsTheFirmwareReadsThem(t *testing.T) {
	for _, c := range []struct {
		name, config string
		want         map[string]string // the kernel, by tree
	}{
		{"no filter is all", "kernel=a\n", map[string]string{tree3: "a", tree5: "a"}},
		{"the last line counts", "kernel=a\nkernel=b\n", map[string]string{tree3: "b"}},
		{"a model", "[pi4]\nkernel=a\n", map[string]string{tree4: "a", tree400: "a", treeCM4: "a", tree3: "none", tree5: "none"}},
		{"a later model replaces an earlier one", "[pi4]\n[pi5]\nkernel=a\n", map[string]string{tree4: "none", tree5: "a"}},
		{"a plus sees what is for all of its kind", "[pi3]\nkernel=a\n[pi3+]\nkernel=b\n", map[string]string{tree3: "a", tree3Plus: "b"}},
		{"a Zero 2 W is a Zero and no 3", "[pi0]\nkernel=a\n[pi3]\nkernel=b\n", map[string]string{treeZero2: "a", tree3: "b"}},
		{"all ends filters", "[pi4]\nkernel=a\n[all]\nkernel=b\n", map[string]string{tree4: "b", tree3: "b"}},
		{"none lets nothing through", "kernel=a\n[none]\nkernel=b\n", map[string]string{tree3: "a"}},
		{"a serial number is not known", "[0x12345678]\nkernel=a\n", map[string]string{tree3: "none"}},
		{"kinds of filters add up", "[pi4]\n[gpio4=1]\nkernel=a\n[pi4]\nkernel=b\n", map[string]string{tree4: "none"}},
		{"a filter that is not known", "[pi9]\nkernel=a\n[all]\nkernel=b\n", map[string]string{tree4: "b"}},
		{"a screen, a board type", "[EDID=VSC-TD2220]\nkernel=a\n[all]\n[board-type=0x14]\nkernel=b\n", map[string]string{tree4: "none"}},
		{"in any case, with spaces and carriage returns", " [PI4] \r\n  kernel = a \r\n", map[string]string{tree4: "a"}},
		{"comments", "#kernel=a\n  # kernel=b\n" + longComent, map[string]string{tree3: "none"}},
		{"what is beyond 98 characters is not read", "kernel=" + strings.Repeat("x", 91) + "YZ\n", map[string]string{tree3: strings.Repeat("x", 91)}},
		{"a stepping is no filter", "[pi5]\nkernel=a\n", map[string]string{tree5D: "a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for tree, want := range c.want {
				if got := seen(t, tree, c.config); got != want {
					t.Errorf("%s: kernel %q, want %q", tree, got, want)
				}
			}
		})
	}
}

func TestIncludes(t *testing.T) {
	boot := fstest.MapFS{
		"config.txt":  {Data: []byte("include one.txt\ninclude missing.txt\ninitramfs initrd followkernel\n")},
		"one.txt":     {Data: []byte("kernel=a\n[pi4]\ninclude sub/two.txt\n")},
		"sub/two.txt": {Data: []byte("kernel=b\n")},
	}
	for tree, want := range map[string]string{tree3: "a", tree4: "b"} {
		s, err := Read(boot, machine(t, tree))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Text("kernel", ""); got != want {
			t.Errorf("%s: kernel %q, want %q", tree, got, want)
		}
	}
	boot["one.txt"].Data = []byte("include one.txt\n")
	if _, err := Read(boot, machine(t, tree3)); err == nil || !strings.Contains(err.Error(), "includes itself") {
		t.Errorf("a file that includes itself: %v", err)
	}
}

// everything is a board that asks for all there is.
var everything = boards.RaspberryPi{
	Serial: true, GPUMemory: 64, HDMI: boards.HDMIOn, USBBoot: true,
	Overlays: []boards.Overlay{{Name: "mine", Parameters: []string{"a=1", "b"}}},
	Config:   []string{"[cm4]", "otg_mode=1"},
}

func TestWhatIsWrittenIsReadAsMeant(t *testing.T) {
	text, err := Config{Prefix: "weft/a/", Kernel: "vmlinuz", Initramfs: "initrd", Board: everything}.Text()
	if err != nil {
		t.Fatal(err)
	}
	boot := fstest.MapFS{"config.txt": {Data: []byte(text)}}
	for tree, want := range map[string]string{
		tree3: "program_usb_boot_mode=1 ", tree4: "", treeCM4: "otg_mode=1 ", tree5: "",
	} {
		s, err := Read(boot, machine(t, tree))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Cut) > 0 {
			t.Errorf("lines are cut: %v", s.Cut)
		}
		for key, value := range map[string]string{
			"os_prefix": "weft/a/", "kernel": "vmlinuz", "initramfs": "initrd followkernel", "arm_64bit": "1",
			"upstream_kernel": "1", "enable_uart": "1", "gpu_mem": "64", "hdmi_force_hotplug": "1",
		} {
			if got := s.Text(key, ""); got != value {
				t.Errorf("%s: %s is %q, want %q", tree, key, got, value)
			}
		}
		special := ""
		for _, x := range s.List {
			if x.Key == "program_usb_boot_mode" || x.Key == "otg_mode" {
				special += fmt.Sprintf("%s=%s ", x.Key, x.Value)
			}
		}
		if special != want {
			t.Errorf("%s alone: %q, want %q", tree, special, want)
		}
	}
}

func TestTheWayAroundTheBootStageIsAComment(t *testing.T) {
	for prefix, want := range map[string]int{StagePrefix: 1, SlotPrefix(slot.A): 0} {
		text, err := Config{Prefix: prefix, Kernel: "vmlinuz", Initramfs: "initrd"}.Text()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(text, "# os_prefix=weft/a/ starts slot A without it.\n"); got != want {
			t.Errorf("%s: it is there %d times, want %d:\n%s", prefix, got, want, text)
		}
		s, err := Read(fstest.MapFS{"config.txt": {Data: []byte(text)}}, machine(t, tree3))
		if err != nil || s.Text("os_prefix", "") != prefix {
			t.Errorf("os_prefix is %q, %v; want %s", s.Text("os_prefix", ""), err, prefix)
		}
	}
}

func TestALineThatTheFirmwareWouldCutIsRefused(t *testing.T) {
	_, err := Config{Board: boards.RaspberryPi{Config: []string{"a=" + strings.Repeat("x", 97)}}}.Text()
	if err == nil || !strings.Contains(err.Error(), "reads 98 characters of a line") {
		t.Errorf("got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	text, err := Config{Prefix: "weft/a/", Kernel: "vmlinuz", Initramfs: "initrd", Board: everything}.Text()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{text, "include config.txt", "[pi4", "initramfs", "initramfs =x", "os_prefix=../../", "kernel=/", "[]\n=\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, config string) {
		boot := fstest.MapFS{"config.txt": {Data: []byte(config)}}
		for _, m := range Machines() {
			start, faults := Find(boot, m)
			if len(faults) == 0 {
				t.Errorf("a partition with config.txt alone has no fault: %+v", start)
			}
		}
	})
}

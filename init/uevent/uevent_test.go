package uevent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const partition = "add@/devices/pci0000:00/0000:00:03.0/virtio1/block/vda/vda3\x00" +
	"ACTION=add\x00DEVPATH=/devices/pci0000:00/0000:00:03.0/virtio1/block/vda/vda3\x00SUBSYSTEM=block\x00" +
	"MAJOR=254\x00MINOR=3\x00DEVNAME=vda3\x00DEVTYPE=partition\x00PARTN=3\x00SEQNUM=1234\x00"

func TestParse(t *testing.T) {
	e, err := Parse([]byte(partition))
	if err != nil {
		t.Fatal(err)
	}
	if e.Action != "add" || e.Subsystem() != "block" || e.Name() != "vda3" || e.Env["PARTN"] != "3" || e.Modalias() != "" {
		t.Errorf("got %+v", e)
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	for name, message := range map[string]string{
		"empty":            "",
		"no zero byte":     "add@/devices/x",
		"udev's own":       "libudev\x00\xfe\xed\xca\xfe",
		"no path":          "add@\x00SUBSYSTEM=x\x00",
		"relative path":    "add@devices\x00",
		"no action":        "@/devices/x\x00",
		"longer than ever": "add@/" + strings.Repeat("x", MaxMessage) + "\x00",
	} {
		if _, err := Parse([]byte(message)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestEnvOfAFile(t *testing.T) {
	env := ParseEnv("DEVTYPE=disk\nDISKSEQ=9\nnonsense\n=x\nA=b=c\n", "\n")
	if len(env) != 3 || env["DEVTYPE"] != "disk" || env["A"] != "b=c" {
		t.Errorf("got %v", env)
	}
}

func TestModaliasesOnceEach(t *testing.T) {
	sys := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("bus/pci/devices/0000:00:01.0/modalias", "pci:v1\n")
	write("bus/pci/devices/0000:00:02.0/modalias", "pci:v1\n")
	write("bus/pci/devices/0000:00:03.0/vendor", "0x1\n") // asks for nothing
	write("bus/virtio/devices/virtio0/modalias", "virtio:d1\n")
	write("bus/acpi/devices/LNXSYSTM:00/modalias", "\n")
	write("class/input/input0/modalias", "input:b0\n")
	write("class/dmi/id/modalias", "dmi:bvn\n")
	got := Modaliases(sys)
	slices.Sort(got)
	if want := []string{"dmi:bvn", "input:b0", "pci:v1", "virtio:d1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Modaliases(sys + "/none"); len(got) != 0 {
		t.Errorf("without sysfs: %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(partition))
	f.Add([]byte("add@/\x00"))
	f.Add([]byte("\x00\x00=\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		e, err := Parse(message)
		if err == nil && (e.Action == "" || e.Path == "" || strings.Contains(e.Name(), "/")) {
			t.Errorf("%q gave %+v", message, e)
		}
	})
}

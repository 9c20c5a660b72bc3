package kmod

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// entry is a struct of_device_id without a name and a type.
func entry(compatible string) []byte {
	b := make([]byte, idNames+idCompatible+8)
	copy(b[idNames:], compatible)
	return b
}

func TestTablesOfDriversAreFoundInTheKernel(t *testing.T) {
	named := entry("test,named")
	copy(named, "cpu") // a driver that asks for a node's name
	image := bytes.Join([][]byte{
		bytes.Repeat([]byte("code"), 100), entry("test,first"), entry("test,second-2"), make([]byte, 200),
		named, []byte("test,text in between, not aligned"), make([]byte, 200),
		entry("no name\nat all"), entry("x"),
		{0, 0, 0, 0}, entry("test,unaligned"),
		entry("test,cut")[:idNames+9],
	}, nil)
	image = image[:len(image)/idAlign*idAlign]
	if got := compatiblesIn(image); !slices.Equal(got, []string{"test,first", "test,second-2"}) {
		t.Errorf("found %q", got)
	}
	if got := compatiblesIn(nil); got != nil {
		t.Errorf("found %q in nothing", got)
	}
}

func TestDevicesAreMatchedAsTheKernelMatchesThem(t *testing.T) {
	k := &Kernel{modules: map[string]string{"mmc_a": "kernel/drivers/mmc/mmc_a.ko", "usb_b": "kernel/drivers/usb/usb_b.ko", "pin_c": "x"},
		builtin: builtins{paths: map[string]string{"built_d": "kernel/drivers/d.ko"}}}
	d := &Devices{kernel: k, of: map[string][]string{}, patterns: map[string][]aliasPattern{}}
	for _, a := range [][2]string{
		{"of:N*T*Ctest,mmc", "mmc_a"}, {"of:N*T*Ctest,mmcC*", "mmc_a"},
		{"of:NpinT*Ctest,pin", "pin_c"},
		{"of:N*T*Ctest,mmc-2", "built_d"},
		{"usb:v0424pEC00d*dc*dsc*dp*ic*isc*ip*in*", "usb_b"},
		{"platform:mmc", "mmc_a"},
	} {
		d.add(a[0], a[1])
	}
	for alias, want := range map[string]string{
		"of:NmmcT(null)Ctest,mmc":                           "mmc_a",
		"of:NmmcT(null)Ctest,mmc-2Ctest,mmc":                "built_d mmc_a",
		"of:NmmcT(null)Ctest,mmcx":                          "",
		"of:NpinT(null)Ctest,pin":                           "pin_c",
		"of:NpadT(null)Ctest,pin":                           "",
		"usb:v0424pEC00d0000dc00dsc00dp00ic00isc00ip00in00": "usb_b",
		"platform:mmc":                                      "",
	} {
		var got []string
		for _, f := range d.Match(alias) {
			got = append(got, f.Name)
			if f.BuiltIn != (f.Name == "built_d") {
				t.Errorf("%s is built in: %v", f.Name, f.BuiltIn)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", alias, got, want)
		}
	}
}

func TestOnlyFoldersThatAreOfUseAreRead(t *testing.T) {
	for file, want := range map[string]bool{
		"kernel/drivers/mmc/host/a.ko.xz":         true,
		"updates/dkms/a.ko":                       true,
		"kernel/drivers/net/ethernet/a.ko.xz":     true,
		"kernel/drivers/net/wireless/a.ko.xz":     false,
		"kernel/drivers/gpu/drm/vc4/vc4.ko.xz":    false,
		"kernel/sound/soc/bcm/a.ko.xz":            false,
		"kernel/drivers/staging/vc04/vchiq.ko.xz": false,
	} {
		if drives(file) != want {
			t.Errorf("%s: %v", file, !want)
		}
	}
}

func TestDeviceTreesAreFoundInEitherLayout(t *testing.T) {
	const modules, name = "usr/lib/modules/" + release, "broadcom/a.dtb"
	for _, path := range []string{modules + "/dtb/" + name, "usr/lib/linux-image-" + release + "/" + name, "boot/dtbs/" + release + "/" + name} {
		k := &Kernel{Release: release, ModulesDir: modules, fsys: fstest.MapFS{path: {Data: []byte("tree")}}}
		if data, err := k.DeviceTree(name); err != nil || string(data) != "tree" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
		for _, bad := range []string{"broadcom/b.dtb", "../" + name, "/" + name, "broadcom"} {
			if _, err := k.DeviceTree(bad); err == nil {
				t.Errorf("%s was found", bad)
			}
		}
	}
	big := &Kernel{Release: release, ModulesDir: modules, fsys: fstest.MapFS{modules + "/dtb/" + name: {Data: make([]byte, maxTree+1)}}}
	if _, err := big.DeviceTree(name); err == nil || !strings.Contains(err.Error(), "larger than allowed") {
		t.Errorf("a tree of more than 2 MiB: %v", err)
	}
}

func FuzzCompatibles(f *testing.F) {
	f.Add(entry("test,first"))
	f.Fuzz(func(t *testing.T, image []byte) {
		for _, c := range compatiblesIn(image) {
			if c == "" || strings.ContainsAny(c, "\n\x00") {
				t.Errorf("%q would break a line", c)
			}
		}
	})
}

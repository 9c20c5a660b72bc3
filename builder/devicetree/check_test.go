package devicetree

import (
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft/boards"
	"weft/builder/kmod"
)

// A fakeKernel has modules by the patterns they answer to; a module called
// "built-in" is none.
type fakeKernel map[string]string

func (k fakeKernel) Match(modalias string) []kmod.Driver {
	var found []kmod.Driver
	for pattern, module := range k {
		if ok, err := path.Match(pattern, modalias); ok && err == nil && module != "built-in" {
			found = append(found, kmod.Driver{Name: module})
		}
	}
	return found
}

func (k fakeKernel) BuiltIn(compatible string) bool { return k[compatible] == "built-in" }

func (k fakeKernel) Has(module string) bool {
	for _, m := range k {
		if m == module {
			return true
		}
	}
	return false
}

// without is the kernel without what a pattern stands for.
func (k fakeKernel) without(pattern string) fakeKernel {
	c := fakeKernel{}
	for p, m := range k {
		if p != pattern {
			c[p] = m
		}
	}
	return c
}

// whole drives all of the test board but its video.
var whole = fakeKernel{
	"simple-bus": "built-in", "arm,gic-400": "built-in", "fixed-clock": "built-in", "test,pcie": "built-in",
	"brcm,bcm2835-pm-wdt": "built-in", "test,i2c": "built-in",
	"of:N*T*Cregulator-fixed*":                "fixed",
	"of:N*T*Cmmc-pwrseq-simple*":              "pwrseq_simple",
	"of:N*T*Ctest,clocks*":                    "clk_test",
	"of:N*T*Ctest,gpio*":                      "gpio_test",
	"of:N*T*Ctest,rng":                        "rng_test",
	"of:N*T*Ctest,mmc":                        "mmc_test",
	"of:N*T*Ctest,usb*":                       "usb_test",
	"usb:v0424pEC00d*dc*dsc*dp*ic*isc*ip*in*": "smsc95xx",
	"pci:v*d*sv*sd*bc0Csc03i30*":              "xhci_pci",
	"of:N*T*Cdallas,ds1307":                   "rtc_ds1307",
	"wdt":                                     "bcm2835_wdt",
	"1":                                       "usbcore",
	"2":                                       "mmc_block",
	"3":                                       "usb_storage",
	"4":                                       "uas",
	"5":                                       "sd_mod",
	"6":                                       "nvme",
}

func TestAWholeKernelDrivesTheBoard(t *testing.T) {
	r := Check(parse(t, board(t)), boards.Devices, whole)
	if len(r.Lacks) > 0 {
		t.Errorf("lacks: %+v", r.Lacks)
	}
	boot := strings.Fields("clk_test fixed gpio_test mmc_block mmc_test nvme rng_test sd_mod uas usb_storage usb_test xhci_pci")
	if !slices.Equal(r.Boot, boot) {
		t.Errorf("storage needs\n %q, want\n %q", r.Boot, boot)
	}
	all := append(strings.Fields("bcm2835_wdt pwrseq_simple rtc_ds1307 smsc95xx"), boot...)
	slices.Sort(all)
	if !slices.Equal(r.Modules, all) {
		t.Errorf("the tree needs\n %q, want\n %q", r.Modules, all)
	}
	states := map[string]State{}
	for _, f := range r.Findings {
		states[f.Path] = f.State
	}
	for path, want := range map[string]State{
		"/soc/mmc@3000": Module, "/soc": BuiltIn, "/soc/usb@5000/hub@1": BuiltIn, "/soc/video@8000": None,
		"/soc/serial@7000": Unknown, "/soc/mmc@4000/wifi@1": Unknown, "/pcie@c000/pci@0,0/usb@0,0": Module,
	} {
		if states[path] != want {
			t.Errorf("%s is %q, want %q", path, states[path], want)
		}
	}
	for _, path := range []string{"/soc/off@a000", "/cpus/cpu@0", "/pcie@c000/pci@0,0", "/memory@0"} {
		if s, ok := states[path]; ok {
			t.Errorf("%s is looked at: %q", path, s)
		}
	}
	for _, f := range r.Findings {
		if f.Path == "/soc/clocks@1000" && !reflect.DeepEqual(f.Devices, []string{boards.SD}) {
			t.Errorf("the clocks are for %q", f.Devices)
		}
	}
}

func TestWhatIsMissingIsNamedWithWhatNeedsIt(t *testing.T) {
	tree := parse(t, board(t))
	const sd = "/soc/mmc@3000"
	for _, c := range []struct {
		name, without string
		want          []Lack
	}{
		{"a controller", "of:N*T*Ctest,mmc", []Lack{{Device: "sd", Path: sd, Compatible: []string{"test,mmc-2", "test,mmc"}}}},
		{"a supplier", "of:N*T*Cregulator-fixed*", []Lack{{Device: "sd", Path: "/regulator-vcc", Compatible: []string{"regulator-fixed"}, For: sd}}},
		{"a supplier of a supplier, and of pins", "of:N*T*Ctest,gpio*", []Lack{{Device: "sd", Path: "/soc/gpio@2000", Compatible: []string{"test,gpio"}, For: sd}}},
		{"the interrupts", "arm,gic-400", []Lack{{Device: "sd", Path: "/interrupt-controller@100", Compatible: []string{"arm,gic-400"}, For: sd}}},
		{"what a Wi-Fi chip needs", "of:N*T*Cmmc-pwrseq-simple*", nil},
		{"one of two USB controllers", "of:N*T*Ctest,usb*", []Lack{
			{Device: "ethernet", Path: "/soc/usb@5000", Compatible: []string{"test,usb"}, For: "/soc/usb@5000/hub@1/ethernet@1"}}},
		{"a network card on USB", "usb:v0424pEC00d*dc*dsc*dp*ic*isc*ip*in*", []Lack{
			{Device: "ethernet", Path: "/soc/usb@5000/hub@1/ethernet@1", Compatible: []string{"usb424,ec00"}}}},
		{"what is plugged in", "4", []Lack{{Device: "usb", Module: "uas"}}},
		{"NVMe", "6", []Lack{{Device: "nvme", Module: "nvme"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := Check(tree, boards.Devices, whole.without(c.without)); !reflect.DeepEqual(r.Lacks, c.want) {
				t.Errorf("got %+v\nwant %+v", r.Lacks, c.want)
			}
		})
	}
}

func TestATreeWithoutTheDeviceSaysSo(t *testing.T) {
	r := Check(parse(t, compile(t, "/dts-v1/; / { };")), boards.Devices, whole)
	want := []Lack{{Device: "sd"}, {Device: "ethernet"}, {Device: "usb"}, {Device: "nvme"}}
	if !reflect.DeepEqual(r.Lacks, want) {
		t.Errorf("got %+v", r.Lacks)
	}
}

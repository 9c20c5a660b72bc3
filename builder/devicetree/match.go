package devicetree

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weft/builder/kmod"
)

// A Kernel says what drives a device.
type Kernel interface {
	// Match returns the modules that answer to a modalias, loadable ones and
	// those built in that say so.
	Match(modalias string) []kmod.Driver
	// BuiltIn says whether the kernel itself has a driver for one of the
	// names of compatible.
	BuiltIn(compatible string) bool
	// Has says whether there is a module of that name, loadable or built in.
	Has(module string) bool
}

// A State says how a device is driven.
type State string

// The states of a device.
const (
	// Module is a device that a loadable module drives.
	Module State = "module"
	// BuiltIn is one that the kernel itself drives.
	BuiltIn State = "built in"
	// Unknown is one whose driver cannot be known from the tree.
	Unknown State = "unknown"
	// None is one that nothing drives.
	None State = "none"
)

// made are modules of devices that no tree names, by the compatible of the one
// whose driver makes them. Without those that must be there the device
// itself does not work.
var made = map[string]struct {
	module string
	must   bool
}{
	// drivers/usb/dwc3/host.c makes an xhci-hcd.
	"snps,dwc3": {"xhci_plat_hcd", true},
	// drivers/mfd/bcm2835-pm.c makes a bcm2835-wdt.
	"brcm,bcm2835-pm-wdt": {"bcm2835_wdt", false},
	// drivers/clk/bcm/clk-raspberrypi.c makes a raspberrypi-cpufreq: without
	// it the processor stays as slow as the firmware left it.
	"raspberrypi,bcm2835-firmware": {"raspberrypi_cpufreq", false},
	// The socket of a Raspberry Pi 4 and 5 has a PHY that the tree does not
	// name, a BCM54213PE; it says itself what it is.
	"brcm,bcm2711-genet-v5": {"broadcom", false},
	"raspberrypi,rp1-gem":   {"broadcom", false},
}

// drive finds the driver of a device.
func drive(n *Node, k Kernel) Finding {
	f := Finding{Path: n.Path(), Compatible: n.Compatible(), State: None}
	for _, alias := range modaliases(n) {
		for _, d := range k.Match(alias) {
			if d.BuiltIn {
				f.State = BuiltIn
			} else {
				f.Modules = append(f.Modules, d.Name)
			}
		}
	}
	f.Modules = tidy(f.Modules)
	switch {
	case len(f.Modules) > 0:
		f.State = Module
	case f.State == BuiltIn, slices.ContainsFunc(f.Compatible, k.BuiltIn), usbHub(n) && k.Has("usbcore"):
		f.State = BuiltIn
	case slices.Contains(f.Compatible, "arm,primecell"):
		// Such a device says what it is in a register
		// (drivers/amba/bus.c, amba_read_periphid).
		f.State = Unknown
	case slices.Contains(f.Compatible, wifi):
		f.State = Unknown
	}
	for _, c := range f.Compatible {
		switch m, ok := made[c]; {
		case !ok || f.State == None:
		case k.Has(m.module) && m.must:
			f.Modules = append(f.Modules, m.module)
		case k.Has(m.module):
			f.Makes = append(f.Makes, m.module)
		case m.must:
			f.State = None
		}
	}
	return f
}

// wifi is the compatible of the Wi-Fi chips that brcmfmac knows; the driver
// finds them by what they say on the SDIO bus.
const wifi = "brcm,bcm4329-fmac"

// usbDevice and pciDevice are how the tree names a device that sits on a bus
// where devices say what they are: vendor and product in hexadecimal
// (Documentation/devicetree/bindings/usb/usb-device.yaml; IEEE 1275 PCI Bus
// Binding, section 2.5).
var (
	usbDevice = regexp.MustCompile(`^usb([0-9a-f]{1,4}),([0-9a-f]{1,4})$`)
	pciDevice = regexp.MustCompile(`^pci([0-9a-f]{1,4}),([0-9a-f]{1,4})$`)
)

// usbHub says whether the node is a hub: a USB device with others behind it.
func usbHub(n *Node) bool {
	return len(n.Children) > 0 && slices.ContainsFunc(n.Compatible(), usbDevice.MatchString)
}

// xhci is what the class of a USB host controller looks like in a modalias
// (PCI Code and ID Assignment Specification, base class 0C, sub-class 03).
const xhci = "bc0Csc03i30"

// modaliases are the names by which the kernel asks for a driver of the
// device (drivers/of/module.c, of_modalias; scripts/mod/file2alias.c).
func modaliases(n *Node) []string {
	compatible := n.Compatible()
	if n.pciFunction() && len(compatible) == 0 {
		// The tree says where it is and not what; the name says which class.
		if n.Kind() != "usb" {
			return nil
		}
		return []string{"pci:v0000FFFFd0000FFFFsv0000FFFFsd0000FFFF" + xhci}
	}
	kind := n.text("device_type")
	if kind == "" {
		kind = "(null)"
	}
	of := "of:N" + n.Kind() + "T" + kind
	var list []string
	for _, c := range compatible {
		of += "C" + strings.ReplaceAll(c, " ", "_")
		if m := usbDevice.FindStringSubmatch(c); m != nil {
			list = append(list, fmt.Sprintf("usb:v%04Xp%04Xd0000dc00dsc00dp00ic00isc00ip00in00", hex(m[1]), hex(m[2])))
		}
		if m := pciDevice.FindStringSubmatch(c); m != nil {
			list = append(list, fmt.Sprintf("pci:v%08Xd%08Xsv00000000sd00000000bc00sc00i00", hex(m[1]), hex(m[2])))
		}
	}
	if len(compatible) > 0 {
		list = append(list, of)
	}
	return list
}

// hex is a number that a pattern has found to be one.
func hex(s string) uint64 {
	v, _ := strconv.ParseUint(s, 16, 32)
	return v
}

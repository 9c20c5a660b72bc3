package devicetree

import (
	"slices"
	"strings"

	"weft/boards"
)

// kinds are the kinds of devices that a model can be asked to have.
var kinds = map[string]struct {
	// is tells a node that is such a device.
	is func(*Node) bool
	// modules are those that no tree names: what is plugged in, and what
	// another driver makes.
	modules []string
	// storage says that a root file system may be on it.
	storage bool
}{
	boards.SD:       {isSD, []string{"mmc_block"}, true},
	boards.USB:      {isUSB, []string{"usb_storage", "uas", "sd_mod"}, true},
	boards.NVMe:     {isPCIe, []string{"nvme"}, true},
	boards.Ethernet: {isEthernet, nil, false},
}

// isSD knows controllers of SD cards and eMMC; the specification calls them
// mmc, trees of the Raspberry Pi also mmcnr. One with a device in it is wired
// to that, as to a Wi-Fi chip.
func isSD(n *Node) bool {
	return (n.Kind() == "mmc" || n.Kind() == "mmcnr") &&
		!slices.ContainsFunc(n.Children, func(c *Node) bool { return c.Value("compatible") != nil })
}

// isUSB knows host controllers of USB.
func isUSB(n *Node) bool {
	onUSB := slices.ContainsFunc(n.Compatible(), usbDevice.MatchString)
	return n.Kind() == "usb" && !onUSB && n.text("dr_mode") != "peripheral"
}

// isEthernet knows network interfaces, those on USB too.
func isEthernet(n *Node) bool { return n.Kind() == "ethernet" }

// isPCIe knows PCI Express with nothing soldered to it.
func isPCIe(n *Node) bool {
	if n.Value("compatible") == nil || n.text("device_type") != "pci" || !strings.HasPrefix(n.Kind(), "pci") {
		return false
	}
	for inner := range n.All() {
		if inner.pciFunction() {
			return false
		}
	}
	return true
}

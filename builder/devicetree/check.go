package devicetree

import (
	"slices"
	"strings"

	"weft/boards"
)

// A Finding is a device of a tree and its driver.
type Finding struct {
	// Path is the node.
	Path string `json:"path"`
	// Compatible are its names.
	Compatible []string `json:"compatible,omitempty"`
	// State says how it is driven.
	State State `json:"state"`
	// Modules are the loadable modules that do, by name.
	Modules []string `json:"modules,omitempty"`
	// Makes are modules of devices that its driver makes and no tree names.
	Makes []string `json:"makes,omitempty"`
	// Devices are those of the model that need it.
	Devices []string `json:"devices,omitempty"`
}

// A Device is one that must work.
type Device struct {
	// Name is a word of boards.Devices.
	Name string `json:"name"`
	// Works says whether it does.
	Works bool `json:"works"`
	// Modules are all that it takes, sorted.
	Modules []string `json:"modules,omitempty"`
}

// A Lack is why a device that must work does not.
type Lack struct {
	// Device is the device, a word of boards.Devices.
	Device string `json:"device"`
	// Path is the node that nothing drives, empty when the tree does not
	// describe the device at all.
	Path string `json:"path,omitempty"`
	// Compatible are the node's names.
	Compatible []string `json:"compatible,omitempty"`
	// For is the node of the device itself when Path is something that it
	// depends on.
	For string `json:"for,omitempty"`
	// Module is a module that the kernel does not have and that no tree
	// names, such as that of USB disks.
	Module string `json:"module,omitempty"`
}

// A Report is what a tree needs of a kernel.
type Report struct {
	// Findings are all devices that are in use.
	Findings []Finding `json:"findings"`
	// Devices are those that must work, in the order they were asked for.
	Devices []Device `json:"devices"`
	// Lacks are why devices that must work do not.
	Lacks []Lack `json:"lacks,omitempty"`
	// Boot are the modules that storage needs, Modules all of the tree,
	// those of Boot among them. Both are sorted.
	Boot    []string `json:"boot"`
	Modules []string `json:"modules"`
}

// Check matches a tree with a kernel. devices are what must work, words of
// boards.Devices.
func Check(t *Tree, devices []string, k Kernel) Report {
	c := checker{tree: t, kernel: k, at: map[*Node]int{}}
	for n := range t.Root.All() {
		if c.considered(n) {
			c.at[n] = len(c.report.Findings)
			c.report.Findings = append(c.report.Findings, drive(n, k))
		}
	}
	for _, name := range devices {
		c.device(name)
	}
	for _, f := range c.report.Findings {
		c.report.Modules = append(append(c.report.Modules, f.Modules...), f.Makes...)
	}
	c.report.Modules = tidy(c.report.Modules)
	c.report.Boot = tidy(c.report.Boot)
	return c.report
}

// tidy sorts a list and drops what is in it twice.
func tidy(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// A checker makes a report.
type checker struct {
	tree   *Tree
	kernel Kernel
	report Report
	// at is the place of a node among the findings.
	at map[*Node]int
}

// notDevices are the nodes at the top that describe no devices ([DT 0.4],
// chapter 3), though some of what is in them has a compatible.
var notDevices = []string{"aliases", "chosen", "cpus", "memory", "reserved-memory", "__symbols__"}

// considered says whether the kernel makes a device of a node.
func (c *checker) considered(n *Node) bool {
	if n.Parent == nil || n.device() != n || !n.Enabled() {
		return false
	}
	top := n
	for top.Parent.Parent != nil {
		top = top.Parent
	}
	return !slices.Contains(notDevices, top.Kind())
}

// device finds out whether a device works, and what it takes.
func (c *checker) device(name string) {
	kind := kinds[name]
	var candidates []*Node
	for n := range c.tree.Root.All() {
		if c.considered(n) && kind.is(n) {
			candidates = append(candidates, n)
		}
	}
	device := Device{Name: name}
	var lacks []Lack
	for _, n := range candidates {
		found := c.lacks(name, n)
		lacks = append(lacks, found...)
		// One socket that works is enough: the others may be for parts that a
		// machine is not fitted with.
		device.Works = device.Works || len(found) == 0
		device.Modules = append(device.Modules, c.claim(name, n)...)
	}
	if len(candidates) == 0 {
		lacks = append(lacks, Lack{Device: name})
	}
	for _, module := range kind.modules {
		if c.kernel.Has(module) {
			device.Modules = append(device.Modules, module)
			continue
		}
		lacks = append(lacks, Lack{Device: name, Module: module})
		device.Works = false
	}
	device.Modules = tidy(device.Modules)
	if !device.Works {
		c.report.Lacks = append(c.report.Lacks, lacks...)
	}
	if kind.storage {
		c.report.Boot = append(c.report.Boot, device.Modules...)
	}
	c.report.Modules = append(c.report.Modules, device.Modules...)
	c.report.Devices = append(c.report.Devices, device)
}

// claim notes that a device needs n with all that it depends on, and returns
// the modules of all that.
func (c *checker) claim(name string, n *Node) []string {
	var modules []string
	for _, need := range c.tree.needs(n) {
		i, ok := c.at[need]
		if !ok {
			continue
		}
		f := &c.report.Findings[i]
		if !slices.Contains(f.Devices, name) {
			f.Devices = append(f.Devices, name)
		}
		modules = append(modules, f.Modules...)
	}
	return modules
}

// lacks are the reasons why a device does not work.
func (c *checker) lacks(name string, n *Node) []Lack {
	var found []Lack
	for _, need := range c.tree.needs(n) {
		i, ok := c.at[need]
		if !ok {
			continue
		}
		f := c.report.Findings[i]
		if f.State != None {
			continue
		}
		l := Lack{Device: name, Path: f.Path, Compatible: f.Compatible}
		if need != n {
			l.For = n.Path()
		}
		found = append(found, l)
	}
	return found
}

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

package devicetree

import "slices"

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
	// Boot are the modules that storage needs, and those of sources of
	// randomness, which keys are waited for with; Modules are all of the tree,
	// those of Boot among them. Both are sorted.
	Boot    []string `json:"boot"`
	Modules []string `json:"modules"`
}

// Check matches a tree with a kernel. devices are what must work, words of
// boards.Devices. Overlays that the firmware will apply bring devices of their
// own; what they change in the tree is not looked at.
func Check(t *Tree, devices []string, k Kernel, overlays ...*Tree) Report {
	c := checker{tree: t, kernel: k, at: map[*Node]int{}}
	for n := range t.Root.All() {
		if !considered(n) {
			continue
		}
		f := drive(n, k)
		c.at[n] = len(c.report.Findings)
		c.report.Findings = append(c.report.Findings, f)
		if n.Kind() == "rng" {
			c.report.Boot = append(c.report.Boot, f.Modules...)
		}
	}
	for _, name := range devices {
		c.device(name)
	}
	for _, o := range overlays {
		for n := range o.Root.All() {
			if n.Value("compatible") != nil && n.overlaid() && n.Enabled() {
				c.report.Findings = append(c.report.Findings, drive(n, k))
			}
		}
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
func considered(n *Node) bool {
	if n.Parent == nil || n.device() != n || !n.Enabled() {
		return false
	}
	top := n
	for top.Parent.Parent != nil {
		top = top.Parent
	}
	return !slices.Contains(notDevices, top.Kind())
}

// Devices are the nodes in use that are a device, a word of boards.Devices.
func (t *Tree) Devices(name string) []*Node {
	var list []*Node
	for n := range t.Root.All() {
		if considered(n) && kinds[name].is(n) {
			list = append(list, n)
		}
	}
	return list
}

// overlaid says whether the node lies in what an overlay brings
// (Documentation/devicetree/overlay-notes.rst).
func (n *Node) overlaid() bool {
	for n = n.Parent; n != nil; n = n.Parent {
		if n.Name == "__overlay__" {
			return true
		}
	}
	return false
}

// device finds out whether a device works, and what it takes.
func (c *checker) device(name string) {
	kind := kinds[name]
	candidates := c.tree.Devices(name)
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

package devicetree

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"
)

// Path is where the node is, such as /soc/mmc@7e300000.
func (n *Node) Path() string {
	if n.Parent == nil {
		return "/"
	}
	var names []string
	for ; n.Parent != nil; n = n.Parent {
		names = append(names, n.Name)
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteString("/" + names[i])
	}
	return b.String()
}

// Kind is the node's name without its unit address: what kind of device it is
// ([DT 0.4], 2.2.2, "Generic Names Recommendation").
func (n *Node) Kind() string {
	kind, _, _ := strings.Cut(n.Name, "@")
	return kind
}

// Value is the value of a property, nil when the node does not have it.
func (n *Node) Value(name string) []byte {
	for _, p := range n.Properties {
		if p.Name == name {
			return p.Value
		}
	}
	return nil
}

// Strings are the strings that a property lists.
func (n *Node) Strings(name string) []string {
	value := n.Value(name)
	if len(value) == 0 {
		return nil
	}
	var list []string
	for s := range bytes.SplitSeq(bytes.TrimSuffix(value, []byte{0}), []byte{0}) {
		list = append(list, string(s))
	}
	return list
}

// text is a property of one string.
func (n *Node) text(name string) string {
	if list := n.Strings(name); len(list) > 0 {
		return list[0]
	}
	return ""
}

// cells are the 32-bit numbers of a property.
func (n *Node) cells(name string) []uint32 {
	value := n.Value(name)
	list := make([]uint32, len(value)/4)
	for i := range list {
		list[i] = binary.BigEndian.Uint32(value[4*i:])
	}
	return list
}

// number is a property of one number; def when the node does not have it.
func (n *Node) number(name string, def uint32) uint32 {
	if list := n.cells(name); len(list) == 1 {
		return list[0]
	}
	return def
}

// Compatible are the names of the devices that the node is, the most exact
// first.
func (n *Node) Compatible() []string { return n.Strings("compatible") }

// Enabled says whether the node and all it lies in are in use ([DT 0.4],
// 2.3.4; the kernel takes "ok" for "okay").
func (n *Node) Enabled() bool {
	for ; n != nil; n = n.Parent {
		if s := n.text("status"); s != "" && s != "okay" && s != "ok" {
			return false
		}
	}
	return true
}

// All goes through the node and what lies in it, in the order of the tree.
func (n *Node) All() iter.Seq[*Node] {
	return func(yield func(*Node) bool) { n.all(yield) }
}

func (n *Node) all(yield func(*Node) bool) bool {
	if !yield(n) {
		return false
	}
	for _, c := range n.Children {
		if !c.all(yield) {
			return false
		}
	}
	return true
}

// device is the node, or else the closest it lies in, that the kernel makes a
// device of: one with a compatible (drivers/of/property.c,
// of_get_compat_node), or a function on a PCI bus.
func (n *Node) device() *Node {
	for ; n != nil && n.Parent != nil; n = n.Parent {
		if n.Value("compatible") != nil || n.pciFunction() {
			return n
		}
	}
	return nil
}

// pciFunction says whether the node is a device found by looking at a PCI
// bus, and no bridge.
func (n *Node) pciFunction() bool {
	return n.Parent != nil && n.Parent.text("device_type") == "pci" && n.text("device_type") != "pci"
}

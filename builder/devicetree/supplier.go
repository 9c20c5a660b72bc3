package devicetree

import "strings"

// suppliers are the properties that name what a device cannot work without,
// each with the property of the named node that says how many numbers follow
// its phandle; none do where there is no such property. They are those of
// drivers/of/property.c, of_supplier_bindings, as far as machines without a
// screen have them, and firmware, by which power domains of a Raspberry Pi
// name it.
var suppliers = map[string]string{
	"clocks":              "#clock-cells",
	"dmas":                "#dma-cells",
	"firmware":            "",
	"hwlocks":             "#hwlock-cells",
	"interrupts-extended": "#interrupt-cells",
	"iommus":              "#iommu-cells",
	"io-channels":         "#io-channel-cells",
	"mboxes":              "#mbox-cells",
	"mmc-pwrseq":          "",
	"msi-parent":          "#msi-cells",
	"nvmem-cells":         "#nvmem-cell-cells",
	"phys":                "#phy-cells",
	"power-domains":       "#power-domain-cells",
	"pwms":                "#pwm-cells",
	"resets":              "#reset-cells",
}

// supplierCells says whether a property names suppliers, and by which of
// theirs the numbers after each phandle are counted.
func supplierCells(name string) (cells string, ok bool) {
	if cells, ok := suppliers[name]; ok {
		return cells, true
	}
	switch {
	case strings.HasSuffix(name, "-supply"), strings.HasPrefix(name, "pinctrl-") && name != "pinctrl-names":
		return "", true
	case name == "nr-gpios", strings.HasSuffix(name, ",nr-gpios"): // a count
		return "", false
	case strings.HasSuffix(name, "-gpios"), strings.HasSuffix(name, "-gpio"), name == "gpios":
		return "#gpio-cells", true
	}
	return "", false
}

// suppliersOf are the devices that n itself names, in the order of the tree's
// properties, and the one its interrupts go to. What is named and not in use
// is passed over, as the kernel does.
func (t *Tree) suppliersOf(n *Node) []*Node {
	var found []*Node
	add := func(s *Node) {
		if s = s.device(); s != nil && s != n && s.Enabled() {
			found = append(found, s)
		}
	}
	for _, p := range n.Properties {
		cells, ok := supplierCells(p.Name)
		if !ok {
			continue
		}
		for list := n.cells(p.Name); len(list) > 0; {
			s := t.phandles[list[0]]
			list = list[1:]
			if s == nil {
				continue // an entry left empty
			}
			add(s)
			if cells != "" {
				list = list[min(s.number(cells, 0), uint32(len(list))):]
			}
		}
	}
	if n.Value("interrupts") != nil {
		add(t.interruptParent(n))
	}
	return found
}

// interruptParent is the node that the interrupts of n go to ([DT 0.4], 2.4;
// drivers/of/irq.c, of_irq_find_parent); nil when the tree does not say.
func (t *Tree) interruptParent(n *Node) *Node {
	for range maxDepth {
		if n == nil {
			return nil
		}
		next := n.Parent
		if list := n.cells("interrupt-parent"); len(list) > 0 {
			next = t.phandles[list[0]]
		}
		if next != nil && next.Value("#interrupt-cells") != nil {
			return next
		}
		n = next
	}
	return nil
}

// needs are n, the devices it lies in, and the suppliers of all of them and
// of those, n first.
func (t *Tree) needs(n *Node) []*Node {
	list, known := []*Node{n}, map[*Node]bool{n: true}
	add := func(d *Node) {
		if d != nil && !known[d] {
			list, known[d] = append(list, d), true
		}
	}
	for i := 0; i < len(list); i++ {
		add(list[i].Parent.device())
		for _, s := range t.suppliersOf(list[i]) {
			add(s)
		}
	}
	return list
}

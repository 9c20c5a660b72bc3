package main

import (
	"fmt"
	"io"
	"path"
	"strings"

	"weft/builder/devicetree"
	"weft/builder/machine"
)

// writeIdle prints what nothing drives and nobody misses.
func writeIdle(w io.Writer, list []machine.Machine) error {
	var b strings.Builder
	for _, m := range list {
		if idle := m.Idle(); len(idle) > 0 {
			head := fmt.Sprintf("Nothing drives these of %s, and nothing that must work needs them:", m.Tree)
			b.WriteString("\n" + strings.Join(wrap(head, lineWidth), "\n") + "\n")
			for _, line := range wrap(strings.Join(idle, " "), lineWidth-2) {
				b.WriteString("  " + line + "\n")
			}
		}
	}
	if b.Len() > 0 {
		b.WriteString("Graphics, cameras, sound, Wi-Fi and Bluetooth are not looked at.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The columns of the table of devices.
const (
	nodeColumn  = 29
	stateColumn = 10
	forColumn   = 15
)

// writeDevices prints a table for each device tree: a line a device, with what
// drives it and which of the devices that must work need it.
func writeDevices(w io.Writer, list []machine.Machine) error {
	var b strings.Builder
	if len(list) == 0 {
		b.WriteString("the board's machines have no device trees\n")
	}
	for i, m := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s, %s\n%-*s%-*s%-*s%s\n", m.Model, m.Tree,
			nodeColumn, "DEVICE", stateColumn, "DRIVER", forColumn, "FOR", "MODULES")
		for _, f := range m.Findings {
			writeDevice(&b, f)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeDevice prints the lines of one device.
func writeDevice(b *strings.Builder, f devicetree.Finding) {
	node := path.Base(f.Path)
	if len(node) >= nodeColumn {
		fmt.Fprintln(b, node)
		node = ""
	}
	const indent = nodeColumn + stateColumn + forColumn
	needed := wrap(strings.Join(f.Devices, " "), forColumn-1)
	modules := wrap(strings.Join(append(f.Modules[:len(f.Modules):len(f.Modules)], f.Makes...), " "), lineWidth-indent)
	state := string(f.State)
	for i := range max(len(needed), len(modules)) {
		part := func(list []string) string {
			if i < len(list) {
				return list[i]
			}
			return ""
		}
		line := fmt.Sprintf("%-*s%-*s%-*s%s", nodeColumn, node, stateColumn, state, forColumn, part(needed), part(modules))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		node, state = "", ""
	}
}

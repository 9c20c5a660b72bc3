package contract

import (
	"fmt"
	"strings"

	"weft/builder/machine"
)

// Devices are what must work on the machines that a board is, by their device
// trees.
func Devices(list []machine.Machine) []Row {
	var rows []Row
	for _, m := range list {
		for _, d := range m.Devices {
			r := Row{Need: d.Name, Kind: Device, Met: d.Works, Why: fmt.Sprintf("%s, %s", m.Model, m.Tree), Path: m.Path()}
			r.By = strings.Join(d.Modules, ", ")
			if !d.Works {
				r.By, r.Fix = m.Lack(d.Name), m.Fix()
			} else if len(d.Modules) == 0 {
				r.By = "the kernel itself"
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// Package machine says what the models of a board need of a kernel, by their
// device trees, and whether the kernel has it.
//
// The trees are read and matched by package devicetree; this package knows
// boards and plans, and turns what is missing into problems of their lines.
// Boards whose machines have no device trees have no models, and nothing here
// says anything of them.
package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"weft/boards"
	"weft/builder/devicetree"
	"weft/builder/kmod"
	"weft/builder/plan"
	"weft/document"
)

// A Machine is one revision of a model.
type Machine struct {
	// Model is the model's name, Tree the file of its device tree.
	Model string `json:"model"`
	Tree  string `json:"tree"`
	// Data is the tree as the boot partition has it: that of the kernel, with
	// what the options of the board change.
	Data []byte `json:"-"`
	devicetree.Report

	// index is the model's place in the board.
	index int
	// key is the line of the board that says where the kernel comes from, fix
	// how to change it when devices do not work.
	key, fix string
}

// Check matches the trees of all models with the kernel of a plan. The
// overlays are those that the board names, by name. The problems are trees
// that the kernel does not have, devices that do not work though they must,
// and options that no tree can take.
func Check(p plan.Plan, k *kmod.Kernel, overlayFiles map[string][]byte) ([]Machine, document.Problems, error) {
	if len(p.Board.Models) == 0 {
		return nil, nil, nil
	}
	drivers, err := k.Devices()
	if err != nil {
		return nil, nil, err
	}
	var found document.Problems
	options := p.Board.RaspberryPi
	extra, faults := overlays(options, overlayFiles)
	for i, err := range faults {
		found = append(found, p.BoardProblem(document.Index("raspberryPi.overlays", i), err.Error()).
			WithFix("name an overlay that dtc has compiled"))
	}
	var list []Machine
	var could applied
	for i, m := range p.Board.Models {
		for j, name := range m.DeviceTrees {
			tree, data, err := read(k, name)
			if err != nil {
				key := document.Index(document.Join(document.Index("models", i), "deviceTrees"), j)
				found = append(found, p.BoardProblem(key, err.Error()).WithFix(treeFix(p)))
				continue
			}
			did := apply(options, tree)
			could = applied{could.fan || did.fan, could.pcie || did.pcie}
			machine := Machine{Model: m.Name, Tree: name, Data: data, index: i,
				Report: devicetree.Check(tree, m.Devices, drivers, extra...)}
			if did != (applied{}) {
				machine.Data = tree.Encode()
			}
			machine.key, machine.fix = kernelFix(p, i)
			list = append(list, machine)
		}
	}
	if options != nil && options.Fan != nil && !could.fan && len(list) > 0 {
		found = append(found, p.BoardProblem("raspberryPi.fan", "no tree of the board has a temperature to switch a fan by").WithFix("remove fan"))
	}
	if options != nil && options.PCIe != nil && !could.pcie && len(list) > 0 {
		found = append(found, p.BoardProblem("raspberryPi.pcie", "no tree of the board has a PCI Express socket").WithFix("remove pcie"))
	}
	found = append(found, problems(p, k.Release, list)...)
	found.Sort()
	return list, found, nil
}

// read reads a tree of the kernel.
func read(k *kmod.Kernel, name string) (*devicetree.Tree, []byte, error) {
	data, err := k.DeviceTree(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("kernel %s has no device tree %s", k.Release, name)
	}
	if err != nil {
		return nil, nil, err
	}
	tree, err := devicetree.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s of kernel %s: %w", name, k.Release, err)
	}
	return tree, data, nil
}

// Boot are the modules that the storage of any of the machines needs, and
// Modules all that any of them has a device for; both are sorted.
func Boot(list []Machine) []string {
	return union(list, func(m Machine) []string { return m.Boot })
}

// Modules is described at [Boot].
func Modules(list []Machine) []string {
	return union(list, func(m Machine) []string { return m.Modules })
}

func union(list []Machine, of func(Machine) []string) []string {
	var all []string
	for _, m := range list {
		all = append(all, of(m)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// problems are the devices that do not work though they must, one for each
// model, at the line that says where the kernel comes from.
func problems(p plan.Plan, release string, list []Machine) document.Problems {
	var found document.Problems
	told := map[int]bool{}
	for _, m := range list {
		if len(m.Lacks) == 0 || told[m.index] {
			continue
		}
		told[m.index] = true
		found = append(found, p.BoardProblem(m.key,
			fmt.Sprintf("%s on kernel %s: nothing drives %s", m.Model, release, lacking(m.Lacks))).
			WithNote(m.why(m.Lacks[0])).WithFix(m.fix))
	}
	return found
}

// names are the devices as people call them.
var names = map[string]string{boards.SD: "SD", boards.Ethernet: "Ethernet", boards.USB: "USB", boards.NVMe: "PCIe"}

// lacking lists the devices of some lacks.
func lacking(lacks []devicetree.Lack) string {
	var words []string
	for _, l := range lacks {
		if word := names[l.Device]; !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	text := words[0]
	for i, word := range words[1:] {
		if i == len(words)-2 {
			text += " and " + word
		} else {
			text += ", " + word
		}
	}
	return text
}

// why says in a few words why a device does not work.
func (m Machine) why(l devicetree.Lack) string {
	switch {
	case l.Module != "":
		return "no module " + l.Module
	case l.Path == "":
		return fmt.Sprintf("%s describes no %s", m.Tree, names[l.Device])
	case len(l.Compatible) > 0:
		return "no driver for " + l.Compatible[0]
	}
	return "no driver for " + l.Path
}

// Lack says in a few words why a device does not work.
func (m Machine) Lack(device string) string {
	var reasons []string
	for _, l := range m.Lacks {
		if reason := m.why(l); l.Device == device && !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return strings.Join(reasons, "; ")
}

// Fix says what to do about devices that do not work.
func (m Machine) Fix() string { return m.fix }

// Path is the key of the board that says what must work on the machine.
func (m Machine) Path() string {
	return document.Join(document.Index("models", m.index), "devices")
}

// Idle are the nodes that nothing drives and that nothing that must work
// needs, by their names.
func (m Machine) Idle() []string {
	var list []string
	for _, f := range m.Findings {
		if f.State == devicetree.None && len(f.Devices) == 0 {
			list = append(list, path.Base(f.Path))
		}
	}
	return list
}

// backports is what the suites are called that have newer kernels.
const backports = "-backports"

// kernelFix is the line to change when devices of a model do not work, and
// how.
func kernelFix(p plan.Plan, model int) (key, fix string) {
	device := fmt.Sprintf("or take the device out of models[%d].devices", model)
	k := p.Board.Kernel
	switch {
	case k.Package == "" && k.Deb != "":
		return "kernel.deb", "name a kernel that has the drivers, " + device
	case k.Package == "":
		return "kernel.dir", "name a kernel that has the drivers, " + device
	case k.Suite == "":
		return "kernel.package", fmt.Sprintf("use suite %s%s: add suite: %s%s below kernel", p.Board.Suite, backports, p.Board.Suite, backports)
	}
	return "kernel.suite", "name a suite with a newer kernel, " + device
}

// treeFix says where a tree that is missing may be found.
func treeFix(p plan.Plan) string {
	if k := p.Board.Kernel; k.Package != "" && k.Suite == "" {
		return fmt.Sprintf("newer kernels have more: use suite %s%s, or remove the tree", p.Board.Suite, backports)
	}
	return "take a kernel that has it, or remove the tree"
}

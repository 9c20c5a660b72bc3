package rpi

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"weft/builder/disk"
	"weft/profiles"
	"weft/slot"
)

// stageAdds is what the boot stage adds to the command line of a slot.
const stageAdds = " " + profiles.ArgRecord + "=" + profiles.RecordInGap + " " + profiles.OpenTimeout

// A Slot is what the boot stage would start of a slot: paths on the boot
// partition, empty when there are none.
type Slot struct {
	Slot            slot.Name `json:"slot"`
	Kernel          string    `json:"kernel"`
	Initramfs       string    `json:"initramfs"`
	CommandLineFile string    `json:"commandLineFile"`
	// CommandLine is what the slot's kernel is told.
	CommandLine string `json:"commandLine"`
}

// Staged reports whether the machine starts with the boot stage.
func (s Start) Staged() bool {
	return slices.Contains(strings.Fields(s.CommandLine), profiles.ArgStage)
}

// WithoutStage is the start with the first slot in place of the boot stage, as
// that hands over: kernel, initramfs and command line of the slot, and the
// device tree of the stage.
func (s Start) WithoutStage() Start {
	if len(s.Slots) > 0 {
		first := s.Slots[0]
		s.Kernel, s.Initramfs, s.CommandLineFile, s.CommandLine = first.Kernel, first.Initramfs, first.CommandLineFile, first.CommandLine
		s.Slots = nil
	}
	return s
}

// A stage is the boot stage of a disk and the slots that it would start, which
// are the same for all machines.
type stage struct {
	slots  []Slot
	faults []error
}

// findStage says what the boot stage of a disk would start, in the order in
// which it tries.
func findStage(d *disk.Image, boot fs.FS, kernels map[string]error) (s stage) {
	whole := d.Whole()
	for _, err := range slot.InGap.Faults(whole) {
		s.faults = append(s.faults, &Fault{Err: err})
	}
	record, err := slot.InGap.Load(whole)
	if err != nil {
		return s // told before
	}
	order := record.Order()
	if len(order) == 0 {
		s.faults = append(s.faults, &Fault{Err: errors.New("the slot record knows no slot")})
	}
	for _, n := range order {
		found, faults := findSlot(d.Layout, boot, n, kernels)
		s.slots = append(s.slots, found)
		for _, err := range faults {
			s.faults = append(s.faults, &Fault{Err: fmt.Errorf("slot %s: %w", n, err)})
		}
	}
	return s
}

// findSlot follows the boot stage through the files of a slot.
func findSlot(l disk.Layout, boot fs.FS, n slot.Name, kernels map[string]error) (s Slot, faults []error) {
	s.Slot = n
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if name := clean(n.Kernel()); !isFile(boot, name) {
		fault("kernel %s is missing", name)
	} else {
		s.Kernel = name
		if err := knownKernel(boot, name, kernels); err != nil {
			fault("kernel %s: %w", name, err)
		}
	}
	switch info, err := fs.Stat(boot, clean(n.Initrd())); {
	case err != nil:
		fault("initramfs %s is missing", clean(n.Initrd()))
	case info.Size() == 0:
		fault("initramfs %s is empty", clean(n.Initrd()))
	default:
		s.Initramfs = clean(n.Initrd())
	}
	name := clean(n.CommandLine())
	data, err := readBounded(boot, name, maxConfig)
	if err != nil {
		fault("command line %s is missing", name)
		return s, faults
	}
	s.CommandLineFile = name
	line, wrong := oneLine(string(data), slot.MaxCommandLine-len(stageAdds), "the boot stage")
	for _, what := range wrong {
		fault("command line %s %s", name, what)
	}
	s.CommandLine = line + stageAdds
	for _, err := range arguments(l, line, slotPartitions(n)) {
		fault("command line %s: %w", name, err)
	}
	if want := profiles.ArgSlot + "=" + string(n); !slices.Contains(strings.Fields(line), want) {
		fault("command line %s: %s is missing", name, want)
	}
	return s, faults
}

// slotPartitions are the partitions that the command line of a slot names.
func slotPartitions(n slot.Name) []named {
	root := disk.RootA
	if n == slot.B {
		root = disk.RootB
	}
	return []named{
		{profiles.ArgRoot, []string{root}},
		{profiles.ArgBoot, []string{disk.Boot}},
		{profiles.ArgData, []string{disk.Data}},
	}
}

// stageArguments checks the command line of the boot stage.
func stageArguments(l disk.Layout, line string) []error {
	errs := arguments(l, line, []named{{profiles.ArgBoot, []string{disk.Boot}}})
	if !slices.Contains(strings.Fields(line), oneCPU) {
		errs = append(errs, fmt.Errorf("%s is missing, without which up to Raspberry Pi 4 no slot can be started", oneCPU))
	}
	return errs
}

// oneLine is a command line of at most most characters, to which others add
// theirs, and what is wrong with the file that holds it.
func oneLine(text string, most int, others string) (line string, wrong []string) {
	line, rest, _ := strings.Cut(text, "\n")
	line = strings.TrimSpace(line)
	switch {
	case strings.TrimSpace(rest) != "":
		wrong = append(wrong, "has more than one line; the first is read")
	case line == "":
		wrong = append(wrong, "is empty")
	case len(line) > most:
		wrong = append(wrong, fmt.Sprintf("has %d characters; with those of %s the kernel takes %d", len(line), others, most))
	}
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
		wrong = append(wrong, "holds characters that are not ASCII")
	}
	return line, wrong
}

// isFile reports whether a partition has a file.
func isFile(boot fs.FS, name string) bool {
	info, err := fs.Stat(boot, name)
	return err == nil && info.Mode().IsRegular()
}

// knownKernel checks a kernel once.
func knownKernel(boot fs.FS, name string, kernels map[string]error) error {
	err, known := kernels[name]
	if !known {
		err = checkKernel(boot, name)
		kernels[name] = err
	}
	return err
}

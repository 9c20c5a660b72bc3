package inspect

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"weft/builder/rpi"
	"weft/profiles"
	"weft/slot"
)

// A Report is what an image is, for people and for programs.
type Report struct {
	System     profiles.System      `json:"system"`
	Disk       string               `json:"disk"`
	Table      string               `json:"table"`
	Size       int64                `json:"size"`
	Partitions []Partition          `json:"partitions"`
	Boot       []File               `json:"boot"`
	Entries    []string             `json:"entries"`
	Slots      map[string]SlotState `json:"slots,omitempty"`
	Starts     []rpi.Start          `json:"raspberryPi,omitempty"`
	NodeFile   string               `json:"nodeFile,omitempty"`
	Root       Contents             `json:"root"`
	Modules    []string             `json:"modules"`
	Needs      []string             `json:"needs"`
	Data       *Data                `json:"data,omitempty"`
	Faults     []string             `json:"faults"`
}

// A Partition is an entry of the partition table; sizes are in bytes.
type Partition struct {
	Name  string `json:"name"`
	Start int64  `json:"start"`
	Size  int64  `json:"size"`
	ID    string `json:"id"`
	Type  string `json:"type"`
}

// A SlotState is what the BIOS loader or the boot stage knows of a slot.
type SlotState struct {
	Good      bool  `json:"good"`
	TriesLeft uint8 `json:"triesLeft"`
	TriesDone uint8 `json:"triesDone"`
}

// Contents counts the files of a file system and their bytes.
type Contents struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Data is the data partition's file system; sizes are in bytes.
type Data struct {
	Size  int64 `json:"size"`
	Free  int64 `json:"free"`
	Clean bool  `json:"clean"`
}

// Report gathers what the image is.
func (i *Image) Report() Report {
	r := Report{
		System:  i.System,
		Disk:    i.Disk.Layout.DiskID(),
		Size:    i.Disk.Layout.Size,
		Entries: i.Entries(),
		Modules: []string{},
		Needs:   []string{},
		Table:   i.Disk.Layout.Table.String(),
		Starts:  i.Starts,
		Faults:  []string{},
	}
	for _, err := range i.Faults {
		r.Faults = append(r.Faults, err.Error())
	}
	l := i.Disk.Layout
	for _, p := range l.Partitions {
		r.Partitions = append(r.Partitions, Partition{p.Name, p.Start, p.Size, l.PartUUID(p), l.TypeName(p)})
	}
	if i.Boot != nil {
		r.Boot = r.list("boot partition", i.Boot)
	}
	if i.Root != nil {
		r.countRoot(r.list("root", i.Root))
	}
	if i.Slots != nil {
		r.Slots = map[string]SlotState{}
		for _, n := range []slot.Name{slot.A, slot.B} {
			if s := i.Slots.Slot(n); s.Present {
				r.Slots[string(n)] = SlotState{s.Good, s.TriesLeft, s.TriesDone}
			}
		}
	}
	for _, need := range i.Contract.Modules {
		r.Needs = append(r.Needs, need.Name)
	}
	if node, ok := i.NodeFile(); ok {
		r.NodeFile = string(node)
	}
	if i.Data != nil {
		r.Data = &Data{i.Data.Size, i.Data.Free, i.Data.Clean}
	}
	return r
}

// list lists a file system's files; a fault in it is noted.
func (r *Report) list(part string, fsys fs.FS) []File {
	files, err := Files(fsys)
	if err != nil {
		r.Faults = append(r.Faults, fmt.Sprintf("%s: %v", part, err))
	}
	return files
}

// countRoot counts the root's files and names its modules.
func (r *Report) countRoot(files []File) {
	for _, f := range files {
		if !strings.HasPrefix(f.Mode, "-") {
			continue
		}
		r.Root.Files++
		r.Root.Bytes += f.Size
		if _, name, ok := strings.Cut(f.Path, "/kernel/"); ok {
			name = name[strings.LastIndexByte(name, '/')+1:]
			if stem, _, ok := strings.Cut(name, ".ko"); ok {
				r.Modules = append(r.Modules, stem)
			}
		}
	}
}

// Write prints the report for people.
func (r Report) Write(w io.Writer) error {
	r.writeSystem(w)
	fmt.Fprintf(w, "\ndisk %s, %s, %s\n", r.Disk, r.Table, mebibytes(r.Size))
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "  partition\tstart\tsize\tPARTUUID")
	for _, p := range r.Partitions {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", p.Name, mebibytes(p.Start), mebibytes(p.Size), p.ID)
	}
	table.Flush()
	fmt.Fprintln(w, "\nboot partition")
	for _, f := range r.Boot {
		if strings.HasPrefix(f.Mode, "-") {
			fmt.Fprintf(table, "  %s\t%s\n", f.Path, kibibytes(f.Size))
		}
	}
	table.Flush()
	for _, n := range []string{"a", "b"} {
		if s, ok := r.Slots[n]; ok && len(r.Starts) == 0 {
			fmt.Fprintf(w, "  BIOS slot %s: %s\n", n, s)
		}
	}
	node := "none; the node derives everything"
	if r.NodeFile != "" {
		node = "\n    " + strings.ReplaceAll(strings.TrimSpace(r.NodeFile), "\n", "\n    ")
	}
	fmt.Fprintf(w, "  node file: %s\n", node)
	r.writeStarts(w)
	fmt.Fprintf(w, "\nroot: %d files, %s, %d modules\n", r.Root.Files, mebibytes(r.Root.Bytes), len(r.Modules))
	if len(r.Needs) > 0 {
		fmt.Fprintln(w, "  the profile needs")
		for line := range wrap(r.Needs, lineWidth) {
			fmt.Fprintf(w, "    %s\n", line)
		}
	}
	if r.Data != nil {
		state := "clean"
		if !r.Data.Clean {
			state = "in use or not unmounted in order"
		}
		fmt.Fprintf(w, "\ndata: ext4, %s, %s free, %s\n", mebibytes(r.Data.Size), mebibytes(r.Data.Free), state)
	}
	for _, fault := range r.Faults {
		fmt.Fprintf(w, "\nfault: %s\n", fault)
	}
	return nil
}

// writeStarts prints what the firmware of each Raspberry Pi would load. What
// all have in common is printed once.
func (r Report) writeStarts(w io.Writer) {
	if len(r.Starts) == 0 {
		return
	}
	fmt.Fprintln(w, "\nwhat the firmware of each Raspberry Pi loads, by config.txt")
	for _, s := range r.Starts {
		from := "its EEPROM"
		if len(s.Firmware) > 0 {
			from = strings.Join(s.Firmware, ", ")
		}
		fmt.Fprintf(w, "  %s\n    starts with   %s\n    kernel        %s\n    initramfs     %s\n    device tree   %s (%s)\n",
			s.Model, from, s.Kernel, s.Initramfs, s.DeviceTree, s.Tree)
		if len(s.Overlays) > 0 {
			fmt.Fprintf(w, "    overlays      %s\n", strings.Join(s.Overlays, ", "))
		}
		if s.Hint != "" {
			fmt.Fprintf(w, "    note: %s\n", s.Hint)
		}
	}
	first := r.Starts[0]
	writeCommandLine(w, first.CommandLineFile, first.CommandLine)
	if !first.Staged() {
		return
	}
	fmt.Fprintln(w, "\nthat is the boot stage, which starts the first slot it can")
	for _, s := range first.Slots {
		fmt.Fprintf(w, "  slot %s: %s\n    kernel        %s\n    initramfs     %s\n",
			s.Slot, r.Slots[string(s.Slot)], s.Kernel, s.Initramfs)
		writeCommandLine(w, s.CommandLineFile, s.CommandLine)
	}
}

func writeCommandLine(w io.Writer, from, line string) {
	fmt.Fprintf(w, "  command line, from %s:\n", from)
	for text := range wrapWords(strings.Fields(line), lineWidth) {
		fmt.Fprintf(w, "    %s\n", text)
	}
}

// writeSystem prints what the image says of itself.
func (r Report) writeSystem(w io.Writer) {
	s := r.System
	if s.ID == "" {
		fmt.Fprintln(w, "a disk that does not say what it is")
		return
	}
	fmt.Fprintf(w, "weft %s image %.16s: %s on %s (%s)\n", s.Version, s.ID, s.Profile, s.Board, s.Arch)
	fmt.Fprintf(w, "kernel %s, time %s\n", s.Kernel, time.Unix(s.Epoch, 0).UTC().Format(time.RFC3339))
}

// lineWidth is how long lines of names may get, in characters.
const lineWidth = 74

// wrap joins names by commas to lines of at most width characters.
func wrap(names []string, width int) iter.Seq[string] {
	words := slices.Clone(names)
	for i := range len(words) - 1 {
		words[i] += ","
	}
	return wrapWords(words, width)
}

// wrapWords joins words by spaces to lines of at most width characters.
func wrapWords(words []string, width int) iter.Seq[string] {
	return func(yield func(string) bool) {
		line := ""
		for _, name := range words {
			if line != "" && len(line)+1+len(name) > width {
				if !yield(line) {
					return
				}
				line = ""
			}
			line = strings.TrimPrefix(line+" "+name, " ")
		}
		if line != "" {
			yield(line)
		}
	}
}

// String says what a slot's counters mean.
func (s SlotState) String() string {
	if s.Good {
		return "good"
	}
	return fmt.Sprintf("to prove itself, %d tries left", s.TriesLeft)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
func kibibytes(n int64) string { return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10)) }

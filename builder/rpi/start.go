package rpi

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"weft/builder/devicetree"
)

const (
	// maxKernel bounds an unpacked kernel; Debian's has 50 MB.
	maxKernel = 256 << 20
	// maxTree is what Linux takes (Documentation/arch/arm64/booting.rst).
	maxTree = 2 << 20
	// maxCommandLine is the kernel's limit of 2048 (COMMAND_LINE_SIZE in
	// arch/arm64/include/uapi/asm/setup.h) less what the firmware adds:
	// addresses, serial number, frame buffer.
	maxCommandLine = 2048 - 512
)

// A Start is what the firmware of a machine would load.
type Start struct {
	// Model is the machine's name.
	Model string `json:"model"`
	// Firmware are the files that the machine starts with.
	Firmware []string `json:"firmware"`
	// Kernel, Initramfs, DeviceTree and CommandLineFile are paths on the boot
	// partition; empty when there are none.
	Kernel          string `json:"kernel"`
	Initramfs       string `json:"initramfs"`
	DeviceTree      string `json:"deviceTree"`
	CommandLineFile string `json:"commandLineFile"`
	// Overlays are paths of overlays that change the tree.
	Overlays []string `json:"overlays,omitempty"`
	// CommandLine is what the kernel is told, before the firmware's own
	// additions.
	CommandLine string `json:"commandLine"`
	// Tree is what the device tree calls the machine.
	Tree string `json:"tree"`
	// Slots are what the boot stage would start, in the order in which it
	// tries; empty when the machine does not start with it.
	Slots []Slot `json:"slots,omitempty"`
	// Hint says what is worth knowing of the model; empty mostly.
	Hint string `json:"hint,omitempty"`
}

// A Fault is a reason why a machine would not boot, or not as meant.
type Fault struct {
	// Model is the machine's name; empty for a fault of the disk.
	Model string
	// Err says what is wrong.
	Err error
}

// Error names the model.
func (f *Fault) Error() string {
	if f.Model == "" {
		return f.Err.Error()
	}
	return f.Model + ": " + f.Err.Error()
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Err }

// A finder follows the firmware of one machine.
type finder struct {
	boot     fs.FS
	machine  Machine
	settings Settings
	faults   []error
	start    Start
	kernels  map[string]error // what is known of kernels looked at before
}

// Find says what the firmware of a machine would load from a boot partition,
// and all that is wrong with it, as values of [Fault].
func Find(boot fs.FS, m Machine) (Start, []error) {
	return find(boot, m, map[string]error{})
}

func find(boot fs.FS, m Machine, kernels map[string]error) (Start, []error) {
	f := finder{boot: boot, machine: m, kernels: kernels, start: Start{Model: m.Name, Firmware: []string{}, Hint: m.hint}}
	f.firmware()
	settings, err := Read(boot, m)
	if err != nil {
		f.fault("config.txt cannot be read: %w", err)
		return f.start, f.faults
	}
	f.settings = settings
	for _, s := range settings.Cut {
		f.fault("%s:%d: the line is longer than the %d characters that the firmware reads", s.File, s.Line, lineLimit)
	}
	if !settings.On("arm_64bit", m.wide) {
		f.fault("config.txt does not say arm_64bit=1, so the firmware starts a 32-bit kernel")
	}
	prefix := f.prefix()
	f.kernel(prefix)
	f.initramfs(prefix)
	f.tree(prefix)
	f.overlays(prefix)
	f.commandLine(prefix)
	return f.start, f.faults
}

// fault notes what is wrong.
func (f *finder) fault(format string, args ...any) {
	f.faults = append(f.faults, &Fault{f.machine.Name, fmt.Errorf(format, args...)})
}

// firmware looks for the files that the machine itself starts with.
func (f *finder) firmware() {
	for _, name := range f.machine.firmware {
		info, err := fs.Stat(f.boot, name)
		switch {
		case err != nil:
			f.fault("firmware file %s is missing", name)
		case info.Size() == 0:
			f.fault("firmware file %s is empty", name)
		default:
			f.start.Firmware = append(f.start.Firmware, name)
		}
	}
}

// prefix is os_prefix, or none when kernel and tree are not there: then the
// firmware ignores it. upstream_kernel has a default of its own [config.txt,
// "os_prefix"].
func (f *finder) prefix() string {
	prefix := f.settings.Text("os_prefix", "")
	if prefix == "" && f.settings.On("upstream_kernel", false) {
		prefix = "upstream/"
	}
	if prefix == "" {
		return ""
	}
	if f.exists(prefix+f.kernelName(prefix)) && f.exists(prefix+f.treeName()) {
		return prefix
	}
	if _, set := f.settings.Value("os_prefix"); set {
		f.fault("os_prefix=%s is ignored: it does not hold both %s and %s", prefix, f.kernelName(prefix), f.treeName())
	}
	return ""
}

// kernelName is the name of the kernel without the prefix.
func (f *finder) kernelName(prefix string) string {
	if name := f.settings.Text("kernel", ""); name != "" {
		return name
	}
	for _, name := range f.machine.kernels {
		if f.exists(prefix + name) {
			return name
		}
	}
	return f.machine.kernels[0]
}

// treeName is the name of the device tree without the prefix.
func (f *finder) treeName() string {
	if name := f.settings.Text("device_tree", ""); name != "" {
		return name
	}
	return f.machine.ask(f.settings.On("upstream_kernel", false))
}

func (f *finder) exists(name string) bool { return isFile(f.boot, clean(name)) }

// kernel looks at the kernel.
func (f *finder) kernel(prefix string) {
	name := prefix + f.kernelName(prefix)
	if !f.exists(name) {
		f.fault("kernel %s is missing", name)
		return
	}
	f.start.Kernel = clean(name)
	if err := knownKernel(f.boot, f.start.Kernel, f.kernels); err != nil {
		f.fault("kernel %s: %w", name, err)
	}
}

// The header of an arm64 kernel (Documentation/arch/arm64/booting.rst,
// section 4).
const (
	imageHeader  = 64
	imageMagicAt = 56
	imageFlagsAt = 24
)

// checkKernel checks a kernel to its last byte: an Image of arm64, plain or
// compressed by gzip, which the firmware unpacks.
func checkKernel(boot fs.FS, name string) error {
	file, err := boot.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	head := make([]byte, 2)
	if _, err := io.ReadFull(file, head); err != nil {
		return fmt.Errorf("it ends within two bytes: %w", err)
	}
	whole := io.MultiReader(bytes.NewReader(head), file)
	if head[0] == 0x1f && head[1] == 0x8b {
		unpacked, err := gzip.NewReader(whole)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		whole = unpacked
	}
	header := make([]byte, imageHeader)
	if _, err := io.ReadFull(whole, header); err != nil {
		return fmt.Errorf("no arm64 Image: %w", err)
	}
	if string(header[imageMagicAt:][:4]) != "ARM\x64" {
		return errors.New("no arm64 Image: the magic number ARM\\x64 is missing")
	}
	// Bits 1 and 2 are the page size; the Raspberry Pi 3 and 4 know 4 KiB
	// and 64 KiB only, and most programs 4 KiB.
	if pages := binary.LittleEndian.Uint64(header[imageFlagsAt:]) >> 1 & 3; pages > 1 {
		return errors.New("its pages are not of 4 KiB")
	}
	n, err := io.Copy(io.Discard, io.LimitReader(whole, maxKernel))
	if err != nil {
		return fmt.Errorf("it is damaged: %w", err)
	}
	if n == maxKernel {
		return fmt.Errorf("it is larger than %d MiB", maxKernel>>20)
	}
	return nil
}

// initramfs looks at the initramfs.
func (f *finder) initramfs(prefix string) {
	s, ok := f.settings.Value("initramfs")
	if !ok {
		f.fault("config.txt has no line \"initramfs FILE followkernel\" (without a =), so the root cannot be found")
		return
	}
	words := strings.Fields(s.Value)
	if len(words) == 0 || strings.HasPrefix(words[0], "=") {
		f.fault("%s:%d: initramfs names no file; write \"initramfs FILE followkernel\"", s.File, s.Line)
		return
	}
	name := prefix + words[0]
	info, err := fs.Stat(f.boot, clean(name))
	switch {
	case err != nil:
		f.fault("initramfs %s is missing", name)
	case info.Size() == 0:
		f.fault("initramfs %s is empty", name)
	default:
		f.start.Initramfs = clean(name)
	}
	if len(words) < 2 || words[1] != "followkernel" && words[1] != "0" {
		f.fault("%s:%d: initramfs %s does not say followkernel, so it may lie where the kernel unpacks itself", s.File, s.Line, words[0])
	}
}

// tree looks at the device tree.
func (f *finder) tree(prefix string) {
	name := prefix + f.treeName()
	if !f.exists(name) {
		f.fault("device tree %s is missing", name)
		return
	}
	data, err := readBounded(f.boot, clean(name), maxTree)
	if err != nil {
		f.fault("device tree %s: %w", name, err)
		return
	}
	tree, err := devicetree.Parse(data)
	if err != nil {
		f.fault("device tree %s: %w", name, err)
		return
	}
	f.start.DeviceTree = clean(name)
	if list := tree.Root.Strings("model"); len(list) > 0 {
		f.start.Tree = list[0]
	}
	if list := tree.Root.Compatible(); !slices.Contains(list, f.machine.compatible) {
		f.fault("device tree %s is for %q, not %s", name, list, f.machine.compatible)
	}
	if path.Base(name) == f.machine.Tree {
		f.start.Hint = ""
	}
}

// overlays looks for the overlays. They are below the prefix only when that
// has an overlays folder with a README [config.txt, "overlay_prefix"].
func (f *finder) overlays(prefix string) {
	dir := f.settings.Text("overlay_prefix", "overlays/")
	if f.exists(prefix + dir + "README") {
		dir = prefix + dir
	}
	for _, s := range f.settings.List {
		if s.Key != "dtoverlay" && s.Key != "device_tree_overlay" {
			continue
		}
		name, _, _ := strings.Cut(s.Value, ",")
		if name, _, _ = strings.Cut(name, ":"); name == "" {
			continue
		}
		file := dir + strings.TrimSuffix(name, ".dtbo") + ".dtbo"
		if !f.exists(file) {
			f.fault("%s:%d: overlay %s is missing", s.File, s.Line, file)
			continue
		}
		f.start.Overlays = append(f.start.Overlays, clean(file))
	}
}

// commandLine looks at the command line.
func (f *finder) commandLine(prefix string) {
	name := prefix + f.settings.Text("cmdline", CommandLineFile)
	data, err := readBounded(f.boot, clean(name), maxConfig)
	if err != nil {
		f.fault("command line %s is missing", name)
		return
	}
	f.start.CommandLineFile = clean(name)
	// The firmware passes on the first line and nothing else.
	line, wrong := oneLine(string(data), maxCommandLine, "the firmware")
	f.start.CommandLine = line
	for _, what := range wrong {
		f.fault("command line %s %s", name, what)
	}
}

// clean is a path as package fs wants it.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// readBounded reads a file of bounded size.
func readBounded(fsys fs.FS, name string, most int64) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return data, nil
}

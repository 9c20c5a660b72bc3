package boards

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weft/document"
)

// Limits of a board file.
const (
	// MinBoot is the smallest boot partition, in MiB. A FAT32 file system
	// has at least 65,525 clusters (FAT specification 1.03, section 3.5);
	// with clusters of 512 bytes, two tables and the reserved sectors that
	// is 33 MiB, and partitions begin at multiples of 1 MiB.
	MinBoot = 36
	// MaxBoot is the largest boot partition, in MiB.
	MaxBoot = 2048
	// MinSlot and MaxSlot bound a root partition, in MiB.
	MinSlot, MaxSlot = 16, 4096
	// MinData and MaxData bound the data partition in the image, in MiB; init
	// grows it at first boot, so a large one would only make large images.
	MinData, MaxData = 32, 128
	// MinMemory is the least memory of the virtual machine, in MiB, in which
	// a kernel, its initramfs and OVMF fit together.
	MinMemory = 128
)

// maxArgument is the longest single kernel argument taken, in bytes; the
// whole line has 2048 bytes on x86 (COMMAND_LINE_SIZE, arch/x86/include/asm/setup.h).
const maxArgument = 256

// Architectures, Components, Tables, Loaders and Signatures are the values that
// the keys of those names take.
var (
	Architectures = []string{"amd64", "arm64"}
	Components    = []string{"main", "contrib", "non-free", "non-free-firmware"}
	Tables        = []string{GPT, MBR}
	Loaders       = []string{UEFI, BIOS, RaspberryPiLoader}
	Signatures    = []string{Keep, Strip}
)

// The values of [Disk.Table].
const (
	GPT = "gpt"
	MBR = "mbr"
)

// The values of [Disk.Loaders].
const (
	UEFI              = "uefi"
	BIOS              = "bios"
	RaspberryPiLoader = "raspberrypi"
)

// The values of [Kernel.Signatures].
const (
	Keep  = "keep"
	Strip = "strip"
)

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	packagePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	modulePattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	consolePattern = regexp.MustCompile(`^tty[A-Za-z]*[0-9]*(,[0-9]+([noe][5-8]?r?)?)?$`)
	machinePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.,=+-]*$`)
)

// rules are what a board file must keep. HW stands for hardware.
var rules = []document.Rule[Board]{
	{ID: "HW1", Source: "the file's own format", Check: checkVersion},
	{ID: "HW2", Source: "names are parts of file names and of kernel arguments", Check: checkNames},
	{ID: "HW3", Source: "Debian's architectures that weft has a boot loader for", Check: checkArch},
	{ID: "HW4", Source: "Debian Policy 5.6.1 (package names), the archive's areas", Check: checkPackages},
	{ID: "HW5", Source: "a node has one kernel", Check: checkKernel},
	{ID: "HW6", Source: "partition tables weft can write", Check: checkTable},
	{ID: "HW7", Source: "boot loaders weft can install", Check: checkLoaders},
	{ID: "HW8", Source: "FAT specification 1.03, section 3.5; size of an image", Check: checkSizes},
	{ID: "HW9", Source: "Documentation/admin-guide/serial-console.rst", Check: checkConsoles},
	{ID: "HW10", Source: "module names of the kernel; MODULE_NAME_LEN 56", Check: checkModules},
	{ID: "HW11", Source: "Documentation/admin-guide/kernel-parameters.rst", Check: checkArguments},
	{ID: "HW12", Source: "qemu-system(1): -machine, -cpu, -m", Check: checkQEMU},
	{ID: "HW13", Source: "what weft does with the signatures of modules", Check: checkSignatures},
	{ID: "HW14", Source: "Devicetree Specification 0.4; the trees of Debian's kernel packages", Check: checkModels},
	{ID: "HW15", Source: "Raspberry Pi documentation, config.txt", Check: checkRaspberryPi},
}

func checkVersion(b Board, d *document.Document) document.Problems {
	if b.Weft == Version {
		return nil
	}
	return document.Problems{d.Problem("weft", "a board file says which format it has").
		WithFix("write weft: " + Version)}
}

func checkNames(b Board, d *document.Document) document.Problems {
	var found document.Problems
	if !namePattern.MatchString(b.Name) || len(b.Name) > 63 {
		found = append(found, d.Problem("name", "name must be lower-case letters, digits, dots and hyphens").
			WithFix("give the board a short name, such as x86-64"))
	}
	if strings.ContainsAny(b.Description, "\n\r") {
		found = append(found, d.Problem("description", "description must be one line"))
	}
	return found
}

func checkArch(b Board, d *document.Document) document.Problems {
	return oneOf(d, "arch", b.Arch, Architectures)
}

func checkTable(b Board, d *document.Document) document.Problems {
	found := oneOf(d, "disk.table", b.Disk.Table, Tables)
	pi := slices.Contains(b.Disk.Loaders, RaspberryPiLoader)
	switch {
	case b.Disk.Table == GPT && pi:
		found = append(found, d.Problem("disk.table", "not every Raspberry Pi reads GPT").WithFix("write table: mbr"))
	case b.Disk.Table == MBR && !pi && len(b.Disk.Loaders) > 0:
		found = append(found, d.Problem("disk.table", "mbr is for the loader raspberrypi only").WithFix("write table: gpt"))
	}
	return found
}

// oneOf wants a value to be one of those known.
func oneOf(d *document.Document, path, value string, known []string) document.Problems {
	if slices.Contains(known, value) {
		return nil
	}
	message := fmt.Sprintf("%s cannot be %q", path, value)
	if value == "" {
		message = path + " is missing"
	}
	return document.Problems{d.Problem(path, message).WithFix(document.DidYouMean(value, known))}
}

func checkPackages(b Board, d *document.Document) document.Problems {
	var found document.Problems
	if !namePattern.MatchString(b.Suite) {
		found = append(found, d.Problem("suite", "suite must be the name of a Debian suite").
			WithFix("write suite: trixie"))
	}
	for i, c := range b.Components {
		found = append(found, oneOf(d, document.Index("components", i), c, Components)...)
	}
	if s := b.Kernel.Suite; s != "" {
		switch {
		case !namePattern.MatchString(s):
			found = append(found, d.Problem("kernel.suite", "kernel.suite must be the name of a Debian suite").
				WithFix("write suite: trixie-backports"))
		case b.Kernel.Package == "":
			found = append(found, d.Problem("kernel.suite", "only a kernel package comes from a suite").WithFix("remove suite"))
		}
	}
	if p := b.Kernel.Package; p != "" && !packagePattern.MatchString(p) {
		found = append(found, d.Problem("kernel.package", fmt.Sprintf("%q is no Debian package name", p)))
	}
	for i, f := range b.Firmware {
		if !packagePattern.MatchString(f) {
			found = append(found, d.Problem(document.Index("firmware", i), fmt.Sprintf("%q is no Debian package name", f)))
		}
	}
	found = append(found, unique(d, "components", b.Components)...)
	return append(found, unique(d, "firmware", b.Firmware)...)
}

// unique wants no value of a list to be there twice.
func unique(d *document.Document, path string, list []string) document.Problems {
	var found document.Problems
	seen := make(map[string]int, len(list))
	for i, v := range list {
		first, twice := seen[v]
		if !twice {
			seen[v] = i
			continue
		}
		p := d.Problem(document.Index(path, i), fmt.Sprintf("%s is in the list twice", v)).WithFix("remove one")
		if at := d.Position(document.Index(path, first)); at.Line > 0 {
			p.Note = "first in line " + strconv.Itoa(at.Line)
		}
		found = append(found, p)
	}
	return found
}

func checkKernel(b Board, d *document.Document) document.Problems {
	given := 0
	for _, s := range []string{b.Kernel.Package, b.Kernel.Deb, b.Kernel.Dir} {
		if s != "" {
			given++
		}
	}
	switch given {
	case 1:
		return nil
	case 0:
		return document.Problems{d.Problem("kernel", "the board names no kernel").
			WithFix("set kernel.package, kernel.deb or kernel.dir")}
	}
	return document.Problems{d.KeyProblem("kernel", fmt.Sprintf("the board names %d kernels", given)).
		WithFix("keep one of package, deb and dir")}
}

func checkLoaders(b Board, d *document.Document) document.Problems {
	if len(b.Disk.Loaders) == 0 {
		return document.Problems{d.Problem("disk.loaders", "the disk has no boot loader").
			WithFix("write loaders: [uefi], [uefi, bios] or [raspberrypi]")}
	}
	var found document.Problems
	for i, l := range b.Disk.Loaders {
		path := document.Index("disk.loaders", i)
		found = append(found, oneOf(d, path, l, Loaders)...)
		switch {
		case l == BIOS && b.Arch == "arm64":
			found = append(found, d.Problem(path, "arm64 machines have no BIOS").WithFix("remove bios"))
		case l == RaspberryPiLoader && b.Arch != "arm64":
			found = append(found, d.Problem(path, "weft's Raspberry Pi is arm64").WithFix("write arch: arm64"))
		case l == RaspberryPiLoader && len(b.Disk.Loaders) > 1:
			found = append(found, d.Problem(path, "raspberrypi shares a disk with no other loader").
				WithFix("write loaders: [raspberrypi]"))
		}
	}
	return append(found, unique(d, "disk.loaders", b.Disk.Loaders)...)
}

func checkSizes(b Board, d *document.Document) document.Problems {
	var found document.Problems
	for _, s := range []struct {
		path            string
		value, min, max int
		why             string
	}{
		{"disk.boot", b.Disk.Boot, MinBoot, MaxBoot, "FAT32 needs 65525 clusters"},
		{"disk.slot", b.Disk.Slot, MinSlot, MaxSlot, ""},
		{"disk.data", b.Disk.Data, MinData, MaxData, "it grows at first boot"},
	} {
		found = append(found, inRange(d, s.path, s.value, s.min, s.max, "MiB", s.why)...)
	}
	return found
}

// inRange wants a number to be within bounds.
func inRange(d *document.Document, path string, value, low, high int, unit, why string) document.Problems {
	if value >= low && value <= high {
		return nil
	}
	if !d.Has(path) {
		return document.Problems{d.Problem(path, path+" is missing").
			WithFix(fmt.Sprintf("give it %d to %d %s", low, high, unit))}
	}
	return document.Problems{d.Problem(path, fmt.Sprintf("%s must be %d to %d %s, not %d", path, low, high, unit, value)).
		WithNote(why)}
}

package boards

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weft/document"
)

// Devices are the values of [Model.Devices], Pictures those of
// [RaspberryPi.HDMI], BootStages those of [RaspberryPi.BootStage].
var (
	Devices    = []string{SD, Ethernet, USB, NVMe}
	Pictures   = []string{HDMIAuto, HDMIOn, HDMIOff}
	BootStages = []string{BootStageOn, BootStageOff}
)

// Filters are the sections of config.txt for models that boot a 64-bit kernel
// and have device trees of their own (Raspberry Pi documentation, config.txt,
// model filters). What is in pi3 the models of pi3+ read too, likewise pi4 and
// pi400, pi5 and pi500.
var Filters = []string{"pi02", "pi3", "pi3+", "pi4", "pi400", "cm4", "pi5", "pi500", "cm5"}

var (
	// treePattern is what a tree is called in a kernel package: the maker's
	// folder and the file.
	treePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*/[A-Za-z0-9][A-Za-z0-9_.,+-]*\.dtb$`)
	// filePattern is what a file of the firmware package is called.
	filePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	// parameterPattern is a parameter of an overlay: name or name=value.
	parameterPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+(=[A-Za-z0-9_.:+/-]*)?$`)
)

func checkModels(b Board, d *document.Document) document.Problems {
	var found document.Problems
	names := make([]string, len(b.Models))
	for i, m := range b.Models {
		path := document.Index("models", i)
		names[i] = m.Name
		if m.Name == "" || len(m.Name) > 63 || strings.ContainsAny(m.Name, "\n\r") {
			found = append(found, d.Problem(document.Join(path, "name"), "a model needs a name of one line").
				WithFix("write what its maker calls it"))
		}
		if len(m.DeviceTrees) == 0 {
			found = append(found, d.Problem(document.Join(path, "deviceTrees"), "a model needs a device tree").
				WithFix("write deviceTrees: [broadcom/bcm2711-rpi-4-b.dtb]"))
		}
		trees := document.Join(path, "deviceTrees")
		for j, t := range m.DeviceTrees {
			found = append(found, checkTree(b, d, document.Index(trees, j), t)...)
		}
		found = append(found, unique(d, trees, m.DeviceTrees)...)
		devices := document.Join(path, "devices")
		if len(m.Devices) == 0 {
			found = append(found, d.Problem(devices, "a model must say what has to work").
				WithFix("write devices: [sd, ethernet]"))
		}
		for j, dev := range m.Devices {
			found = append(found, oneOf(d, document.Index(devices, j), dev, Devices)...)
		}
		found = append(found, unique(d, devices, m.Devices)...)
		found = append(found, checkPiModel(b, m, d, path)...)
	}
	return append(found, unique(d, "models", names)...)
}

// checkPiModel checks what only the models of a Raspberry Pi have.
func checkPiModel(b Board, m Model, d *document.Document, path string) document.Problems {
	var found document.Problems
	if slices.Contains(b.Disk.Loaders, RaspberryPiLoader) {
		found = append(found, oneOf(d, document.Join(path, "filter"), m.Filter, Filters)...)
	} else if m.Filter != "" || len(m.Firmware) > 0 {
		found = append(found, d.Problem(path, "filter and firmware are for the loader raspberrypi").WithFix("remove them"))
	}
	for j, f := range m.Firmware {
		if !filePattern.MatchString(f) {
			found = append(found, d.Problem(document.Index(document.Join(path, "firmware"), j), fmt.Sprintf("%q is no file name", f)).
				WithFix("write the name without its folder: start4.elf"))
		}
	}
	return append(found, unique(d, document.Join(path, "firmware"), m.Firmware)...)
}

// checkTree wants the name of a device tree of a kernel package.
func checkTree(b Board, d *document.Document, path, tree string) document.Problems {
	switch {
	case b.Arch != "arm64":
		return document.Problems{d.Problem(path, "only kernels for arm64 have device trees").WithFix("remove it")}
	case !treePattern.MatchString(tree):
		return document.Problems{d.Problem(path, fmt.Sprintf("%q is no device tree of a kernel package", tree)).
			WithFix("write the maker's folder and the file: broadcom/bcm2711-rpi-4-b.dtb")}
	}
	return nil
}

// Limits of what the firmware takes.
const (
	// minGPU and maxGPU bound the graphics processor's memory, in MiB
	// (config.txt, gpu_mem). With 16 the firmware takes other files, start_cd.elf
	// and fixup_cd.dat, which can do less.
	minGPU, maxGPU = 32, 512
	// maxGPIO is the last pin that the header has.
	maxGPIO = 27
	// maxLine is the length of a line of config.txt: the firmware ignores what
	// is beyond 98 characters.
	maxLine = 98
)

func checkRaspberryPi(b Board, d *document.Document) document.Problems {
	pi := slices.Contains(b.Disk.Loaders, RaspberryPiLoader)
	switch {
	case b.RaspberryPi == nil && !pi:
		return nil
	case b.RaspberryPi == nil:
		return document.Problems{d.Problem("raspberryPi", "the loader raspberrypi needs firmware").
			WithFix("write raspberryPi: {package: raspi-firmware, serial: true}")}
	case !pi:
		return document.Problems{d.KeyProblem("raspberryPi", "raspberryPi is for the loader raspberrypi").WithFix("remove it")}
	}
	var found document.Problems
	r := *b.RaspberryPi
	if len(b.Models) == 0 {
		found = append(found, d.Problem("models", "the loader raspberrypi needs models").
			WithFix("name the models, each with its device tree"))
	}
	if !packagePattern.MatchString(r.Package) {
		found = append(found, d.Problem("raspberryPi.package", fmt.Sprintf("%q is no Debian package name", r.Package)).
			WithFix("write package: raspi-firmware"))
	}
	if r.HDMI != "" {
		found = append(found, oneOf(d, "raspberryPi.hdmi", r.HDMI, Pictures)...)
	}
	if r.BootStage != "" {
		found = append(found, oneOf(d, "raspberryPi.bootStage", r.BootStage, BootStages)...)
	}
	if d.Has("raspberryPi.gpuMemory") {
		found = append(found, inRange(d, "raspberryPi.gpuMemory", r.GPUMemory, minGPU, maxGPU, "MiB", "")...)
	}
	if r.Fan != nil {
		found = append(found, inRange(d, "raspberryPi.fan.gpio", r.Fan.GPIO, 2, maxGPIO, "as a pin of the header", "0 and 1 read the EEPROM of a HAT")...)
		found = append(found, inRange(d, "raspberryPi.fan.temperature", r.Fan.Temperature, 30, 80, "degrees", "the processor slows down at 80")...)
	}
	if r.PCIe != nil {
		found = append(found, inRange(d, "raspberryPi.pcie.generation", r.PCIe.Generation, 1, 3, "as a generation", "")...)
	}
	found = append(found, checkOverlays(r.Overlays, d)...)
	return append(found, checkConfig(r.Config, d)...)
}

// checkOverlays checks the overlays that a Raspberry Pi is told to apply.
func checkOverlays(overlays []Overlay, d *document.Document) document.Problems {
	var found document.Problems
	for i, o := range overlays {
		path := document.Index("raspberryPi.overlays", i)
		if !filePattern.MatchString(o.Name) || strings.HasSuffix(o.Name, ".dtbo") {
			found = append(found, d.Problem(document.Join(path, "name"), fmt.Sprintf("%q is no name of an overlay", o.Name)).
				WithFix("write the file's name without folder and .dtbo: gpio-fan"))
		}
		if strings.ContainsAny(o.File, "\n\r") {
			found = append(found, d.Problem(document.Join(path, "file"), "a path is one line"))
		}
		for j, p := range o.Parameters {
			if !parameterPattern.MatchString(p) {
				found = append(found, d.Problem(document.Index(document.Join(path, "parameters"), j), fmt.Sprintf("%q is no parameter of an overlay", p)).
					WithFix("write name or name=value"))
			}
		}
	}
	return found
}

// ownLines are the settings of config.txt that the builder writes.
var ownLines = []string{"arm_64bit", "kernel", "initramfs", "cmdline", "device_tree", "os_prefix", "overlay_prefix",
	"upstream_kernel", "include", "auto_initramfs", "enable_uart", "gpu_mem", "dtoverlay"}

// checkConfig checks lines for the end of config.txt.
func checkConfig(lines []string, d *document.Document) document.Problems {
	var found document.Problems
	for i, line := range lines {
		path := document.Index("raspberryPi.config", i)
		setting, _, _ := strings.Cut(line, "=")
		setting, _, _ = strings.Cut(strings.TrimSpace(setting), " ")
		switch {
		case line == "" || len(line) > maxLine || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }):
			found = append(found, d.Problem(path, "a line of config.txt has 1 to "+strconv.Itoa(maxLine)+" characters of plain ASCII"))
		case slices.Contains(ownLines, setting):
			found = append(found, d.Problem(path, setting+" is written by the builder").
				WithFix("remove it; overlays, memory and serial console have keys of their own"))
		}
	}
	return found
}

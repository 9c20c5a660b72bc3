package kmod

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// A Driver is a module that answers to a device.
type Driver struct {
	// Name is the module's name, with underscores.
	Name string
	// BuiltIn says that it is part of the kernel itself.
	BuiltIn bool
}

// Devices are the devices that a kernel has drivers for.
type Devices struct {
	kernel *Kernel
	// of are modules by the compatible they answer to, patterns all other
	// aliases by the bus they begin with.
	of       map[string][]string
	patterns map[string][]aliasPattern
	// compatibles are those that the kernel itself has drivers for.
	compatibles map[string]bool
}

// buses are the prefixes of the aliases that are read. Devices of a tree on I2C
// and SPI are asked for by of too (drivers/i2c/i2c-core-base.c,
// i2c_device_uevent).
var buses = []string{"of", "pci", "usb"}

// read are the folders whose modules are read for the devices they drive, and
// unread those in them that are not: a node of a network has no use for
// graphics, cameras, sensors, Wi-Fi and Bluetooth, and disk controllers of
// servers are in no device tree. They are two thirds of all bytes.
var (
	read   = []string{"kernel/drivers/", "updates/"}
	unread = []string{
		"kernel/drivers/bluetooth/", "kernel/drivers/gpu/", "kernel/drivers/iio/", "kernel/drivers/infiniband/",
		"kernel/drivers/md/", "kernel/drivers/media/", "kernel/drivers/net/wireless/", "kernel/drivers/scsi/",
		"kernel/drivers/staging/", "kernel/drivers/video/",
		// Sound and cameras of the Raspberry Pi, by way of its firmware.
		"kernel/drivers/platform/raspberrypi/",
	}
)

// drives says whether a module's path is in one of the folders that are read.
func drives(file string) bool {
	within := func(folder string) bool { return strings.HasPrefix(file, folder) }
	return slices.ContainsFunc(read, within) && !slices.ContainsFunc(unread, within)
}

// The kinds of cache entries, by the digest of the kernel; that of devices
// also by which folders are read.
const (
	keyDevices     = "kmod-devices-"
	keyCompatibles = "kmod-compatibles-"
)

// Devices reads what devices the kernel has drivers for, of those that a node
// of a network has. For that some 1,800 modules are read, which takes up to
// 10 s of processor time; with a cache and a digest, see [WithDigest], once
// for each kernel.
func (k *Kernel) Devices() (*Devices, error) {
	d := &Devices{kernel: k, of: map[string][]string{}, patterns: map[string][]aliasPattern{}, compatibles: map[string]bool{}}
	which := sha256.Sum256([]byte(strings.Join(slices.Concat(buses, read, unread), "\n")))
	aliases, err := k.whole(keyDevices+hex.EncodeToString(which[:])+"-", k.deviceAliases)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(aliases)) {
		alias, module, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			return nil, fmt.Errorf("devices of kernel %s: %.40q is not ALIAS MODULE", k.Release, line)
		}
		d.add(alias, module)
	}
	for module, i := range k.builtin.infos {
		for _, alias := range i.aliases {
			d.add(alias, module)
		}
	}
	compatibles, err := k.whole(keyCompatibles, k.builtinCompatibles)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(compatibles)) {
		d.compatibles[strings.TrimSuffix(line, "\n")] = true
	}
	return d, nil
}

// whole returns what the cache has for the kernel as a whole, or makes it.
func (k *Kernel) whole(kind string, make func() ([]byte, error)) ([]byte, error) {
	if k.cache == nil || k.digest == "" {
		return make()
	}
	if value, ok := k.cache.Get(kind + k.digest); ok {
		return value, nil
	}
	value, err := make()
	if err == nil {
		k.cache.Put(kind+k.digest, value)
	}
	return value, err
}

// deviceAliases are the aliases of loadable modules that tell of devices: lines
// of alias and module.
func (k *Kernel) deviceAliases() ([]byte, error) {
	var names []string
	for name, file := range k.modules {
		if drives(file) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	infos, err := k.load(names)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, name := range names {
		for _, alias := range infos[name].aliases {
			if bus, _, ok := strings.Cut(alias, ":"); ok && slices.Contains(buses, bus) {
				fmt.Fprintf(&b, "%s %s\n", alias, name)
			}
		}
	}
	return b.Bytes(), nil
}

// anyDevice is how an alias begins that asks for nothing but a compatible
// (scripts/mod/file2alias.c, do_of_entry).
const anyDevice = "of:N*T*C"

// add takes in an alias.
func (d *Devices) add(alias, module string) {
	bus, _, ok := strings.Cut(alias, ":")
	if !ok || !slices.Contains(buses, bus) {
		return
	}
	if compatible, ok := strings.CutPrefix(alias, anyDevice); ok {
		// Each alias is there a second time, with C* behind it for devices
		// that have more names.
		compatible = strings.TrimSuffix(compatible, "C*")
		if !strings.ContainsAny(compatible, "*?[") {
			if list := d.of[compatible]; !slices.Contains(list, module) {
				d.of[compatible] = append(list, module)
			}
			return
		}
	}
	d.patterns[bus] = append(d.patterns[bus], aliasPattern{alias, module})
}

// Match returns the modules that answer to a modalias, sorted by name.
func (d *Devices) Match(modalias string) []Driver {
	var names []string
	bus, rest, _ := strings.Cut(modalias, ":")
	if bus == "of" {
		// No name of a node has a capital C in it, and no type.
		parts := strings.Split(rest, "C")
		for _, compatible := range parts[1:] {
			names = append(names, d.of[compatible]...)
		}
	}
	for _, p := range d.patterns[bus] {
		// A malformed pattern matches nothing, as for fnmatch(3).
		if ok, err := path.Match(p.pattern, modalias); ok && err == nil {
			names = append(names, p.module)
		}
	}
	slices.Sort(names)
	var found []Driver
	for _, name := range slices.Compact(names) {
		found = append(found, Driver{Name: name, BuiltIn: d.kernel.Builtin(name)})
	}
	return found
}

// BuiltIn says whether the kernel itself has a driver for a compatible.
func (d *Devices) BuiltIn(compatible string) bool { return d.compatibles[compatible] }

// Has says whether there is a module of that name, loadable or built in.
func (d *Devices) Has(module string) bool { return d.kernel.Has(module) }

// builtinCompatibles are the names of devices in the tables of drivers that
// the kernel holds, a line each. Kernels before 6.18 list them nowhere else.
func (k *Kernel) builtinCompatibles() ([]byte, error) {
	if k.Arch != "arm64" {
		return nil, nil
	}
	file, err := k.fsys.Open(k.ImagePath)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.ImagePath, err)
	}
	defer file.Close()
	plain, err := gunzipped(file)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.ImagePath, err)
	}
	image, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.ImagePath, err)
	}
	list := slices.Compact(slices.Sorted(slices.Values(compatiblesIn(image))))
	return []byte(strings.Join(list, "\n") + "\n"), nil
}

// The table of a driver is a list of struct of_device_id
// (include/linux/mod_devicetable.h): a name and a type, which hardly any
// driver asks for, and a compatible, each padded with NULs; then a pointer,
// so that entries begin at multiples of eight.
const (
	idNames      = 32 + 32 // name and type
	idCompatible = 128
	idAlign      = 8
)

// compatiblesIn finds the compatibles of all tables in a kernel.
func compatiblesIn(image []byte) []string {
	var none [idCompatible]byte
	var found []string
	for at := idNames; at+idCompatible <= len(image); at += idAlign {
		if image[at] == 0 || !bytes.Equal(image[at-idNames:at], none[:idNames]) {
			continue
		}
		field := image[at : at+idCompatible]
		end := bytes.IndexByte(field, 0)
		if end < 2 || !bytes.Equal(field[end:], none[end:]) {
			continue
		}
		if !slices.ContainsFunc(field[:end], func(c byte) bool { return c <= ' ' || c > '~' }) {
			found = append(found, string(field[:end]))
		}
	}
	return found
}

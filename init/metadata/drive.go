package metadata

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Drive is a disk on which a hypervisor hands in configuration.
type Drive struct {
	// Device is the block device, Type its file system, as mount(2) takes it.
	Device, Type string
	// Modules are what the kernel needs for it.
	Modules []string
	// File is what is read, from the root of the drive; Read reads it.
	File string
	Read func([]byte) (Data, error)
}

// Places of volume labels.
const (
	// The primary volume descriptor of ISO 9660 is in sector 16; its volume
	// identifier is bytes 41 to 72 of it (ECMA-119 section 8.4).
	isoDescriptor = 16 * 2048
	isoLabel      = isoDescriptor + 40
	isoLabelSize  = 32
	// The volume label of a FAT, by its kind: [FAT 1.03] pages 11 and 12.
	fat16Label, fat16Kind = 43, 54
	fat32Label, fat32Kind = 71, 82
	fatLabelSize          = 11
)

// FindDrive finds a drive labelled cidata (NoCloud) or config-2 (OpenStack)
// among the block devices listed in the folder sys, whose nodes are in dev.
// The first by name counts.
func FindDrive(sys, dev string) (Drive, bool) {
	entries, err := os.ReadDir(sys)
	if err != nil {
		return Drive{}, false // no block devices at all
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		device := filepath.Join(dev, e.Name())
		label, kind := readLabel(device)
		d := Drive{Device: device, Type: kind, Modules: []string{"isofs"}}
		if kind == "vfat" {
			d.Modules = []string{"vfat", "nls_cp437", "nls_ascii"}
		}
		switch strings.ToLower(label) {
		case "cidata":
			d.File, d.Read = "meta-data", nameDrive("nocloud", NoCloud)
			return d, true
		case "config-2":
			d.File, d.Read = "openstack/latest/meta_data.json", nameDrive("configdrive", ConfigDrive)
			return d, true
		}
	}
	return Drive{}, false
}

// nameDrive makes a reader name its platform.
func nameDrive(name string, read func([]byte) (Data, error)) func([]byte) (Data, error) {
	return func(body []byte) (Data, error) {
		data, err := read(body)
		data.Platform = name
		return data, err
	}
}

// readLabel reads the volume label of a device and what kind of file system
// has it; empty for others, and for devices that cannot be read (an empty
// drive is one).
func readLabel(device string) (label, kind string) {
	f, err := os.Open(device)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	head := make([]byte, 512)
	if _, err := f.ReadAt(head, 0); err != nil {
		return "", ""
	}
	text := func(b []byte) string { return strings.TrimRight(string(b), " \x00") }
	if head[510] == 0x55 && head[511] == 0xaa {
		for _, at := range [][2]int{{fat16Label, fat16Kind}, {fat32Label, fat32Kind}} {
			if bytes.HasPrefix(head[at[1]:], []byte("FAT")) {
				return text(head[at[0] : at[0]+fatLabelSize]), "vfat"
			}
		}
	}
	iso := make([]byte, isoLabel+isoLabelSize-isoDescriptor)
	if _, err := f.ReadAt(iso, isoDescriptor); err != nil || string(iso[1:6]) != "CD001" || iso[0] != 1 {
		return "", ""
	}
	return text(iso[isoLabel-isoDescriptor:]), "iso9660"
}

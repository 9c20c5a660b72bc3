// Package inspect reads a finished image, whoever made it, and says what is in
// it.
//
// It trusts nothing: each part is read by the package of its format, and a
// part that cannot be read is reported and does not hide the others.
package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"weft/builder/disk"
	"weft/builder/erofs"
	"weft/builder/fat"
	"weft/builder/rpi"
	"weft/document"
	"weft/ext4"
	"weft/profiles"
	"weft/slot"
)

// maxSmallFile bounds the files of an image that are read whole, in bytes.
const maxSmallFile = 1 << 20

// An Image is an image opened for reading. Parts that could not be read are
// nil or zero, and Faults says why.
type Image struct {
	// Disk is the partition table.
	Disk *disk.Image
	// Boot is the boot partition.
	Boot *fat.FS
	// Root is the root of slot A.
	Root fs.FS
	// System and Contract are what the builder told init.
	System   profiles.System
	Contract profiles.Contract
	// Profile is the resolved profile.
	Profile profiles.Profile
	// Slots is the record of the BIOS loader or of the boot stage; nil when the
	// disk has neither.
	Slots *slot.Record
	// Data is the data partition's file system.
	Data *ext4.Info
	// Starts are what the firmware of each Raspberry Pi that the image is for
	// would load.
	Starts []rpi.Start
	// Faults are the parts that are damaged or missing, each with the reason.
	Faults []error
}

// Open reads an image of size bytes. It fails only when there is no partition
// table; everything else wrong is among the image's faults.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	d, err := disk.Open(r, size)
	if err != nil {
		return nil, err
	}
	i := &Image{Disk: d}
	if d.Damage != nil {
		i.fault("partition table", d.Damage)
	}
	i.openBoot()
	i.openRoot()
	if p, ok := d.Section(disk.BIOS); ok {
		if record, err := slot.Load(p); err != nil {
			i.fault("BIOS slot record", err)
		} else {
			i.Slots = &record
		}
	}
	i.openData()
	i.followFirmware()
	return i, nil
}

// fault notes that a part is damaged.
func (i *Image) fault(part string, err error) {
	i.Faults = append(i.Faults, fmt.Errorf("%s: %w", part, err))
}

// section returns a partition, or notes that there is none.
func (i *Image) section(name string) (*io.SectionReader, bool) {
	s, ok := i.Disk.Section(name)
	if !ok {
		i.fault(name, errors.New("no such partition; is it an image of weft?"))
	}
	return s, ok
}

func (i *Image) openBoot() {
	s, ok := i.section(disk.Boot)
	if !ok {
		return
	}
	boot, err := fat.Open(s, s.Size())
	if err != nil {
		i.fault(disk.Boot, err)
		return
	}
	i.Boot = boot
}

// openRoot opens the root and reads what the builder told init.
func (i *Image) openRoot() {
	s, ok := i.section(disk.RootA)
	if !ok {
		return
	}
	root, err := erofs.Open(s)
	if err != nil {
		i.fault(disk.RootA, err)
		return
	}
	i.Root = root
	i.readJSON(profiles.SystemFile, &i.System)
	i.readJSON(profiles.ContractFile, &i.Contract)
	data, err := readSmall(root, profiles.ProfileFile)
	if err != nil {
		i.fault(profiles.ProfileFile, err)
		return
	}
	var problems document.Problems
	i.Profile, _, problems = profiles.Read(profiles.ProfileFile, data)
	if err := problems.Errors(); err != nil {
		i.fault("profile", err)
	}
}

func (i *Image) readJSON(name string, into any) {
	data, err := readSmall(i.Root, name)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		i.fault(name, err)
	}
}

func (i *Image) openData() {
	s, ok := i.section(disk.Data)
	if !ok {
		return
	}
	info, err := ext4.Probe(s)
	if err != nil {
		i.fault(disk.Data, err)
		return
	}
	i.Data = &info
}

// followFirmware says what Raspberry Pis would load.
func (i *Image) followFirmware() {
	if i.Disk.Layout.Table != disk.MBR || len(i.System.Trees) == 0 {
		return
	}
	starts, faults := rpi.Prove(i.Disk, i.Boot, i.System.Trees)
	i.Starts, i.Faults = starts, append(i.Faults, faults...)
	if slices.ContainsFunc(starts, rpi.Start.Staged) {
		// What is wrong with it is among the faults.
		if record, err := slot.InGap.Load(i.Disk.Whole()); err == nil {
			i.Slots = &record
		}
	}
}

// readSmall reads a file of bounded size; the name may begin with a slash.
func readSmall(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(strings.TrimPrefix(name, "/"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmallFile+1))
	if len(data) > maxSmallFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxSmallFile)
	}
	return data, err
}

// Entries lists the boot loader's entries by file name.
func (i *Image) Entries() []string {
	if i.Boot == nil {
		return nil
	}
	names, err := fs.ReadDir(i.Boot, strings.TrimPrefix(slot.EntriesDir, "/"))
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range names {
		list = append(list, e.Name())
	}
	return list
}

// NodeFile returns the node file, and whether there is one.
func (i *Image) NodeFile() ([]byte, bool) {
	if i.Boot == nil {
		return nil, false
	}
	data, err := readSmall(i.Boot, profiles.NodeFile)
	return data, err == nil
}

// A File is one file of a partition.
type File struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	Mode string `json:"mode"`
}

// Files lists what is in a file system, in the order of paths.
func Files(fsys fs.FS) ([]File, error) {
	var list []File
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, File{path.Join("/", name), info.Size(), info.Mode().String()})
		return nil
	})
	return list, err
}

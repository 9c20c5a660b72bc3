// Package storage finds the node's partitions, keeps the data partition whole
// and lets it grow to the end of its disk.
//
// It edits partition tables only to move a GPT's backup to the end of the
// disk, to lengthen the last partition of a GPT or an MBR, and to set a damaged
// data partition aside. File systems are made by package ext4; there is no
// e2fsck on a node: what its journal cannot put right, and the kernel refuses
// to mount, is beyond repair here.
package storage

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weft/init/uevent"
)

// Sector is the unit of sizes in sysfs, whatever the disk's own is
// (Documentation/ABI/stable/sysfs-block).
const Sector = 512

// A Partition is one partition of a disk.
type Partition struct {
	// Name and Disk are kernel names, such as vda4 and vda.
	Name, Disk string
	// ID is its PARTUUID, in lower case; empty when the table gives none.
	ID string
	// Number counts from 1.
	Number int
	// Start and Size are in units of [Sector].
	Start, Size uint64
}

// Device is the path of its device file.
func (p Partition) Device() string { return "/dev/" + p.Name }

// DiskDevice is the path of its disk's device file.
func (p Partition) DiskDevice() string { return "/dev/" + p.Disk }

// List returns the disks, by name, and their partitions, as sysfs mounted at
// sys shows them now. Kernels from 6.13 tell a partition's PARTUUID in its
// uevent file (block/partitions/core.c, part_uevent); for older ones it is
// read from the disk's table, below dev.
func List(sys, dev string) (disks []string, parts []Partition) {
	entries, err := os.ReadDir(filepath.Join(sys, "class/block"))
	if err != nil {
		return nil, nil
	}
	tables := make(map[string]map[int]string)
	for _, e := range entries {
		dir := filepath.Join(sys, "class/block", e.Name())
		text, err := os.ReadFile(filepath.Join(dir, "uevent"))
		if err != nil {
			continue // it has just gone
		}
		env := uevent.ParseEnv(string(text), "\n")
		if env["DEVTYPE"] != "partition" {
			disks = append(disks, e.Name())
			continue
		}
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		number, _ := strconv.Atoi(env["PARTN"])
		p := Partition{
			Name: e.Name(), Disk: filepath.Base(filepath.Dir(real)),
			ID: strings.ToLower(env["PARTUUID"]), Number: number,
			Start: number64(filepath.Join(dir, "start")), Size: number64(filepath.Join(dir, "size")),
		}
		if p.ID == "" {
			if tables[p.Disk] == nil {
				tables[p.Disk] = readIDs(filepath.Dir(real), filepath.Join(dev, p.Disk))
			}
			p.ID = tables[p.Disk][number]
		}
		parts = append(parts, p)
	}
	return disks, parts
}

// readIDs reads the ids of a disk's partitions, by their numbers, from its
// table. dir is the disk's folder in sysfs.
func readIDs(dir, device string) map[int]string {
	ids := make(map[int]string)
	f, err := os.Open(device)
	if err != nil {
		return ids
	}
	defer f.Close()
	d := Disk{SectorSize: int(number64(filepath.Join(dir, "queue/logical_block_size")))}
	if d.SectorSize < Sector {
		d.SectorSize = Sector
	}
	d.Sectors = number64(filepath.Join(dir, "size")) * Sector / uint64(d.SectorSize)
	return IDs(f, d)
}

// IDs returns the PARTUUIDs of a disk's partitions by their numbers, spelled
// as the kernel does: a GPT's unique GUIDs, or an MBR's signature and the
// partition's number. Both copies of a GPT are tried.
func IDs(r io.ReaderAt, d Disk) map[int]string {
	ids := make(map[int]string)
	t, err := ReadTable(r, d, 1)
	if err != nil {
		t, err = ReadTable(r, d, d.Sectors-1)
	}
	if err == nil {
		for i := range t.Count() {
			if e, ok := t.Entry(i); ok {
				ids[i+1] = e.ID
			}
		}
		return ids
	}
	// An MBR ends in 55 AA and has its signature at byte 440 (UEFI 2.10 table
	// 5.1); a protective one alone is no table.
	mbr := make([]byte, Sector)
	if _, err := r.ReadAt(mbr, 0); err != nil || mbr[510] != 0x55 || mbr[511] != 0xaa {
		return ids
	}
	for n := range 4 {
		if kind := mbr[446+16*n+4]; kind != 0 && kind != 0xee {
			ids[n+1] = fmt.Sprintf("%08x-%02x", binary.LittleEndian.Uint32(mbr[440:]), n+1)
		}
	}
	return ids
}

// Find returns the partition with a PARTUUID.
func Find(parts []Partition, id string) (Partition, bool) {
	i := slices.IndexFunc(parts, func(p Partition) bool { return p.ID != "" && p.ID == strings.ToLower(id) })
	if i < 0 {
		return Partition{}, false
	}
	return parts[i], true
}

// Seen says in one line which disks and partitions there are, for a person
// who wonders why theirs was not found. Loop and RAM disks are left out.
func Seen(disks []string, parts []Partition) string {
	var all []string
	for _, d := range disks {
		if strings.HasPrefix(d, "loop") || strings.HasPrefix(d, "ram") {
			continue
		}
		var own []string
		for _, p := range parts {
			if p.Disk == d {
				own = append(own, fmt.Sprintf("%s PARTUUID=%s", p.Name, p.ID))
			}
		}
		if len(own) == 0 {
			own = []string{"no partitions"}
		}
		all = append(all, d+" ("+strings.Join(own, ", ")+")")
	}
	if len(all) == 0 {
		return "no disk at all"
	}
	return strings.Join(all, "; ")
}

// number64 reads a decimal file of sysfs; 0 when it cannot.
func number64(path string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return n
}

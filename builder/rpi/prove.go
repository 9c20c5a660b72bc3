package rpi

import (
	"fmt"
	"strings"

	"weft/builder/disk"
	"weft/builder/fat"
	"weft/profiles"
)

// minClusters is the least that makes a FAT one of 32 bits, whatever its label
// says [FAT 1.03: FAT Type Determination].
const minClusters = 65525

// Prove follows the firmware of each machine through a finished disk: trees
// are the device trees of the machines that the disk is for. It returns what
// each would load, and everything wrong as values of [Fault]. boot is nil when
// the boot partition could not be read. Where the boot stage comes first, it is
// followed on into the slots.
func Prove(d *disk.Image, boot *fat.FS, trees []string) ([]Start, []error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, &Fault{Err: fmt.Errorf(format, args...)})
	}
	if d.Layout.Table != disk.MBR {
		fault("the disk has no MBR, and not every Raspberry Pi reads GPT")
	}
	first, ok := d.Layout.Partition(disk.Boot)
	if !ok || boot == nil {
		fault("the boot partition cannot be read")
		return nil, faults
	}
	if first.Kind != disk.KindFAT32 {
		fault("the first partition has type %#02x; the boot ROM of a Raspberry Pi 3 takes %#02x", first.Kind, disk.KindFAT32)
	}
	for _, p := range d.Layout.Partitions {
		if p.Start%disk.CardAlignment != 0 {
			fault("partition %s begins at byte %d, not at a multiple of %d MiB", p.Name, p.Start, disk.CardAlignment>>20)
		}
	}
	info := boot.Info()
	if info.Type != fat.FAT32 || info.Clusters < minClusters {
		fault("the boot partition is no FAT32: it has %d clusters, and FAT32 has %d or more", info.Clusters, minClusters)
	}
	if uint64(info.HiddenSectors) != first.LBA() {
		fault("the boot partition says that it begins at sector %d, and begins at %d", info.HiddenSectors, first.LBA())
	}
	if info.Size > first.Size {
		fault("the boot partition's file system has %d bytes and the partition %d", info.Size, first.Size)
	}
	var starts []Start
	var staged *stage
	kernels := map[string]error{}
	for _, tree := range trees {
		m, ok := ByTree(tree)
		if !ok {
			fault("%s is the device tree of no Raspberry Pi that weft knows", tree)
			continue
		}
		start, found := find(boot, m, kernels)
		faults = append(faults, found...)
		check := func(l disk.Layout, line string) []error { return arguments(l, line, partitions) }
		if start.Staged() {
			check = stageArguments
			if staged == nil {
				s := findStage(d, boot, kernels)
				staged, faults = &s, append(faults, s.faults...)
			}
			start.Slots = staged.slots
		}
		for _, err := range check(d.Layout, start.CommandLine) {
			faults = append(faults, &Fault{m.Name, fmt.Errorf("command line %s: %w", start.CommandLineFile, err)})
		}
		starts = append(starts, start)
	}
	return starts, faults
}

// named is an argument that names a partition, and which it may.
type named struct {
	argument string
	names    []string
}

// partitions are those of a system that the firmware starts.
var partitions = []named{
	{profiles.ArgRoot, []string{disk.RootA, disk.RootB}},
	{profiles.ArgBoot, []string{disk.Boot}},
	{profiles.ArgData, []string{disk.Data}},
}

// arguments checks that a command line names partitions that are there.
func arguments(l disk.Layout, line string, partitions []named) []error {
	if line == "" {
		return nil // told before
	}
	var errs []error
	for _, want := range partitions {
		value := ""
		for _, word := range strings.Fields(line) {
			if v, ok := strings.CutPrefix(word, want.argument+"=PARTUUID="); ok {
				value = v
			}
		}
		found := false
		for _, name := range want.names {
			p, ok := l.Partition(name)
			found = found || ok && strings.EqualFold(l.PartUUID(p), value)
		}
		switch {
		case value == "":
			errs = append(errs, fmt.Errorf("%s=PARTUUID=… is missing", want.argument))
		case !found:
			errs = append(errs, fmt.Errorf("%s=PARTUUID=%s is no such partition", want.argument, value))
		}
	}
	return errs
}

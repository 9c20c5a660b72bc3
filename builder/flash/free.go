package flash

import (
	"bytes"
	"fmt"
	"io"

	"weft/builder/disk"
	"weft/builder/erofs"
	"weft/builder/fat"
	"weft/ext4"
)

const (
	// leastFree is the smallest piece worth leaving out.
	leastFree = 1 << 20
	// bootLabel is the label of the boot partition of weft's disks. A GPT says
	// by the names of its partitions whose it is, an MBR does not.
	bootLabel = "WEFT"
)

// Free returns what may keep what is there when an image of weft's is written:
// the inside of partitions in which it has nothing, free clusters of the boot
// partition, what a root leaves of its slot, and the free blocks of the data
// partition. Nothing reads those before it has written them. The first and
// last MiB of a partition are not free: that is where file systems, RAID and
// LVM leave their marks.
//
// Of images that are not weft's nothing is free: what their holes are for, only
// who made them knows. Nor is anything in a file system that is not as weft
// makes it.
//
// head is the beginning of the image. The image is read from its front to its
// back.
func Free(m Map, head []byte, image io.ReaderAt) []Range {
	table, err := disk.Open(bytes.NewReader(head), m.Size)
	if err != nil {
		return nil
	}
	_, boot := table.Layout.Partition(disk.Boot)
	_, data := table.Layout.Partition(disk.Data)
	if !boot || !data {
		return nil
	}
	var free []Range
	for _, p := range table.Layout.Partitions {
		unused := []Range{{Size: p.Size}}
		if overlaps(m, p) {
			label := ""
			unused, label, err = unusedIn(p, io.NewSectionReader(image, p.Start, p.Size))
			if p.Name == disk.Boot && table.Layout.Table == disk.MBR && label != bootLabel {
				return nil
			}
			if err != nil {
				continue
			}
		}
		for _, u := range unused {
			start := (max(u.Start, headSize) + p.Start + blockSize - 1) / blockSize * blockSize
			end := (min(u.End(), p.Size-headSize) + p.Start) / blockSize * blockSize
			if end-start >= leastFree {
				free = append(free, Range{Start: start, Size: end - start})
			}
		}
	}
	return free
}

// overlaps reports whether an image has data in a partition.
func overlaps(m Map, p disk.Partition) bool {
	for _, r := range m.Ranges {
		if r.Start < p.Start+p.Size && r.End() > p.Start {
			return true
		}
	}
	return false
}

// unusedIn returns what the file system in a partition does not use, and the
// label of a boot partition.
func unusedIn(p disk.Partition, r io.ReaderAt) (unused []Range, label string, err error) {
	end := p.Size
	switch p.Name {
	case disk.Boot:
		var runs []fat.Run
		runs, label, err = fat.Unused(r, p.Size, leastFree)
		for _, run := range runs {
			unused = append(unused, Range{Start: run.Start, Size: run.Size})
		}
		return unused, label, err
	case disk.RootA, disk.RootB:
		end, err = erofs.End(r)
	case disk.Data:
		end, err = ext4.End(r)
	}
	return []Range{{Start: end, Size: p.Size - end}}, "", err
}

// onward reads an image at offsets that do not go back.
type onward struct{ *Stream }

func (o onward) ReadAt(b []byte, off int64) (int, error) {
	if off < o.at {
		return 0, fmt.Errorf("byte %d of the image: %d were read already", off, o.at)
	}
	if err := o.Fill(b, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

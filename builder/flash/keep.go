package flash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"weft/builder/disk"
	"weft/ext4"
)

// dataType is the type of a Linux partition in an MBR.
const dataType = 0x83

// A Kept is a data partition that stays where it is.
type Kept struct {
	// Range is where it lies.
	Range
	// image is what of the image comes before its own data partition, fixed
	// the tables that say where the kept one is.
	image Map
	fixed []Chunk
}

// Keep works out how an image is written around the data partition of a device
// that weft was on. The partition keeps its place and its size, and gets the
// identity that the image knows it by. head are the first MiB of the image.
//
// Only what is ours is kept: a partition called weft-data, in an MBR the last
// one of Linux, in which there is an ext4 file system called weft-data. And the
// new image's other partitions must end before it begins.
func Keep(device io.ReaderAt, size int64, m Map, head []byte) (Kept, error) {
	fail := func(format string, args ...any) (Kept, error) {
		return Kept{}, fmt.Errorf("%w: %s", ErrNoData, fmt.Sprintf(format, args...))
	}
	old := make([]byte, headSize)
	if _, err := device.ReadAt(old, 0); err != nil {
		return Kept{}, fmt.Errorf("read the partition table: %w", err)
	}
	have, haveMBR, _, err := dataPartition(device, old, size)
	if err != nil {
		return fail("the device: %v", err)
	}
	want, wantMBR, entry, err := dataPartition(bytes.NewReader(head), head, m.Size)
	if err != nil {
		return fail("the image: %v", err)
	}
	if haveMBR != wantMBR {
		return fail("the device and the image have different kinds of partition tables")
	}
	info, err := ext4.Probe(io.NewSectionReader(device, have.Start, have.Size))
	if err != nil {
		return fail("there is no sound file system in it: %v", err)
	}
	if info.Label != disk.Data {
		return fail("its file system is called %q, not %q", info.Label, disk.Data)
	}
	if have.Start < want.Start {
		return fail("it begins at byte %d, and the other partitions of the image reach to byte %d", have.Start, want.Start)
	}
	if have.Start%blockSize != 0 || have.End() > size {
		return fail("it lies at byte %d to %d of a device of %d", have.Start, have.End(), size)
	}
	k := Kept{Range: have, image: Map{Size: want.Start}}
	for _, r := range m.Ranges {
		if r.Start < want.Start {
			// A range that is cut has a digest of more than is read.
			if r.End() > want.Start {
				r = Range{Start: r.Start, Size: want.Start - r.Start}
			}
			k.image.Ranges = append(k.image.Ranges, r)
		}
	}
	changed := bytes.Clone(head)
	if wantMBR {
		e := changed[entry:]
		binary.LittleEndian.PutUint32(e[8:], uint32(have.Start/sectorSize))
		binary.LittleEndian.PutUint32(e[12:], uint32(have.Size/sectorSize))
		k.fixed = []Chunk{{Size: headSize, Bytes: changed}}
		return k, nil
	}
	// The backup table goes to the end of the device. Whatever else is in its
	// blocks stays: the partition may reach into them.
	tail := Chunk{Start: (size - (disk.SectorSize * (tableSectors + 1))) / blockSize * blockSize}
	tail.Size = size - tail.Start
	tail.Bytes = make([]byte, tail.Size)
	if _, err := device.ReadAt(tail.Bytes, tail.Start); err != nil {
		return Kept{}, fmt.Errorf("read the end of the device: %w", err)
	}
	if err := moveGPT(changed, tail.Bytes, entry, have, size); err != nil {
		return fail("%v", err)
	}
	k.fixed = []Chunk{{Size: headSize, Bytes: changed}, tail}
	return k, nil
}

// tableSectors are the sectors of a GPT's entries: 128 of 128 bytes.
const tableSectors = 32

// dataPartition finds weft's data partition in a table, and where its entry is
// in the head of the disk.
func dataPartition(r io.ReaderAt, head []byte, size int64) (data Range, mbr bool, entry int, err error) {
	if head[510] != 0x55 || head[511] != 0xAA {
		return data, false, 0, fmt.Errorf("it has no partition table")
	}
	le := binary.LittleEndian
	protective := false
	for at := 446; at < 510; at += 16 {
		protective = protective || head[at+4] == 0xEE
		if start := int64(le.Uint32(head[at+8:])) * sectorSize; head[at+4] == dataType && start > data.Start {
			data, entry = Range{Start: start, Size: int64(le.Uint32(head[at+12:])) * sectorSize}, at
		}
	}
	if !protective {
		if entry == 0 || data.Size == 0 || data.End() > size {
			return data, true, 0, fmt.Errorf("there is no Linux partition within it")
		}
		return data, true, entry, nil
	}
	image, err := disk.Open(r, size)
	if err != nil {
		return data, false, 0, err
	}
	p, ok := image.Layout.Partition(disk.Data)
	if !ok {
		return data, false, 0, fmt.Errorf("it has no partition %s", disk.Data)
	}
	for _, q := range image.Layout.Partitions {
		if q.Start > p.Start {
			return data, false, 0, fmt.Errorf("partition %s lies behind %s", q.Name, p.Name)
		}
	}
	// The entries of weft's tables and of all common tools begin at sector 2.
	for i := range 128 {
		at := 2*sectorSize + i*128
		if le.Uint64(head[at+32:]) == p.LBA() {
			return Range{Start: p.Start, Size: p.Size}, false, at, nil
		}
	}
	return data, false, 0, fmt.Errorf("the entries of its table are not where they should be")
}

// moveGPT makes a table, whose image was of another size, that of a device:
// the data partition lies where it is kept, and the backup at the end
// [UEFI 2.10, table 5.5].
func moveGPT(head, tail []byte, entry int, data Range, size int64) error {
	le := binary.LittleEndian
	sectors := uint64(size / sectorSize)
	last := sectors - 1
	lastUsable := last - tableSectors - 1
	end := uint64(data.End()/sectorSize) - 1
	if end > lastUsable {
		return fmt.Errorf("it ends at sector %d; the last one of this device that a partition may have is %d", end, lastUsable)
	}
	le.PutUint64(head[entry+32:], uint64(data.Start/sectorSize))
	le.PutUint64(head[entry+40:], end)
	le.PutUint32(head[446+12:], uint32(min(sectors-1, math.MaxUint32)))
	h := head[sectorSize : 2*sectorSize]
	entries := head[2*sectorSize : (2+tableSectors)*sectorSize]
	if le.Uint64(h[72:]) != 2 || le.Uint32(h[80:]) != 128 || le.Uint32(h[84:]) != 128 || le.Uint32(h[12:]) != 92 {
		return fmt.Errorf("the image's table has a form that weft does not write")
	}
	le.PutUint64(h[32:], last)
	le.PutUint64(h[48:], lastUsable)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	seal(h)
	at := len(tail) - (tableSectors+1)*sectorSize
	copy(tail[at:], entries)
	b := tail[len(tail)-sectorSize:]
	copy(b, h)
	le.PutUint64(b[24:], last)
	le.PutUint64(b[32:], 1)
	le.PutUint64(b[72:], last-tableSectors)
	seal(b)
	return nil
}

// seal writes the checksum of a GPT's header.
func seal(h []byte) {
	binary.LittleEndian.PutUint32(h[16:], 0)
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
}

// blocks reads any bytes of a disk that is read in blocks.
type blocks struct{ d Disk }

func (b blocks) ReadAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		at := off + int64(done)
		// Devices end with a sector, not always with a block.
		from := at / sectorSize * sectorSize
		n := min(int64(len(p)-done)+at-from, chunkSize-sectorSize)
		n = (n + sectorSize - 1) / sectorSize * sectorSize
		buf := aligned(int(n))
		if _, err := b.d.ReadAt(buf, from); err != nil {
			return done, err
		}
		done += copy(p[done:], buf[at-from:])
	}
	return len(p), nil
}

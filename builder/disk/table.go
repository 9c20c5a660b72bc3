package disk

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

// tables returns the first and the last bytes of a disk: protective MBR with
// boot code, table and entries, and at the end entries and table again. Of an
// MBR there is one sector and no end.
func (l Layout) tables(bootCode []byte) (head, tail []byte, err error) {
	if err := l.Check(); err != nil {
		return nil, nil, fmt.Errorf("partition table: %w", err)
	}
	if len(bootCode) > BootCodeSize {
		return nil, nil, fmt.Errorf("boot code of %d bytes: sector 0 has room for %d", len(bootCode), BootCodeSize)
	}
	if l.Table == MBR {
		return l.mbr(bootCode), nil, nil
	}
	table := &gpt.Table{
		LogicalSectorSize:  SectorSize,
		PhysicalSectorSize: SectorSize,
		GUID:               l.ID.String(),
	}
	for i, p := range l.Partitions {
		table.Partitions = append(table.Partitions, &gpt.Partition{
			Index:      i + 1,
			Start:      p.LBA(),
			Size:       uint64(p.Size),
			Type:       gpt.Type(strings.ToUpper(p.Type.String())),
			Name:       p.Name,
			GUID:       p.ID.String(),
			Attributes: p.Attributes,
		})
	}
	start, end := l.usable()
	ends := &diskEnds{head: make([]byte, start), tail: make([]byte, l.Size-end), tailAt: end}
	if err := table.Write(ends, l.Size); err != nil {
		return nil, nil, fmt.Errorf("partition table: %w", err)
	}
	copy(ends.head, bootCode)
	protect(ends.head, l.Size/SectorSize)
	return ends.head, ends.tail, nil
}

// protect writes the protective partition of sector 0, which tells tools that
// know no GPT to keep off [UEFI 2.10, table 5.2].
func protect(mbr []byte, sectors int64) {
	entry := mbr[446:462]
	copy(entry, []byte{
		0x00, 0x00, 0x02, 0x00, // not active; first CHS address is sector 2
		0xEE, 0xFF, 0xFF, 0xFF, // GPT; last CHS address cannot be expressed
	})
	binary.LittleEndian.PutUint32(entry[8:], 1)
	binary.LittleEndian.PutUint32(entry[12:], uint32(min(sectors-1, math.MaxUint32)))
	mbr[510], mbr[511] = 0x55, 0xAA
}

// diskEnds is what go-diskfs writes a table into. It only ever calls WriteAt.
type diskEnds struct {
	backend.WritableFile
	head, tail []byte
	tailAt     int64
}

// WriteAt keeps what is written to either end of the disk.
func (d *diskEnds) WriteAt(b []byte, off int64) (int, error) {
	into := d.head
	if off >= d.tailAt {
		into, off = d.tail, off-d.tailAt
	}
	if off < 0 || off > int64(len(into)) || len(b) > len(into)-int(off) {
		return 0, fmt.Errorf("%d bytes at byte %d are outside the table", len(b), off)
	}
	return copy(into[off:], b), nil
}

package fat

import (
	"encoding/binary"
	"fmt"
)

// An allocator hands out free clusters, each once. Nothing it gave out or
// that was freed meanwhile is looked at again, so its piece of the table never
// is out of date where it matters.
type allocator struct {
	walker walker
	next   uint32 // where to look first
	last   uint32 // the last cluster given out; 0 means none
	seen   uint32 // how many clusters were looked at
	taken  int
}

// start takes the hint of where free clusters are from FAT32's information.
func (a *allocator) start() error {
	f := a.walker.f
	info, err := f.readInfo()
	if err != nil || info == nil {
		return err
	}
	if hint := binary.LittleEndian.Uint32(info[infoNextAt:]); f.valid(hint) {
		a.next = hint
	}
	return nil
}

// take finds count free clusters.
func (a *allocator) take(count int) ([]uint32, error) {
	f := a.walker.f
	clusters := make([]uint32, 0, count)
	for len(clusters) < count {
		if a.seen == f.clusters {
			return nil, fmt.Errorf("%d clusters of %d bytes are not free; delete something: %w", count, f.clusterSize, ErrNoSpace)
		}
		v, err := a.walker.entry(a.next)
		if err != nil {
			return nil, err
		}
		if v == 0 {
			clusters = append(clusters, a.next)
			a.last = a.next
			a.taken++
		}
		a.seen++
		if a.next++; !f.valid(a.next) {
			a.next = firstData
		}
	}
	return clusters, nil
}

// Offsets into the information sector [FAT 1.03: FSInfo].
const (
	infoStructAt = 484
	infoFreeAt   = 488
	infoNextAt   = 492
)

// readInfo returns FAT32's information sector, or nil when there is no sound
// one.
func (f *FS) readInfo() ([]byte, error) {
	if f.info == 0 {
		return nil, nil
	}
	b := make([]byte, sectorSize)
	if _, err := f.r.ReadAt(b, int64(f.info)*f.sectorSize); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(b) != infoLead || binary.LittleEndian.Uint32(b[infoStructAt:]) != infoStruct {
		return nil, nil
	}
	return b, nil
}

// updateInfo keeps the count of free clusters and the hint right.
func (f *FS) updateInfo(a *allocator, freed int) error {
	b, err := f.readInfo()
	if err != nil || b == nil {
		return err
	}
	free := int64(binary.LittleEndian.Uint32(b[infoFreeAt:]))
	if free <= int64(f.clusters) {
		free += int64(freed) - int64(a.taken)
		if free < 0 || free > int64(f.clusters) {
			free = unknown // it was wrong before
		}
		binary.LittleEndian.PutUint32(b[infoFreeAt:], uint32(free))
	}
	if a.last != 0 {
		binary.LittleEndian.PutUint32(b[infoNextAt:], a.next)
	}
	_, err = f.w.WriteAt(b, int64(f.info)*f.sectorSize)
	return err
}

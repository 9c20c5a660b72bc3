package fat

import (
	"encoding/binary"
	"io"
	"math"
)

// Values of the boot sector [FAT 1.03: Boot Sector and BPB].
const (
	media          = 0xf8       // fixed disk
	sectorsPerHead = 63         // the geometry every BIOS assumes for large disks
	heads          = 255        //
	driveNumber    = 0x80       // first hard disk
	extendedBoot   = 0x29       // volume id, label and type text are there
	bootSignature  = 0xaa55     // at 510 in every boot sector
	infoSector     = 1          // BPB_FSInfo, "usually 1"
	backupSector   = 6          // BPB_BkBootSec, "no value other than 6 is recommended"
	infoLead       = 0x41615252 // FSI_LeadSig
	infoStruct     = 0x61417272 // FSI_StrucSig
	infoTrail      = 0xaa550000 // FSI_TrailSig
	oemName        = "MSWIN4.1" // "the recommended string"
	noLabel        = "NO NAME    "
	unknown        = math.MaxUint32 // FSI_Free_Count and FSI_Nxt_Free of no meaning
)

// Offsets into the boot sector: the part all types share, and the two forms
// of the rest [FAT 1.03].
const (
	oldRest = 36 // BS_DrvNum of FAT12 and FAT16
	newRest = 36 // BPB_FATSz32 of FAT32
	oldCode = 62
	newCode = 90
)

// bootCode is run only if somebody starts the volume itself: int 18h, which
// tells a BIOS to try the next device, and then a loop.
var bootCode = []byte{0xcd, 0x18, 0xeb, 0xfe}

// writeBoot writes the boot sector and, for FAT32, the information sector
// and the copies of both.
func (v *volume) writeBoot(w io.WriterAt) error {
	boot := v.bootSector()
	if v.typ != FAT32 {
		_, err := w.WriteAt(boot, 0)
		return err
	}
	next := v.next
	if v.free() == 0 {
		next = unknown
	}
	both := append(boot, infoBlock(v.free(), next)...)
	for _, at := range []int64{0, backupSector * sectorSize} {
		if _, err := w.WriteAt(both, at); err != nil {
			return err
		}
	}
	return nil
}

// bootSector is the first sector of the volume.
func (v *volume) bootSector() []byte {
	b := make([]byte, sectorSize)
	le := binary.LittleEndian
	copy(b[3:], oemName)
	le.PutUint16(b[11:], sectorSize)
	b[13] = byte(v.clusterSize / sectorSize)
	le.PutUint16(b[14:], uint16(v.reserved))
	b[16] = byte(v.fats)
	le.PutUint16(b[17:], uint16(v.rootEntries))
	if v.typ != FAT32 && v.sectors <= math.MaxUint16 {
		le.PutUint16(b[19:], uint16(v.sectors))
	} else {
		le.PutUint32(b[32:], v.sectors)
	}
	b[21] = media
	le.PutUint16(b[24:], sectorsPerHead)
	le.PutUint16(b[26:], heads)
	le.PutUint32(b[28:], v.hiddenSectors)
	code, rest := oldCode, b[oldRest:]
	if v.typ == FAT32 {
		le.PutUint32(b[newRest:], v.fatSectors)
		le.PutUint32(b[44:], v.root.run.first)
		le.PutUint16(b[48:], infoSector)
		le.PutUint16(b[50:], backupSector)
		code, rest = newCode, b[64:]
	} else {
		le.PutUint16(b[22:], uint16(v.fatSectors))
	}
	rest[0] = driveNumber
	rest[2] = extendedBoot
	le.PutUint32(rest[3:], v.params.VolumeID)
	label := noLabel
	if v.params.Label != "" {
		label = v.params.Label
	}
	copy(rest[7:18], "           ")
	copy(rest[7:18], label)
	copy(rest[18:], v.typ.String()+"   ")
	b[0], b[1], b[2] = 0xeb, byte(code-2), 0x90 // jmp code; nop
	copy(b[code:], bootCode)
	le.PutUint16(b[510:], bootSignature)
	return b
}

// infoBlock is the information sector of FAT32 [FAT 1.03: FSInfo].
func infoBlock(free, next uint32) []byte {
	b := make([]byte, sectorSize)
	binary.LittleEndian.PutUint32(b[0:], infoLead)
	binary.LittleEndian.PutUint32(b[484:], infoStruct)
	binary.LittleEndian.PutUint32(b[488:], free)
	binary.LittleEndian.PutUint32(b[492:], next)
	binary.LittleEndian.PutUint32(b[508:], infoTrail)
	return b
}

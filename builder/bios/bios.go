// Package bios makes a disk that starts Linux on a PC with a legacy BIOS.
//
// It carries weft's own boot loader, in two stages. Stage 1 is the code in the
// disk's first sector, stage 2 lies in a BIOS boot partition together with the
// slot record (package slot) that says which sectors to load. The loader knows
// no file system: the builder knows where every file lies and writes it down.
// A kernel that is moved on the boot partition must be written down again.
//
// The package computes bytes; package disk writes them. The loader's source is
// in the .asm files beside this one, for NASM; the assembled code is kept with
// it, so that a build needs no assembler, and a test proves that both agree.
package bios

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"weft/slot"
)

//go:generate nasm -f bin -o stage1.bin stage1.asm
//go:generate nasm -f bin -o stage2.bin stage2.asm

var (
	//go:embed stage1.bin
	stage1 []byte
	//go:embed stage2.bin
	stage2 []byte
)

// CodeSize is how many bytes of the disk's first sector stage 1 fills. The
// disk signature and the partition entries follow [UEFI 2.10, table 5.1].
const CodeSize = 440

// Where stage 1 keeps what the builder writes into it; layout.asm says the
// same.
const (
	offHomeLBA     = 428
	offHomeSectors = 436
)

// A System is what one slot boots.
type System struct {
	// Kernel is where the bzImage lies on the disk, in one piece.
	Kernel slot.Extent
	// Initrd is where the initramfs lies; empty for none.
	Initrd slot.Extent
	// CommandLine is the kernel's arguments, at most 2047 bytes.
	CommandLine string
	// Priority decides between slots that can boot, 0..15.
	Priority uint8
	// Good says that the system is known to work; otherwise it gets Tries
	// boots to prove it.
	Good  bool
	Tries uint8
}

// Install computes what makes a disk bootable by BIOS: the code of its first
// sector, and the first bytes of its BIOS boot partition, which begins at
// sector lba. A nil system is a slot that holds nothing; one slot must hold
// something.
func Install(lba uint64, a, b *System) (code [CodeSize]byte, partition []byte, err error) {
	if a == nil && b == nil {
		return code, nil, fmt.Errorf("BIOS loader: no slot holds a system")
	}
	copy(code[:], stage1)
	binary.LittleEndian.PutUint64(code[offHomeLBA:], lba)
	binary.LittleEndian.PutUint16(code[offHomeSectors:], uint16(len(stage2)/slot.SectorSize))

	partition = make([]byte, slot.PartitionUsed)
	copy(partition, stage2)
	record := slot.Record{Sequence: 1}
	for _, s := range []struct {
		name slot.Name
		*System
	}{{slot.A, a}, {slot.B, b}} {
		if s.System == nil {
			continue
		}
		state, err := s.state(lba, s.name)
		if err != nil {
			return code, nil, fmt.Errorf("BIOS loader: slot %s: %w", s.name, err)
		}
		*record.Slot(s.name) = state
		copy(partition[s.name.CommandLineOffset():], s.CommandLine)
	}
	sector, err := record.Encode()
	if err != nil {
		return code, nil, fmt.Errorf("BIOS loader: %w", err)
	}
	// Both copies are sound from the start; the first counts.
	copy(partition[slot.RecordOffset1:], sector[:])
	copy(partition[slot.RecordOffset2:], sector[:])
	return code, partition, nil
}

// state returns the system as the record tells it.
func (s System) state(lba uint64, n slot.Name) (slot.State, error) {
	if len(s.CommandLine) > slot.MaxCommandLine {
		return slot.State{}, fmt.Errorf("the kernel command line has %d bytes; the kernel takes %d", len(s.CommandLine), slot.MaxCommandLine)
	}
	if i := strings.IndexAny(s.CommandLine, "\x00\r\n"); i >= 0 {
		return slot.State{}, fmt.Errorf("the kernel command line has a line break or NUL at byte %d", i)
	}
	state := slot.State{
		Present:  true,
		Good:     s.Good,
		Priority: s.Priority,
		Kernel:   s.Kernel,
		Initrd:   s.Initrd,
		CommandLine: slot.Extent{
			LBA:   lba + uint64(n.CommandLineOffset())/slot.SectorSize,
			Bytes: uint32(len(s.CommandLine)),
		},
		CommandLineCRC: crc32.ChecksumIEEE([]byte(s.CommandLine)),
	}
	if !s.Good {
		state.TriesLeft = s.Tries
	}
	return state, nil
}

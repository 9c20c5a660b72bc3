package kmod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Fields of ELF files, from "System V Application Binary Interface", edition
// 4.1, chapter 4, and its 64-bit form ("ELF-64 Object File Format" 1.5).
// Kernel modules of amd64 and arm64 are 64-bit, little-endian, relocatable.
const (
	elfHeaderSize  = 64
	elfSectionSize = 64

	offMachine = 18 // e_machine, u16
	offShOff   = 40 // e_shoff, u64
	offShSize  = 58 // e_shentsize, u16
	offShNum   = 60 // e_shnum, u16; 0 when the number is in sh_size of section 0
	offShStr   = 62 // e_shstrndx, u16; 0xffff when it is in sh_link of section 0

	shnXIndex = 0xffff
	shtNoBits = 8
)

// machines are the values of e_machine by Debian architecture
// (EM_X86_64, EM_AARCH64 in include/uapi/linux/elf-em.h).
var machines = map[string]uint16{"amd64": 62, "arm64": 183}

// elfSection returns the contents of the named section of a module of the
// given architecture. The result is a part of data. Nothing is allocated by
// sizes that the file claims.
func elfSection(data []byte, arch, name string) ([]byte, error) {
	if len(data) < elfHeaderSize || string(data[:4]) != "\x7fELF" {
		return nil, errors.New("not an ELF file")
	}
	if data[4] != 2 || data[5] != 1 { // EI_CLASS, EI_DATA
		return nil, errors.New("not a 64-bit little-endian ELF file")
	}
	if machine := binary.LittleEndian.Uint16(data[offMachine:]); machine != machines[arch] {
		return nil, fmt.Errorf("built for ELF machine %d, the kernel is %s (%d)", machine, arch, machines[arch])
	}
	sections, names, err := elfSections(data)
	if err != nil {
		return nil, err
	}
	for len(sections) > 0 {
		section := sections[:elfSectionSize]
		sections = sections[elfSectionSize:]
		if sectionName(section, names) == name {
			return sectionData(data, section)
		}
	}
	return nil, fmt.Errorf("no section %s", name)
}

// elfSections returns the section headers and the table of their names.
func elfSections(data []byte) (headers, names []byte, err error) {
	offset := binary.LittleEndian.Uint64(data[offShOff:])
	if size := binary.LittleEndian.Uint16(data[offShSize:]); size != elfSectionSize {
		return nil, nil, fmt.Errorf("section headers of %d bytes, want %d", size, elfSectionSize)
	}
	if offset > uint64(len(data)) || uint64(len(data))-offset < elfSectionSize {
		return nil, nil, errors.New("section headers outside of the file")
	}
	table := data[offset:]
	count := uint64(binary.LittleEndian.Uint16(data[offShNum:]))
	if count == 0 {
		count = binary.LittleEndian.Uint64(table[32:]) // sh_size
	}
	index := uint64(binary.LittleEndian.Uint16(data[offShStr:]))
	if index == shnXIndex {
		index = uint64(binary.LittleEndian.Uint32(table[40:])) // sh_link
	}
	if count > uint64(len(table))/elfSectionSize {
		return nil, nil, fmt.Errorf("%d section headers do not fit the file", count)
	}
	if index >= count {
		return nil, nil, fmt.Errorf("section names in section %d of %d", index, count)
	}
	names, err = sectionData(data, table[index*elfSectionSize:][:elfSectionSize])
	if err != nil {
		return nil, nil, fmt.Errorf("section names: %w", err)
	}
	return table[:count*elfSectionSize], names, nil
}

// sectionName returns the name of a section, "" when it lies outside of names.
func sectionName(section, names []byte) string {
	start := binary.LittleEndian.Uint32(section) // sh_name
	if uint64(start) >= uint64(len(names)) {
		return ""
	}
	name, _, _ := bytes.Cut(names[start:], []byte{0})
	return string(name)
}

// sectionData returns the bytes of a section.
func sectionData(data, section []byte) ([]byte, error) {
	if binary.LittleEndian.Uint32(section[4:]) == shtNoBits { // sh_type
		return nil, errors.New("section without contents")
	}
	offset := binary.LittleEndian.Uint64(section[24:]) // sh_offset
	size := binary.LittleEndian.Uint64(section[32:])   // sh_size
	if offset > uint64(len(data)) || size > uint64(len(data))-offset {
		return nil, fmt.Errorf("section of %d bytes at %d outside of the file of %d bytes", size, offset, len(data))
	}
	return data[offset:][:size], nil
}

package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// A GUID names a disk, a partition or a type of partition. Its bytes are in
// the order in which it is written; a partition table stores the first three
// groups with their bytes reversed [UEFI 2.10, appendix A].
type GUID [16]byte

// Types of partitions: the Discoverable Partitions Specification [UAPI.2],
// and for BIOS boot the GRUB manual, "BIOS installation".
var (
	TypeBIOSBoot  = mustGUID("21686148-6449-6e6f-744e-656564454649")
	TypeESP       = mustGUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	TypeRootAMD64 = mustGUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
	TypeRootARM64 = mustGUID("b921b045-1df0-41c3-af44-4c6f280d3fae")
	TypeLinuxData = mustGUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
)

// String returns the GUID in lower case, as the kernel prints a PARTUUID.
func (g GUID) String() string {
	s := hex.EncodeToString(g[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// ParseGUID reads a GUID of the form 01234567-89ab-cdef-0123-456789abcdef, in
// either case.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(g) {
		return GUID{}, fmt.Errorf("GUID %q: want 32 hexadecimal digits in the form 8-4-4-4-12", s)
	}
	copy(g[:], b)
	if g.String() != strings.ToLower(s) {
		return GUID{}, fmt.Errorf("GUID %q: want 32 hexadecimal digits in the form 8-4-4-4-12", s)
	}
	return g, nil
}

func mustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// DeriveGUID returns the GUID of the thing called name in the image called
// id. The same arguments give the same GUID on every machine, different ones
// different GUIDs. It is a UUID of version 8 made from a SHA-256
// [RFC 9562, section 5.8].
func DeriveGUID(id, name string) GUID {
	sum := sha256.Sum256([]byte("weft guid 1\x00" + name + "\x00" + id))
	g := GUID(sum[:16])
	g[6] = g[6]&0x0F | 0x80
	g[8] = g[8]&0x3F | 0x80
	return g
}

// swap turns the order of writing into the order on disk, and back.
func (g GUID) swap() GUID {
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
	return g
}

package disk

import (
	"fmt"
)

// Names of weft's partitions. A person sees them in lsblk and under
// /dev/disk/by-partlabel.
const (
	BIOS  = "weft-bios"
	Boot  = "weft-boot"
	RootA = "weft-root-a"
	RootB = "weft-root-b"
	Data  = "weft-data"
)

// IDs are the GUIDs of an image.
type IDs struct {
	Disk, BIOS, Boot, RootA, RootB, Data GUID
}

// DeriveIDs returns the GUIDs of the image called id.
func DeriveIDs(id string) IDs {
	return IDs{
		Disk:  DeriveGUID(id, "disk"),
		BIOS:  DeriveGUID(id, BIOS),
		Boot:  DeriveGUID(id, Boot),
		RootA: DeriveGUID(id, RootA),
		RootB: DeriveGUID(id, RootB),
		Data:  DeriveGUID(id, Data),
	}
}

// Sizes say what a weft disk is to hold.
type Sizes struct {
	// Arch is the Debian architecture, amd64 or arm64.
	Arch string
	// BIOS asks for a BIOS boot partition.
	BIOS bool
	// Boot, Root and Data are the sizes of the boot partition, of each of the
	// two roots and of the data partition: bytes, whole MiB.
	Boot, Root, Data int64
}

// Plan lays out a weft disk: BIOS boot, boot, root A, root B, data, without
// gaps from the first MiB on. The second table has the last MiB to itself, so
// the image is whole MiB, as Azure asks of a disk.
//
// The BIOS boot partition lies at 1 MiB like everything else. It would fit
// before, after the table, but then installers and repair tools that rewrite
// the first MiB would take the loader with them.
//
// The roots have the type of the Discoverable Partitions Specification; root B
// says that it must not be mounted unasked, or it would compete with A. Data
// is plain "Linux filesystem data": the specification's type for /var promises
// a partition whose GUID is a hash of one machine's id and which is mounted at
// /var, and weft's is neither.
func Plan(ids IDs, sizes Sizes) (Layout, error) {
	root, ok := map[string]GUID{"amd64": TypeRootAMD64, "arm64": TypeRootARM64}[sizes.Arch]
	if !ok {
		return Layout{}, fmt.Errorf("disk: no partition type is known for architecture %q; use amd64 or arm64", sizes.Arch)
	}
	if sizes.BIOS && sizes.Arch != "amd64" {
		return Layout{}, fmt.Errorf("disk: architecture %s has no BIOS; remove bios from the board's loaders", sizes.Arch)
	}
	var parts []Partition
	if sizes.BIOS {
		parts = append(parts, Partition{Name: BIOS, Type: TypeBIOSBoot, ID: ids.BIOS, Size: Alignment})
	}
	parts = append(parts,
		Partition{Name: Boot, Type: TypeESP, ID: ids.Boot, Size: sizes.Boot},
		Partition{Name: RootA, Type: root, ID: ids.RootA, Size: sizes.Root, Attributes: AttributeReadOnly},
		Partition{Name: RootB, Type: root, ID: ids.RootB, Size: sizes.Root, Attributes: AttributeReadOnly | AttributeNoAuto},
		Partition{Name: Data, Type: TypeLinuxData, ID: ids.Data, Size: sizes.Data},
	)
	l := Layout{ID: ids.Disk, Size: Alignment}
	for _, p := range parts {
		if p.Size <= 0 || p.Size%Alignment != 0 || p.Size > maxSize/8 {
			return Layout{}, fmt.Errorf("disk: partition %s of %d bytes: want whole MiB, at least one", p.Name, p.Size)
		}
		p.Start = l.Size
		l.Size += p.Size
		l.Partitions = append(l.Partitions, p)
	}
	l.Size += Alignment
	if err := l.Check(); err != nil {
		return Layout{}, fmt.Errorf("disk: %w", err)
	}
	return l, nil
}

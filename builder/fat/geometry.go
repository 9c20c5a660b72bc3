package fat

import (
	"errors"
	"fmt"
	"math"
)

// Limits of the format [FAT 1.03]. A type's count of clusters is kept margin
// away from the borders, as the document advises, since much code in the
// world is off by up to 16 there.
const (
	sectorSize  = 512   // of file systems this package makes
	minFAT16    = 4085  // clusters; fewer are FAT12
	minFAT32    = 65525 // clusters; fewer are FAT16
	margin      = 16
	maxClusters = 0x0FFFFFF5 // a FAT32 entry has 28 bits; 0x0FFFFFF7 and up are marks
	maxCluster  = 32 << 10   // bytes; more is not portable
	fatCount    = 2
	rootEntries = 512 // of FAT12 and FAT16; "for maximum compatibility"
	entrySize   = 32  // bytes of a directory entry
	reserved32  = 32  // reserved sectors of FAT32, "typically 32"
	firstData   = 2   // number of the first cluster
)

// A geometry says how a volume is divided.
type geometry struct {
	typ           Type
	sectorSize    int64  // bytes
	clusterSize   int64  // bytes
	sectors       uint32 // of the whole volume
	reserved      uint32 // sectors before the first FAT
	fats          uint32 // copies of the FAT
	fatSectors    uint32 // of one copy
	rootEntries   uint32 // of the fixed root directory; 0 with FAT32
	clusters      uint32 // count of data clusters
	hiddenSectors uint32
}

// fatOffset is where copy n of the FAT starts, in bytes.
func (g geometry) fatOffset(n uint32) int64 {
	return (int64(g.reserved) + int64(n)*int64(g.fatSectors)) * g.sectorSize
}

// rootOffset is where the fixed root directory of FAT12 and FAT16 starts.
func (g geometry) rootOffset() int64 { return g.fatOffset(g.fats) }

// dataOffset is where cluster 2 starts.
func (g geometry) dataOffset() int64 {
	root := (int64(g.rootEntries)*entrySize + g.sectorSize - 1) / g.sectorSize
	return g.rootOffset() + root*g.sectorSize
}

// clusterOffset is where a cluster starts.
func (g geometry) clusterOffset(cluster uint32) int64 {
	return g.dataOffset() + int64(cluster-firstData)*g.clusterSize
}

// valid reports whether cluster is the number of a data cluster.
func (g geometry) valid(cluster uint32) bool {
	return cluster >= firstData && cluster-firstData < g.clusters
}

// newGeometry divides a volume of size bytes, or says why it cannot be what
// the parameters ask for.
func newGeometry(size int64, p Params) (geometry, error) {
	switch {
	case size <= 0 || size%sectorSize != 0:
		return geometry{}, fmt.Errorf("volume size of %d bytes: it must be a positive multiple of %d", size, sectorSize)
	case size/sectorSize > math.MaxUint32:
		return geometry{}, fmt.Errorf("volume size of %d bytes: FAT ends at 2 TiB", size)
	case p.ClusterSize != 0 && (p.ClusterSize < sectorSize || p.ClusterSize > maxCluster || p.ClusterSize&(p.ClusterSize-1) != 0):
		return geometry{}, fmt.Errorf("cluster size of %d bytes: it must be a power of two from %d to %d, or 0 to choose", p.ClusterSize, sectorSize, maxCluster)
	}
	types := []Type{p.Type}
	if p.Type == Auto {
		types = []Type{FAT32, FAT16, FAT12}
	}
	var tried []error
	for _, t := range types {
		if t != FAT12 && t != FAT16 && t != FAT32 {
			return geometry{}, fmt.Errorf("type %d: FAT has the types 12, 16 and 32", int(t))
		}
		g, err := fit(t, uint32(size/sectorSize), p)
		if err == nil {
			return g, nil
		}
		tried = append(tried, err)
	}
	return geometry{}, errors.Join(tried...)
}

// fit finds the cluster size for one type of FAT.
func fit(t Type, sectors uint32, p Params) (geometry, error) {
	var sizes []int64
	for s := int64(maxCluster); s >= sectorSize; s /= 2 {
		sizes = append(sizes, s)
	}
	if t == FAT12 {
		for i, j := 0, len(sizes)-1; i < j; i, j = i+1, j-1 {
			sizes[i], sizes[j] = sizes[j], sizes[i]
		}
	}
	if p.ClusterSize != 0 {
		sizes = []int64{int64(p.ClusterSize)}
	}
	low, high := bounds(t)
	var g geometry
	for _, s := range sizes {
		g = divide(t, sectors, s)
		g.hiddenSectors = p.HiddenSectors
		if g.clusters >= low && g.clusters <= high {
			return g, nil
		}
	}
	return geometry{}, fmt.Errorf("%d bytes cannot be %v: clusters of %d bytes give %d of them, and %v has %d to %d; change the size, the type or the cluster size",
		int64(sectors)*sectorSize, t, g.clusterSize, g.clusters, t, low, high)
}

// bounds are the fewest and the most clusters that make a volume of the type.
func bounds(t Type) (low, high uint32) {
	switch t {
	case FAT12:
		return 1, minFAT16 - 1 - margin
	case FAT16:
		return minFAT16 + margin, minFAT32 - 1 - margin
	default:
		return minFAT32 + margin, maxClusters
	}
}

// divide lays out a volume with the given cluster size. The count of clusters
// comes out as 0 when not even the fixed areas fit.
func divide(t Type, sectors uint32, clusterSize int64) geometry {
	g := geometry{
		typ:         t,
		sectorSize:  sectorSize,
		clusterSize: clusterSize,
		sectors:     sectors,
		reserved:    1, // "should never be anything but 1" for FAT12 and FAT16
		fats:        fatCount,
		rootEntries: rootEntries,
	}
	if t == FAT32 {
		g.reserved, g.rootEntries = reserved32, 0
	}
	data := int64(sectors) - g.dataOffset()/sectorSize // with FATs of no size
	if data <= 0 {
		return g
	}
	// One FAT of F sectors holds F·4096/bits entries, and has to hold those
	// of (data-2F)/spc clusters and two more. Solved for F and rounded up;
	// the formula of [FAT 1.03: FAT Volume Initialization] wastes up to 8
	// sectors, and simpler ones come out two entries short at some sizes.
	spc, bits := clusterSize/sectorSize, int64(t)
	entries := bits * (data + 2*spc)
	perSector := sectorSize*8*spc + fatCount*bits
	g.fatSectors = uint32((entries + perSector - 1) / perSector)
	if t == FAT32 {
		// Clusters aligned within the volume are aligned on the card when
		// the partition is: one flash page for one cluster, not two.
		g.reserved += uint32(-(g.dataOffset() / sectorSize) & (spc - 1))
	}
	if data = int64(sectors) - g.dataOffset()/sectorSize; data > 0 {
		g.clusters = uint32(data / spc)
	}
	return g
}

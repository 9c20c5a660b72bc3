package flash

import (
	"fmt"
	"sort"
)

// A Map says which parts of an image are data. All others are zero.
type Map struct {
	Size   int64
	Ranges []Range
}

// Mapped is the number of bytes that are data.
func (m Map) Mapped() int64 {
	var n int64
	for _, r := range m.Ranges {
		n += r.Size
	}
	return n
}

// maxImage bounds an image, above any disk.
const maxImage = 1 << 50

// check refuses a map that is out of order or leaves its image.
func (m Map) check() error {
	at := int64(0)
	if m.Size <= 0 || m.Size > maxImage {
		return fmt.Errorf("an image of %d bytes", m.Size)
	}
	for _, r := range m.Ranges {
		if r.Start < at || r.Size <= 0 || r.Size > m.Size-r.Start {
			return fmt.Errorf("%d bytes at byte %d: ranges must follow each other within the image of %d bytes", r.Size, r.Start, m.Size)
		}
		at = r.End()
	}
	return nil
}

// A Chunk is one step of writing: bytes of the image, zeros, or bytes of its
// own.
type Chunk struct {
	Start, Size int64
	Zero        bool
	Bytes       []byte
}

// smallHole is a hole that is written like the data around it: that takes a
// device less time than to be asked twice more.
const smallHole = 128 << 10

// Steps are the chunks that put an image onto a device, in the order of the
// disk. free are ranges that may keep what is there, keep one that must.
// fixed are chunks that replace what the image has at their place.
func Steps(m Map, device int64, free []Range, keep Range, fixed []Chunk) []Chunk {
	var data []Range
	for _, r := range m.Ranges {
		start, end := r.Start/blockSize*blockSize, min((r.End()+blockSize-1)/blockSize*blockSize, (m.Size+sectorSize-1)/sectorSize*sectorSize)
		if n := len(data); n > 0 && start <= data[n-1].End()+smallHole {
			data[n-1].Size = max(data[n-1].Size, end-data[n-1].Start)
			continue
		}
		data = append(data, Range{Start: start, Size: end - start})
	}
	end := min((m.Size+sectorSize-1)/sectorSize*sectorSize, device)
	zero := without([]Range{{Start: 0, Size: end}}, data)
	zero = without(zero, free)
	if rest := device - end; rest > 0 {
		tail := max(end, (device-headSize)/blockSize*blockSize)
		zero = append(zero, Range{Start: tail, Size: device - tail})
	}
	out := []Range{keep}
	for _, c := range fixed {
		out = append(out, Range{Start: c.Start, Size: c.Size})
	}
	chunks := append([]Chunk{}, fixed...)
	for _, r := range without(data, out) {
		chunks = append(chunks, split(r, false)...)
	}
	for _, r := range without(zero, out) {
		chunks = append(chunks, split(r, true)...)
	}
	sort.Slice(chunks, func(i, j int) bool { return chunks[i].Start < chunks[j].Start })
	return chunks
}

// split cuts a range to chunks, and the head of the disk from the rest.
func split(r Range, zero bool) []Chunk {
	var chunks []Chunk
	for at := r.Start; at < r.End(); {
		next := (at/chunkSize + 1) * chunkSize
		if at < headSize {
			next = headSize
		}
		next = min(next, r.End())
		chunks = append(chunks, Chunk{Start: at, Size: next - at, Zero: zero})
		at = next
	}
	return chunks
}

// without cuts ranges out of others.
func without(from, cut []Range) []Range {
	for _, c := range cut {
		if c.Size == 0 {
			continue
		}
		var rest []Range
		for _, r := range from {
			if c.End() <= r.Start || c.Start >= r.End() {
				rest = append(rest, r)
				continue
			}
			if c.Start > r.Start {
				rest = append(rest, Range{Start: r.Start, Size: c.Start - r.Start})
			}
			if c.End() < r.End() {
				rest = append(rest, Range{Start: c.End(), Size: r.End() - c.End()})
			}
		}
		from = rest
	}
	return from
}

package xzblock

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// [xz] 2.1.1 and 2.1.2: stream header and footer have 12 bytes each.
const headerSize, footerSize = 12, 12

// maxIndex and maxBlocks bound one stream's index (bytes) and the blocks of
// all streams together. A 4 GiB file in blocks of 64 KiB stays below both.
const (
	maxIndex  = 2 << 20
	maxBlocks = 1 << 17
)

var (
	headerMagic = []byte{0xFD, '7', 'z', 'X', 'Z', 0} // [xz] 2.1.1.1
	footerMagic = []byte{'Y', 'Z'}                    // [xz] 2.1.2.4
)

// A block is where one block lies in the file and in the contents.
type block struct {
	offset     int64   // of the block header in the file
	unpadded   int64   // size in the file without the padding
	size       int64   // size of the contents
	out        int64   // offset in the contents
	flags      [2]byte // stream flags: the kind of checksum
	dictionary int64   // LZMA2 dictionary size
}

// padded rounds up to the alignment of four bytes that all parts of a file
// have.
func padded(n int64) int64 { return (n + 3) &^ 3 }

// readBlocks lists the blocks of all streams of a file in order, without
// decoding any, and the size of the contents. It walks from the end, where
// each stream's index says how long the stream is.
func readBlocks(src io.ReaderAt, size, limit int64) ([]block, int64, error) {
	if size < headerSize+footerSize || size%4 != 0 {
		return nil, 0, fmt.Errorf("%w: %d bytes are no xz file", ErrFormat, size)
	}
	var list []block // from the last to the first
	var total int64
	for end := size; end > 0; {
		var err error
		if end, err = skipPadding(src, end); err != nil {
			return nil, 0, err
		}
		blocks, start, err := readStream(src, end)
		if err != nil {
			return nil, 0, err
		}
		for _, b := range blocks {
			if b.size > limit-total {
				return nil, 0, fmt.Errorf("%w: more than %d bytes of contents", ErrTooLarge, limit)
			}
			total += b.size
		}
		if len(list)+len(blocks) > maxBlocks {
			return nil, 0, fmt.Errorf("%w: more than %d blocks", ErrTooLarge, maxBlocks)
		}
		slices.Reverse(blocks)
		list = append(list, blocks...)
		end = start
	}
	slices.Reverse(list)
	var out int64
	for i := range list {
		list[i].out = out
		out += list[i].size
	}
	return list, total, nil
}

// skipPadding returns where the stream that ends at or before end ends: the
// zero bytes between streams ([xz] 2.2) are skipped, four at a time.
func skipPadding(src io.ReaderAt, end int64) (int64, error) {
	for end >= headerSize+footerSize {
		var word [4]byte
		if err := readAt(src, word[:], end-4); err != nil {
			return 0, err
		}
		if word != [4]byte{} {
			return end, nil
		}
		end -= 4
	}
	return 0, fmt.Errorf("%w: no stream before byte %d", ErrFormat, end)
}

// readStream reads footer, index and header of the stream that ends at end,
// and returns its blocks and where it starts.
func readStream(src io.ReaderAt, end int64) ([]block, int64, error) {
	if end < headerSize+footerSize {
		return nil, 0, fmt.Errorf("%w: no stream before byte %d", ErrFormat, end)
	}
	var footer [footerSize]byte
	if err := readAt(src, footer[:], end-footerSize); err != nil {
		return nil, 0, err
	}
	if !bytes.Equal(footer[10:], footerMagic) {
		return nil, 0, fmt.Errorf("%w: no stream footer before byte %d", ErrFormat, end)
	}
	if crc32.ChecksumIEEE(footer[4:10]) != binary.LittleEndian.Uint32(footer[:4]) {
		return nil, 0, fmt.Errorf("%w: checksum of the stream footer before byte %d", ErrFormat, end)
	}
	indexSize := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	indexStart := end - footerSize - indexSize
	if indexSize > maxIndex {
		return nil, 0, fmt.Errorf("%w: index of %d bytes", ErrTooLarge, indexSize)
	}
	if indexStart < headerSize {
		return nil, 0, fmt.Errorf("%w: index longer than the file", ErrFormat)
	}
	index := make([]byte, indexSize)
	if err := readAt(src, index, indexStart); err != nil {
		return nil, 0, err
	}
	blocks, err := parseIndex(index)
	if err != nil {
		return nil, 0, err
	}

	start := indexStart
	for i := len(blocks) - 1; i >= 0; i-- {
		b := &blocks[i]
		if padded(b.unpadded) > start-headerSize {
			return nil, 0, fmt.Errorf("%w: index lists more than the file holds", ErrFormat)
		}
		start -= padded(b.unpadded)
		b.offset = start
		b.flags = [2]byte(footer[8:10])
	}
	start -= headerSize
	var header [headerSize]byte
	if err := readAt(src, header[:], start); err != nil {
		return nil, 0, err
	}
	want, _ := oneBlockStream([2]byte(footer[8:10]), 0, 0)
	if !bytes.Equal(header[:], want) {
		return nil, 0, fmt.Errorf("%w: no stream header at byte %d that fits the footer", ErrFormat, start)
	}
	return blocks, start, nil
}

// parseIndex reads an index ([xz] 4) with its checksum.
func parseIndex(index []byte) ([]block, error) {
	body, sum := index[:len(index)-4], index[len(index)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return nil, fmt.Errorf("%w: checksum of the index", ErrFormat)
	}
	if len(body) == 0 || body[0] != 0 { // [xz] 4.1: index indicator
		return nil, fmt.Errorf("%w: no index before the footer", ErrFormat)
	}
	body = body[1:]
	count, body, err := number(body)
	if err != nil {
		return nil, err
	}
	if count > maxBlocks || count > int64(len(body)) {
		return nil, fmt.Errorf("%w: index of %d blocks", ErrTooLarge, count)
	}
	blocks := make([]block, count)
	for i := range blocks {
		if blocks[i].unpadded, body, err = number(body); err != nil {
			return nil, err
		}
		if blocks[i].size, body, err = number(body); err != nil {
			return nil, err
		}
		// [xz] 4.3.1: an unpadded size below 5 is not possible.
		if blocks[i].unpadded < 5 || blocks[i].unpadded > 1<<62 {
			return nil, fmt.Errorf("%w: block of %d bytes", ErrFormat, blocks[i].unpadded)
		}
	}
	if len(body) > 3 || len(bytes.Trim(body, "\x00")) > 0 { // [xz] 4.4: padding
		return nil, fmt.Errorf("%w: bytes after the index", ErrFormat)
	}
	return blocks, nil
}

// number reads a multibyte integer ([xz] 1.2): seven bits a byte, at most
// nine bytes, no superfluous last byte.
func number(data []byte) (int64, []byte, error) {
	var n int64
	for i := 0; i < len(data) && i < 9; i++ {
		n |= int64(data[i]&0x7f) << (7 * i)
		if data[i]&0x80 == 0 {
			if data[i] == 0 && i > 0 {
				break
			}
			return n, data[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("%w: bad number", ErrFormat)
}

// readHeader reads the block header ([xz] 3.1) as far as memory depends on
// it: the only filter must be LZMA2, with a dictionary within the limit. The
// decoder checks the rest.
func (b *block) readHeader(src io.ReaderAt) error {
	var first [1]byte
	if err := readAt(src, first[:], b.offset); err != nil {
		return err
	}
	size := (int64(first[0]) + 1) * 4
	if first[0] == 0 || size > b.unpadded {
		return fmt.Errorf("%w: header of the block at byte %d", ErrFormat, b.offset)
	}
	header := make([]byte, size)
	if err := readAt(src, header, b.offset); err != nil {
		return err
	}
	flags, rest := header[1], header[2:size-4]
	if flags&0x03 != 0 || flags&0x3c != 0 {
		return fmt.Errorf("%w: block at byte %d uses filters other than LZMA2", ErrFormat, b.offset)
	}
	var err error
	for _, present := range []byte{0x40, 0x80} { // compressed, uncompressed size
		if flags&present == 0 {
			continue
		}
		if _, rest, err = number(rest); err != nil {
			return err
		}
	}
	// [xz] 5.3.1: filter id 0x21, one byte of properties: the dictionary size.
	if len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 || rest[2] > 40 {
		return fmt.Errorf("%w: block at byte %d uses filters other than LZMA2", ErrFormat, b.offset)
	}
	bits := int64(rest[2])
	b.dictionary = (2 | bits&1) << (bits/2 + 11)
	if b.dictionary > MaxDictionary {
		return fmt.Errorf("%w: dictionary of %d bytes", ErrTooLarge, b.dictionary)
	}
	return nil
}

// oneBlockStream makes the bytes before and after a block that turn it into a
// stream of one block.
func oneBlockStream(flags [2]byte, unpadded, size int64) (header, trailer []byte) {
	header = append(header, headerMagic...)
	header = append(header, flags[:]...)
	header = binary.LittleEndian.AppendUint32(header, crc32.ChecksumIEEE(flags[:]))

	index := []byte{0, 1}
	index = binary.AppendUvarint(index, uint64(unpadded))
	index = binary.AppendUvarint(index, uint64(size))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))

	tail := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	tail = append(tail, flags[:]...)
	trailer = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(tail))
	trailer = append(trailer, tail...)
	return header, append(trailer, footerMagic...)
}

// readAt fills p from offset off; a file shorter than that is broken.
func readAt(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return fmt.Errorf("%w: ends at byte %d", ErrFormat, off+int64(n))
	}
	return fmt.Errorf("read xz file: %w", err)
}

package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"weft/builder/apt/deb"
)

// format names the layout of an unpacked package: its index, its data, and
// the rules by which package deb makes entries. Any change to one of these
// needs a new name, so that no build uses objects of another layout.
const format = "v1"

// indexMagic begins every index file; the SHA-256 of all that follows it comes
// next.
const indexMagic = "weft-deb-" + format + "\n"

// maxIndexEntries bounds what a broken index can make the reader allocate.
const maxIndexEntries = 1 << 20

// errIndex: an index file is broken.
var errIndex = errors.New("broken index")

// encodeIndex writes the entries of the package with the checksum sum, whose
// data file has size bytes. Numbers are varints, texts are preceded by their
// lengths.
func encodeIndex(sum [32]byte, size int64, entries []deb.Entry) []byte {
	body := make([]byte, 0, 64+len(entries)*160)
	body = append(body, sum[:]...)
	body = binary.AppendUvarint(body, uint64(size))
	body = binary.AppendUvarint(body, uint64(len(entries)))
	text := func(s string) {
		body = binary.AppendUvarint(body, uint64(len(s)))
		body = append(body, s...)
	}
	for _, e := range entries {
		text(e.Path)
		body = binary.AppendUvarint(body, uint64(e.Mode))
		body = binary.AppendVarint(body, e.ModTime.Unix())
		switch {
		case e.Mode.IsRegular():
			body = binary.AppendUvarint(body, uint64(e.Offset))
			body = binary.AppendUvarint(body, uint64(e.Size))
			body = append(body, e.SHA256[:]...)
		case e.Mode&fs.ModeSymlink != 0:
			text(e.Link)
		}
	}
	check := sha256.Sum256(body)
	out := append([]byte(indexMagic), check[:]...)
	return append(out, body...)
}

// decodeIndex reads what encodeIndex wrote, for the package with the checksum
// sum, and returns the size the data file must have.
func decodeIndex(file []byte, sum [32]byte) (int64, []deb.Entry, error) {
	if len(file) < len(indexMagic)+sha256.Size || string(file[:len(indexMagic)]) != indexMagic {
		return 0, nil, fmt.Errorf("%w: no %q at its start", errIndex, indexMagic)
	}
	check, body := file[len(indexMagic):len(indexMagic)+sha256.Size], file[len(indexMagic)+sha256.Size:]
	if sha256.Sum256(body) != [32]byte(check) {
		return 0, nil, fmt.Errorf("%w: checksum", errIndex)
	}
	return decodeBody(body, sum)
}

// decodeBody reads an index after its checksum.
func decodeBody(body []byte, sum [32]byte) (int64, []deb.Entry, error) {
	r := indexReader{rest: body, text: string(body)}
	if [32]byte(r.bytes(32)) != sum {
		return 0, nil, fmt.Errorf("%w: it is of another package", errIndex)
	}
	size, count := r.number(), r.number()
	if r.bad || count > maxIndexEntries {
		return 0, nil, fmt.Errorf("%w: %d entries", errIndex, count)
	}
	// An entry takes at least three bytes, which bounds what is allocated.
	entries := make([]deb.Entry, 0, min(int(count), len(r.rest)/3))
	for range count {
		e := deb.Entry{Path: r.string(), Mode: fs.FileMode(r.number()), ModTime: time.Unix(r.signed(), 0).UTC()}
		switch {
		case e.Mode.IsRegular():
			e.Offset, e.Size = int64(r.number()), int64(r.number())
			copy(e.SHA256[:], r.bytes(32))
			if e.Offset < 0 || e.Size < 0 || uint64(e.Offset)+uint64(e.Size) > size {
				return 0, nil, fmt.Errorf("%w: %s ends beyond the data", errIndex, e.Path)
			}
		case e.Mode&fs.ModeSymlink != 0:
			e.Link = r.string()
		}
		if r.bad {
			return 0, nil, fmt.Errorf("%w: cut off", errIndex)
		}
		entries = append(entries, e)
	}
	if len(r.rest) != 0 {
		return 0, nil, fmt.Errorf("%w: %d bytes too many", errIndex, len(r.rest))
	}
	return int64(size), entries, nil
}

// indexReader takes values off the front of an index. text is the whole index
// as a string, of which all paths are parts, so that a path costs no memory
// of its own.
type indexReader struct {
	rest []byte
	text string
	bad  bool
}

func (r *indexReader) number() uint64 {
	n, used := binary.Uvarint(r.rest)
	if used <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

func (r *indexReader) signed() int64 {
	n, used := binary.Varint(r.rest)
	if used <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

// bytes takes n bytes; if there are not as many, zeros.
func (r *indexReader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad = true
		return make([]byte, min(n, 32))
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *indexReader) string() string {
	n := r.number()
	start := len(r.text) - len(r.rest)
	if n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	r.rest = r.rest[n:]
	return r.text[start : start+int(n)]
}

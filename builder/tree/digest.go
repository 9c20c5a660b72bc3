package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
)

// Digest is a hash of the whole tree: the epoch and every entry's path, mode,
// owner, device numbers, target and content. Equal digests mean that every
// writer gives equal bytes for equal parameters. Contents are read, except
// those that are a [Digester].
func (t *Tree) Digest() ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	if err := t.Err(); err != nil {
		return sum, err
	}
	h := sha256.New()
	number(h, uint64(t.epoch.Unix()))
	for e := range t.All() {
		text(h, e.Path)
		number(h, uint64(e.Mode))
		number(h, uint64(e.UID))
		number(h, uint64(e.GID))
		number(h, uint64(e.Major))
		number(h, uint64(e.Minor))
		text(h, e.Target)
		if e.Content == nil {
			continue
		}
		c, err := digest(e.Content)
		if err != nil {
			return sum, fmt.Errorf("digest of %s: %w", e.Path, err)
		}
		h.Write(c[:])
	}
	h.Sum(sum[:0])
	return sum, nil
}

// digest is the SHA-256 of one content.
func digest(c Content) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	if d, ok := c.(Digester); ok {
		return d.Digest(), nil
	}
	h := sha256.New()
	if err := Copy(h, c); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}

// number adds v to h.
func number(h hash.Hash, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	h.Write(b[:])
}

// text adds s to h after its length, so that no two lists of texts look
// alike.
func text(h hash.Hash, s string) {
	number(h, uint64(len(s)))
	h.Write([]byte(s))
}

package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"weft/builder/apt/deb"
)

func TestIndexComesBackAsItWas(t *testing.T) {
	entries := []deb.Entry{
		{Path: "a", Mode: fs.ModeDir | 0o755, ModTime: time.Unix(5, 0).UTC()},
		{Path: "a/b", Mode: 0o4755, Offset: 512, Size: 10, SHA256: [32]byte{1, 2}, ModTime: time.Unix(-7, 0).UTC()},
		{Path: "a/c", Mode: fs.ModeSymlink | 0o777, Link: "../x", ModTime: time.Unix(0, 0).UTC()},
	}
	key := [32]byte{9}
	size, got, err := decodeIndex(encodeIndex(key, 522, entries), key)
	if err != nil || size != 522 || fmt.Sprint(got) != fmt.Sprint(entries) {
		t.Errorf("got %d %v %v", size, got, err)
	}
	if _, _, err := decodeIndex(encodeIndex(key, 521, entries), key); !errors.Is(err, errIndex) {
		t.Errorf("a file beyond the data: %v", err)
	}
	if _, _, err := decodeIndex(encodeIndex(key, 522, entries), [32]byte{}); !errors.Is(err, errIndex) {
		t.Errorf("another package's index: %v", err)
	}
}

// FuzzIndex reads broken indexes past their checksum.
func FuzzIndex(f *testing.F) {
	key := [32]byte{9}
	whole := encodeIndex(key, 1000, []deb.Entry{{Path: "a", Size: 3}, {Path: "b", Mode: fs.ModeSymlink, Link: "a"}})
	f.Add(whole[len(indexMagic)+sha256.Size:])
	f.Fuzz(func(t *testing.T, data []byte) {
		size, entries, err := decodeBody(data, key)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Offset+e.Size > size || e.Size < 0 {
				t.Errorf("%+v of %d", e, size)
			}
		}
	})
}

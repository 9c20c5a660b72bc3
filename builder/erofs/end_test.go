package erofs

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func TestEndIsWhereTheFileSystemEnds(t *testing.T) {
	b, err := os.ReadFile(image(t, root()))
	if err != nil {
		t.Fatal(err)
	}
	slot := append(bytes.Clone(b), make([]byte, 1<<20)...)
	if end, err := End(bytes.NewReader(slot)); err != nil || end != int64(len(b)) {
		t.Errorf("got %d, want %d: %v", end, len(b), err)
	}
	for name, at := range map[string]int{"a wrong checksum": uuidOffset, "another magic": magicOffset} {
		bad := bytes.Clone(slot)
		bad[at] ^= 1
		if _, err := End(bytes.NewReader(bad)); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := End(bytes.NewReader(nil)); err == nil {
		t.Error("nothing at all has an end")
	}
}

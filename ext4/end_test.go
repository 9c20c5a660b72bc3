package ext4

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func TestEndIsBehindTheJournalOfANewFileSystem(t *testing.T) {
	name := image(t, with(func(p *Params) { p.Size, p.Journal = 64<<20, 0 }))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(journalAt*BlockSize + 8<<20)
	if end, err := End(bytes.NewReader(b)); err != nil || end != want {
		t.Errorf("got %d, want %d: %v", end, want, err)
	}
	b[blockBitmapAt*BlockSize+2000] |= 2 // block 16001 is in use
	if _, err := End(bytes.NewReader(b)); want > 16001*BlockSize || !errors.Is(err, ErrNotOurs) {
		t.Errorf("with a block in use behind: %v", err)
	}
	if out := tool(t, "tune2fs", "-C", "1", name); out == "" {
		t.Error("tune2fs is silent")
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := End(f); !errors.Is(err, ErrNotOurs) {
		t.Errorf("one that was mounted: %v", err)
	}
}

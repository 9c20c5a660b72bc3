package flash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A reader is a system with one card reader, into which cards are put.
type reader struct{ cards []Device }

func (r *reader) Devices(context.Context) ([]Device, error) {
	d := r.cards[0]
	return []Device{{Name: "sda", Size: 1000, SectorSize: 512, System: "/ is on it"}, d}, nil
}

func (r *reader) Open(context.Context, Device) (Disk, error) { return nil, errors.New("not looked at") }

func (r *reader) Changes(context.Context) iter.Seq[error] {
	return func(yield func(error) bool) {
		for ; len(r.cards) > 0; r.cards = r.cards[1:] {
			for range 2 { // the disk, and its partition
				if !yield(nil) {
					return
				}
			}
		}
		yield(errors.New("no more cards"))
	}
}

func TestThreeCardsOneAfterTheOther(t *testing.T) {
	card := func(seq uint64, serial string) Device {
		return Device{Name: "mmcblk0", Size: 1000, SectorSize: 512, Removable: true, Transport: "mmc", Serial: serial, Sequence: seq}
	}
	locked := card(3, "B")
	locked.ReadOnly = true
	path := filepath.Join(t.TempDir(), "home.cards.json")
	var said strings.Builder
	run := func(cards ...Device) (*Manifest, []string, error) {
		m, err := ReadManifest(path, "home")
		if err != nil {
			t.Fatal(err)
		}
		var written []string
		b := Batch{System: &reader{cards}, Manifest: m, Nodes: []string{"pi-1", "pi-2", "pi-3"},
			Known: func(io.ReaderAt, int64) string { return "" },
			Say:   func(f string, args ...any) { fmt.Fprintf(&said, f+"\n", args...) },
			Write: func(_ context.Context, node string, d Device) (Card, bool, error) {
				if d.Serial == "broken" {
					return Card{}, false, &Refusal{d.Name, ErrDiffers, "", "take another"}
				}
				written = append(written, node+" "+d.Serial)
				return Card{Node: node, Serial: d.Serial, Size: d.Size, SHA256: "s", Written: time.Unix(1e9, 0)}, true, nil
			}}
		return m, written, b.Run(t.Context())
	}
	// An empty reader, a card, the same card again, then the day is over.
	empty := card(1, "")
	empty.Size = 0
	if _, written, err := run(empty, card(2, "A"), card(4, "A")); err == nil || fmt.Sprint(written) != "[pi-1 A]" {
		t.Fatalf("wrote %v: %v", written, err)
	}
	if !strings.Contains(said.String(), "mmcblk0 holds the card of pi-1") {
		t.Errorf("said:\n%s", said.String())
	}
	m, written, err := run(card(7, "A"), locked, card(8, "broken"), card(9, "B"), card(10, "C"))
	if err != nil || fmt.Sprint(written) != "[pi-2 B pi-3 C]" {
		t.Errorf("wrote %v: %v", written, err)
	}
	if len(m.Cards) != 3 || m.Cards[2].Node != "pi-3" {
		t.Errorf("the manifest has %+v", m.Cards)
	}
	if _, written, err := run(card(11, "D")); err != nil || len(written) > 0 {
		t.Errorf("all done, and %v: %v", written, err)
	}
	if _, err := ReadManifest(path, "other"); err == nil {
		t.Error("the manifest of another cluster is taken")
	}
}

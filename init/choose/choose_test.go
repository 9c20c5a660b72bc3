package choose

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"weft/slot"
)

// A card is a disk in memory. After writes are used up every write is torn:
// power is cut in the middle of it.
type card struct {
	data   []byte
	writes int
	synced int
}

var errPower = errors.New("power is cut")

func newCard() *card { return &card{data: make([]byte, 1<<20), writes: 1 << 20} }

func (c *card) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > int64(len(c.data)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(b, c.data[off:]), nil
}

func (c *card) WriteAt(b []byte, off int64) (int, error) {
	if c.writes == 0 {
		copy(c.data[off:], b[:len(b)/2])
		return 0, errPower
	}
	c.writes--
	return copy(c.data[off:], b), nil
}

func (c *card) Sync() error { c.synced++; return nil }

func both() fstest.MapFS {
	return fstest.MapFS{"weft/a/vmlinuz": {}, "weft/b/vmlinuz": {}}
}

func loads(slot.Name) error { return nil }

// boot chooses once and expects a slot.
func boot(t *testing.T, c *card, want slot.Name) Choice {
	t.Helper()
	got, err := Choose(c, both(), loads)
	if err != nil || got.Slot != want {
		t.Fatalf("slot %q, %v; want %q", got.Slot, err, want)
	}
	return got
}

func put(t *testing.T, c *card, r slot.Record) {
	t.Helper()
	if _, err := slot.InGap.Save(c, r); err != nil {
		t.Fatal(err)
	}
}

func TestASlotIsTriedThreeTimesAndThenTheOtherComesUp(t *testing.T) {
	c := newCard()
	put(t, c, slot.NewRecord(slot.A, slot.B))
	for left := 2; left >= 0; left-- {
		if got := boot(t, c, slot.A); int(got.State.TriesLeft) != left || len(got.Problems) > 0 || !got.Counted {
			t.Errorf("%d tries left, want %d, counted %v; %v", got.State.TriesLeft, left, got.Counted, got.Problems)
		}
	}
	boot(t, c, slot.B)
	record, _ := slot.InGap.Load(c)
	record, _ = record.Bless(slot.B)
	put(t, c, record)
	synced := c.synced
	if got := boot(t, c, slot.B); c.synced != synced || got.Counted {
		t.Error("a good slot was booted with a write, or counted")
	}
}

func TestASlotThatUsedUpItsTriesIsTheLastResort(t *testing.T) {
	c := newCard()
	put(t, c, slot.NewRecord(slot.A, slot.B))
	for range 6 {
		if _, err := Choose(c, both(), loads); err != nil {
			t.Fatal(err)
		}
	}
	if got := boot(t, c, slot.A); got.Counted {
		t.Error("the last resort was counted")
	}
}

func TestASlotThatCannotBeReadLosesNoTry(t *testing.T) {
	c := newCard()
	put(t, c, slot.NewRecord(slot.A, slot.B))
	got, err := Choose(c, both(), func(n slot.Name) error {
		if n == slot.A {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if err != nil || got.Slot != slot.B || len(got.Problems) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if r, _ := slot.InGap.Load(c); r.A.TriesLeft != 3 || r.B.TriesLeft != 2 {
		t.Errorf("%d and %d tries left, want 3 and 2", r.A.TriesLeft, r.B.TriesLeft)
	}
}

func TestALostRecordIsMadeAnew(t *testing.T) {
	c := newCard()
	got := boot(t, c, slot.A)
	if len(got.Problems) != 1 || !errors.Is(got.Problems[0], slot.ErrDamaged) {
		t.Errorf("problems: %v", got.Problems)
	}
	if r, err := slot.InGap.Load(c); err != nil || r.A.TriesLeft != 2 || r.B.TriesLeft != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestACardThatTakesNoWritesBoots(t *testing.T) {
	c := newCard()
	put(t, c, slot.NewRecord(slot.A))
	c.writes = 0
	if got := boot(t, c, slot.A); len(got.Problems) != 1 || !errors.Is(got.Problems[0], errPower) || got.Counted {
		t.Errorf("counted: %v, problems: %v", got.Counted, got.Problems)
	}
}

func TestPowerCutInAnyWriteLeavesTheRecordBefore(t *testing.T) {
	for cut := range 3 {
		c := newCard()
		put(t, c, slot.NewRecord(slot.A, slot.B))
		c.writes = cut
		for range cut {
			boot(t, c, slot.A)
		}
		before, _ := slot.InGap.Load(c)
		boot(t, c, slot.A)
		after, err := slot.InGap.Load(c)
		if err != nil || after != before {
			t.Errorf("cut in write %d: %+v, %v; want %+v", cut+1, after, err, before)
		}
	}
}

func TestASlotThatTheRecordDoesNotKnowIsTriedBeforeGivingUp(t *testing.T) {
	c := newCard()
	put(t, c, slot.NewRecord(slot.A))
	var asked []slot.Name
	got, err := Choose(c, both(), func(n slot.Name) error {
		asked = append(asked, n)
		if n == slot.A {
			return io.EOF
		}
		return nil
	})
	if err != nil || got.Slot != slot.B || !slices.Equal(asked, []slot.Name{slot.A, slot.B}) {
		t.Errorf("%+v, %v, asked %v", got, err, asked)
	}
	if _, err := Choose(c, fstest.MapFS{}, func(slot.Name) error { return io.EOF }); !errors.Is(err, ErrNoSlot) || !errors.Is(err, io.EOF) {
		t.Errorf("nothing to start: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	if got, err := CommandLine([]byte("root=x quiet\n"), slot.A, "weft.record=gap"); err != nil || got != "root=x quiet weft.record=gap" {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                        "the file is empty",
		"a\nb":                    "byte 0x0a is no printable ASCII",
		"a\x00":                   "byte 0x00",
		strings.Repeat("x", 2047): "2049 bytes with what slot b is told",
	} {
		if _, err := CommandLine([]byte(text), slot.B, "y"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v, want %q", text, err, want)
		}
	}
}

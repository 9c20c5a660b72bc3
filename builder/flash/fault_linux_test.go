package flash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"weft/builder/progress"
)

// A faulty disk breaks what it is told to.
type faulty struct {
	Disk
	writes  int // how many succeed
	pulled  bool
	corrupt func() // before the first sync that follows all writes
	reads   int
}

func (f *faulty) WriteAt(b []byte, off int64) (int, error) {
	if f.writes--; f.writes == 0 {
		f.pulled = true
	}
	if f.pulled {
		return 0, syscall.ENODEV
	}
	return f.Disk.WriteAt(b, off)
}

func (f *faulty) ReadAt(b []byte, off int64) (int, error) {
	if off == 0 && f.corrupt != nil { // the head is read first when verifying
		f.corrupt()
		f.corrupt = nil
	}
	f.reads++
	return f.Disk.ReadAt(b, off)
}

func (f *faulty) Present() bool { return !f.pulled && f.Disk.Present() }

func TestCorruptionBetweenWriteAndVerifyIsFoundAtItsByte(t *testing.T) {
	raw := image(t, 1)
	for name, at := range map[string]int64{"in data": 3*mib + 77, "in a hole": 12*mib + 5, "at the end of a chunk of a hole": 16*mib - 77, "in the table": 600, "at the end of the card": 100*mib - 3} {
		t.Run(name, func(t *testing.T) {
			d, card := loop(t, 100*mib)
			corrupt := func() {
				f, err := os.OpenFile(card, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				b := []byte{0}
				_, err = f.ReadAt(b, at)
				b[0] ^= 0x40
				_, more := f.WriteAt(b, at)
				if err := errors.Join(err, more, f.Sync(), f.Close()); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := flash(t, raw, d, Options{Wrap: func(d Disk) Disk { return &faulty{Disk: d, corrupt: corrupt} }})
			if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), fmt.Sprintf("at byte %d", at)) {
				t.Errorf("byte %d: %v", at, err)
			}
		})
	}
}

func TestPulledCardIsResumed(t *testing.T) {
	raw, state := image(t, 1), t.TempDir()
	d, card := loop(t, 100*mib)
	_, _, err := flash(t, raw, d, Options{StateDir: state, Wrap: func(d Disk) Disk { return &faulty{Disk: d, writes: 4} }})
	if !errors.Is(err, ErrPulled) || !strings.Contains(err.Error(), "--resume") {
		t.Fatalf("got %v", err)
	}
	if _, _, err := flash(t, image(t, 2), d, Options{StateDir: state, Resume: true}); err == nil || !strings.Contains(err.Error(), "another image") {
		t.Errorf("another image: %v", err)
	}
	// Somebody writes to the card before it is put back.
	f, err := os.OpenFile(card, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("elsewhere"), mib+50); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, r, err := flash(t, raw, d, Options{StateDir: state, Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Proved == 0 {
		t.Error("nothing was taken up")
	}
	equal(t, card, raw)
	if _, _, err := flash(t, raw, d, Options{StateDir: state, Resume: true}); err == nil || !strings.Contains(err.Error(), "nothing was begun") {
		t.Errorf("a finished card is resumed: %v", err)
	}
}

func TestInterruptedWriteLeavesACardThatDoesNotBoot(t *testing.T) {
	raw := image(t, 1)
	d, card := loop(t, 100*mib)
	ctx, stop := context.WithCancel(t.Context())
	s, err := OpenSource(ctx, raw, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	_, _, err = Flash(ctx, Host(), s, d, Options{StateDir: state, Report: progress.Discard, Wrap: func(d Disk) Disk { return &stopping{d, stop} }}, false)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	head := make([]byte, headSize)
	f, err := os.Open(card)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(head, 0); err != nil || !bytes.Equal(head, make([]byte, headSize)) {
		t.Errorf("the card still has a head: %v", err)
	}
	if _, r, err := flash(t, raw, d, Options{StateDir: state, Resume: true}); err != nil || r.Proved == 0 {
		t.Errorf("resumed %+v: %v", r, err)
	}
	equal(t, card, raw)
}

func TestHeadIsNotBelievedWhileAnythingElseIsWrong(t *testing.T) {
	raw, state := image(t, 1), t.TempDir()
	d, card := loop(t, 100*mib)
	s, err := OpenSource(t.Context(), raw, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	// All is written, and the user interrupts the verifying.
	ctx, stop := context.WithCancel(t.Context())
	_, _, err = Flash(ctx, Host(), s, d, Options{StateDir: state, Report: progress.Discard, Wrap: func(d Disk) Disk { return &faulty{Disk: d, corrupt: stop} }}, false)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	equal(t, card, raw)
	f, err := os.OpenFile(card, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("elsewhere"), 3*mib); err != nil {
		t.Fatal(err)
	}
	// Pulled once more after the first write, the card must not boot.
	if _, _, err := flash(t, raw, d, Options{StateDir: state, Resume: true, Wrap: func(d Disk) Disk { return &faulty{Disk: d, writes: 2} }}); !errors.Is(err, ErrPulled) {
		t.Fatalf("got %v", err)
	}
	head := make([]byte, headSize)
	if _, err := f.ReadAt(head, 0); err != nil || !isZero(head) {
		t.Errorf("the card still has a head: %v", err)
	}
	if _, _, err := flash(t, raw, d, Options{StateDir: state, Resume: true}); err != nil {
		t.Fatal(err)
	}
	equal(t, card, raw)
}

func TestDeviceThatCannotZeroIsReadAndWrittenWhereItIsNot(t *testing.T) {
	raw := image(t, 1)
	d, card := loop(t, 100*mib)
	// Of one chunk of a hole, only the end is not zero; another is all zero.
	f, err := os.OpenFile(card, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 8*mib-100), 8*mib); err != nil {
		t.Fatal(err)
	}
	_, dirty, err := flash(t, raw, d, Options{Wrap: func(d Disk) Disk { return unable{d} }})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, card, raw)
	_, clean, err := flash(t, raw, d, Options{Wrap: func(d Disk) Disk { return unable{d} }})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, card, raw)
	if clean.Zero != dirty.Zero || dirty.Written != clean.Written+clean.Zero-4*mib {
		t.Errorf("%+v on a card with old content, %+v on one with zeros", dirty, clean)
	}
}

// An unable disk cannot make anything zero.
type unable struct{ Disk }

func (unable) Zero(int64, int64) bool { return false }

// A stopping disk has the user interrupt after the first data.
type stopping struct {
	Disk
	stop func()
}

func (s *stopping) WriteAt(b []byte, off int64) (int, error) {
	n, err := s.Disk.WriteAt(b, off)
	if off > 0 {
		s.stop()
	}
	return n, err
}

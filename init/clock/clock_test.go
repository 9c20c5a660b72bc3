package clock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func day(n int) time.Time { return time.Unix(1_763_000_000+int64(n)*86400, 0) }

func TestFloor(t *testing.T) {
	for name, c := range map[string]struct {
		now, epoch, kept, want time.Time
		behind                 bool
	}{
		"a board without a battery":      {time.Unix(0, 0), day(0), time.Time{}, day(0), true},
		"the same at its second boot":    {time.Unix(0, 0), day(0), day(9), day(9), true},
		"a good clock is left alone":     {day(20), day(0), day(9), day(9), false},
		"an update is newer than memory": {day(5), day(10), day(4), day(10), true},
		"a damaged memory is no floor":   {day(5), day(0), time.Unix(1<<40, 0), day(0), false},
	} {
		floor, behind := Floor(c.now, c.epoch, c.kept)
		if !floor.Equal(c.want) || behind != c.behind {
			t.Errorf("%s: %v, %v", name, floor, behind)
		}
	}
}

func TestKeptTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	if got, err := Load(path); err != nil || !got.IsZero() {
		t.Errorf("without a file: %v, %v", got, err)
	}
	if err := Save(path, day(3)); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(path); err != nil || !got.Equal(day(3)) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "-5", "x", "99999999999999", "1e9"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := Load(path); !errors.Is(err, ErrMalformed) || !got.IsZero() {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestKeepSavesAtOnceAndAtEachTick(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tick := make(chan time.Time)
	saved := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		Keep(ctx, tick, func() { saved <- struct{}{} })
	}()
	<-saved
	tick <- day(0)
	<-saved
	cancel()
	<-done
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("1763683200\n"))
	f.Add([]byte(" -1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := Decode(data); err == nil && !got.Before(farFuture) {
			t.Errorf("%q gave %v", data, got)
		}
	})
}

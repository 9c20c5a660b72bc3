// Package clock keeps the node's time from running backwards over a boot:
// boards without a battery start in 1970, where no certificate is valid.
//
// The floor is the image's own time stamp or the last time the node knew.
// Exact time from the network is not its business.
package clock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
)

// farFuture bounds a kept time; one beyond it is damage, not knowledge.
var farFuture = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// SaveEvery is how often the time is kept while the node runs.
const SaveEvery = time.Hour

// Floor returns the time the clock must show at least, and whether now is
// before it. A zero kept time means none is known.
func Floor(now, epoch, kept time.Time) (floor time.Time, behind bool) {
	floor = epoch
	if kept.After(floor) && kept.Before(farFuture) {
		floor = kept
	}
	return floor, now.Before(floor)
}

// ErrMalformed says that a kept time is damaged.
var ErrMalformed = errors.New("malformed kept time")

// Decode reads a kept time: seconds since 1970 in decimal.
func Decode(data []byte) (time.Time, error) {
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || seconds < 0 || seconds >= farFuture.Unix() {
		return time.Time{}, fmt.Errorf("%w: %.40q", ErrMalformed, data)
	}
	return time.Unix(seconds, 0), nil
}

// Load reads the kept time at path; zero when there is none.
func Load(path string) (time.Time, error) {
	data, err := keep.Read(path, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return Decode(data)
}

// Save keeps t at path.
func Save(path string, t time.Time) error {
	return keep.Write(path, []byte(strconv.FormatInt(t.Unix(), 10)+"\n"), 0o644)
}

// Set sets the kernel's clock.
func Set(t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock to %s: %w", t.UTC().Format(time.RFC3339), err)
	}
	return nil
}

// Keep calls save at once and then for every tick until ctx ends.
func Keep(ctx context.Context, tick <-chan time.Time, save func()) {
	for {
		save()
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}

package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A Latency is how long a disk takes to make small writes durable.
type Latency struct {
	// Median and Worst are of single calls of fdatasync(2); Writes is how
	// many there were.
	Median, Worst time.Duration
	Writes        int
}

// SlowSync is where a disk counts as slow: the authors of etcd ask for a 99th
// percentile below 10 ms (etcd.io, "What does the etcd warning 'failed to send
// out heartbeat on time' mean?"), and most cards are far from that.
const SlowSync = 10 * time.Millisecond

// Slow reports whether a database on the disk will be heard complaining.
func (l Latency) Slow() bool { return l.Median > SlowSync }

const (
	// probeWrites and probeSize are what fio is told to do when etcd's authors
	// measure a disk, with fewer writes: 2300 bytes, synced one by one.
	probeWrites = 32
	probeSize   = 2300
	// probeWithin bounds a measurement; the worst of cards take a second for
	// a single write.
	probeWithin = 10 * time.Second
)

// MeasureSync measures the disk below dir with a file that it removes
// afterwards.
func MeasureSync(dir string, now func() time.Time) (l Latency, err error) {
	path := filepath.Join(dir, "latency.tmp")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Latency{}, fmt.Errorf("measure %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	data := make([]byte, probeSize)
	var took []time.Duration
	for begin := now(); len(took) < probeWrites; {
		if _, err := f.Write(data); err != nil {
			return Latency{}, fmt.Errorf("measure %s: %w", dir, err)
		}
		start := now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return Latency{}, fmt.Errorf("measure %s: fdatasync: %w", dir, err)
		}
		end := now()
		took = append(took, end.Sub(start))
		if end.Sub(begin) > probeWithin {
			break
		}
	}
	slices.Sort(took)
	return Latency{Median: took[len(took)/2], Worst: took[len(took)-1], Writes: len(took)}, nil
}

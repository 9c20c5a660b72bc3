package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/ready"
	"weft/init/status"
	"weft/init/storage"
)

const (
	// reserveFile keeps room for the node's own state.
	reserveFile = stateDir + "/reserve"
	// latencyFile keeps the last measurement of the disk.
	latencyFile = stateDir + "/latency.json"
	// diskEvery is how often room and faults are looked at. The kernel tells
	// of neither by an event that all of its versions have.
	diskEvery = 30 * time.Second
	// measureEvery is how often the disk is measured: cards grow slower with
	// age, and each measurement writes to them.
	measureEvery = 30 * 24 * time.Hour
	// measureAfter lets what starts with the node have the disk first.
	measureAfter = 20 * time.Second
	// toldLargest is how many directories are named when the disk is full.
	toldLargest = 4
)

// diskNotes keep what is known of the data partition.
type diskNotes struct {
	mu     sync.Mutex
	device string // empty when /data is in memory
	errors int64  // damage the kernel has met
	sync   *status.Sync
	card   *storage.Card // nil when the disk is none
	notes  []string
	aside  string // the partition with the damaged content, if it was kept
}

// mounted takes note of the partition.
func (n *diskNotes) mounted(p storage.Partition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.device = p.Name
	n.card = storage.ReadCard("/sys", p.Disk)
}

// worn says why the card should be replaced; empty when nothing tells so.
func (n *diskNotes) worn() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.card.Warning()
}

// add keeps a line of what was done to the partition.
func (n *diskNotes) add(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.notes, text) {
		n.notes = append(n.notes, text)
	}
}

// setAside takes note of where the damaged content is.
func (n *diskNotes) setAside(device, text string) {
	n.add(text)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.aside = device
}

// where says what has become of what a partition held that was made new.
func (n *diskNotes) where() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.aside != "" {
		return "in " + n.aside + ", as far as there was room, and used no more"
	}
	return "gone"
}

// damage takes how often the kernel has met damage and reports whether that
// is more than before.
func (n *diskNotes) damage(count int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	more := count > n.errors
	n.errors = count
	return more
}

// measured takes a measurement.
func (n *diskNotes) measured(m *status.Sync) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sync = m
}

// name is the partition's device name.
func (n *diskNotes) name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.device
}

// fillData puts the data partition into a document.
func (s *system) fillData(d *status.Document) {
	n := &s.disk
	n.mu.Lock()
	d.Data = status.Data{Device: n.device, Errors: n.errors, Sync: n.sync, Card: n.card, Notes: slices.Clone(n.notes)}
	n.mu.Unlock()
	if !closed(s.dataDone) {
		return
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dataDir, &st); err != nil {
		return
	}
	d.Data.Size, d.Data.Free = int64(st.Blocks)*st.Bsize, int64(st.Bavail)*st.Bsize
	d.Data.ReadOnly = st.Flags&unix.ST_RDONLY != 0 && d.Data.Device != ""
}

// keepState writes state of the node, with the reserve's room if there is no
// other; one at a time, as package keep wants it.
func (s *system) keepState(save func() error) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	full, err := storage.Keep(reserveFile, save)
	if full && err == nil {
		s.log.Problem("the data partition is full; the room kept for the node's own state was used")
	}
	return err
}

// sweepState removes what a power cut left half written. The files themselves
// are whole: they are only ever replaced.
func (s *system) sweepState() {
	removed, err := keep.Sweep(stateDir)
	if err != nil {
		s.log.Problem("%v", err)
	}
	for _, name := range removed {
		s.log.Note("%s was being written when the power went; the version before it counts", strings.TrimSuffix(name, keep.Unfinished))
	}
}

// watchDisk looks at the data partition until the node stops. It is called
// when the partition is good.
func (s *system) watchDisk() {
	ticker := time.NewTicker(diskEvery)
	defer ticker.Stop()
	full := false
	for {
		full = s.checkDisk(full)
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// checkDisk looks once; full says how it was before, and after.
func (s *system) checkDisk(full bool) bool {
	name := s.disk.name()
	if text, err := keep.Read(filepath.Join("/sys/fs/ext4", name, "errors_count"), 64); err == nil {
		count, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && s.disk.damage(count) {
			s.log.Problem("the kernel has met damage in the data partition %s (%d times since its last check): save what matters, check it with e2fsck on another machine, and replace the disk if it happens again", name, count)
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dataDir, &st); err != nil {
		s.log.Problem("%s: %v", dataDir, err)
		return full
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		if s.ctx.Err() == nil {
			s.board.Set(itemData, ready.Failed, name+" is damaged and has become read-only; a reboot replays its journal")
		}
		return full
	}
	switch now := storage.Full(st); {
	case now && !full:
		reason := "it is full"
		if largest := storage.Largest(dataDir, toldLargest); len(largest) > 0 {
			var words []string
			for _, u := range largest {
				words = append(words, u.String())
			}
			reason += "; largest: " + strings.Join(words, ", ")
		}
		s.log.Problem("data partition: %s", reason)
		s.board.Set(itemData, ready.Failed, reason)
		return true
	case now:
		return true
	case full:
		s.log.Note("the data partition has room again")
		s.board.Set(itemData, ready.Good, "")
	}
	if err := storage.Reserve(reserveFile); err != nil && !errors.Is(err, unix.ENOSPC) {
		s.log.Problem("%v", err)
	}
	return false
}

// measureDisk measures how long the disk takes to make writes durable, if
// that was not done for a month, well after the node is ready.
func (s *system) measureDisk() {
	if s.disk.name() == "" {
		return
	}
	last, err := readMeasurement(latencyFile)
	if err != nil {
		s.log.Problem("%v; the disk is measured anew", err)
	}
	age := time.Since(last.At)
	if !last.At.IsZero() && age >= 0 && age < measureEvery {
		s.disk.measured(&last)
		return
	}
	select {
	case <-time.After(measureAfter):
	case <-s.ctx.Done():
		return
	}
	l, err := storage.MeasureSync(stateDir, time.Now)
	if err != nil {
		s.log.Note("%v", err)
		return
	}
	m := status.Sync{At: time.Now().UTC().Truncate(time.Second), Median: millis(l.Median), Worst: millis(l.Worst), Slow: l.Slow()}
	s.disk.measured(&m)
	text := fmt.Sprintf("fdatasync takes %.1f ms, at worst %.1f ms", m.Median, m.Worst)
	if m.Slow {
		s.log.Note("the disk is slow: %s; a database on it, as a server of K3s has, wants 10 ms or less: use a faster card or an SSD for servers", text)
	} else {
		s.log.Note("the disk is fast enough: %s", text)
	}
	s.publisher.Poke()
	data, err := json.Marshal(m)
	if err == nil {
		err = s.keepState(func() error { return keep.Write(latencyFile, append(data, '\n'), 0o644) })
	}
	if err != nil {
		s.log.Problem("%v", err)
	}
}

// readMeasurement reads the last measurement; zero when there is none.
func readMeasurement(path string) (m status.Sync, err error) {
	data, err := keep.Read(path, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return status.Sync{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// millis is a duration in milliseconds.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

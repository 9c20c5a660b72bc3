// Package bless tells the boot loader that the running slot works, so that it
// stops counting tries: by the name of the slot's boot entry for UEFI, by the
// slot record for BIOS and on a Raspberry Pi. See package slot for both forms.
package bless

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weft/slot"
)

// ErrNoEntry says that the boot partition has no entry of the slot.
var ErrNoEntry = errors.New("no boot entry")

// Counted lists the names of the slot's boot entries below root, where the
// boot partition is mounted, that still count tries. There are none once the
// slot is blessed.
func Counted(root string, n slot.Name) ([]string, error) {
	files, err := os.ReadDir(filepath.Join(root, slot.EntriesDir))
	if err != nil {
		return nil, fmt.Errorf("bless slot %s: %w", n, err)
	}
	found := false
	var names []string
	for _, file := range files {
		e, err := slot.ParseEntry(file.Name())
		if err != nil || e.Slot != n {
			continue
		}
		found = true
		if e.Counted {
			names = append(names, file.Name())
		}
	}
	if !found {
		return nil, fmt.Errorf("bless slot %s: %w in %s", n, ErrNoEntry, slot.EntriesDir)
	}
	return names, nil
}

// Entry gives the slot's entry its blessed name and syncs. The boot partition
// must be mounted for writing. It reports whether that changed anything.
func Entry(root string, n slot.Name) (bool, error) {
	names, err := Counted(root, n)
	if err != nil || len(names) == 0 {
		return false, err
	}
	dir := filepath.Join(root, slot.EntriesDir)
	good := slot.Entry{Slot: n}.Blessed().File()
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, good)); err != nil {
			return false, fmt.Errorf("bless slot %s: %w", n, err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		return true, fmt.Errorf("bless slot %s: sync: %w", n, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return true, fmt.Errorf("bless slot %s: sync: %w", n, err)
	}
	return true, nil
}

// Device is where a slot record is kept, opened for reading and writing.
type Device interface {
	slot.ReaderWriterAt
	Sync() error
}

// Record marks the slot good in the slot record. It reports whether that
// changed anything.
func Record(d Device, place slot.Place, n slot.Name) (bool, error) {
	record, err := place.Load(d)
	if err != nil {
		return false, fmt.Errorf("bless slot %s: %w", n, err)
	}
	blessed, changed := record.Bless(n)
	if !changed {
		return false, nil
	}
	if _, err := place.Save(d, blessed); err != nil {
		return false, fmt.Errorf("bless slot %s: %w", n, err)
	}
	if err := d.Sync(); err != nil {
		return true, fmt.Errorf("bless slot %s: sync: %w", n, err)
	}
	return true, nil
}

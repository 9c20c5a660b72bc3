// Package choose is the decision of the boot stage: which slot is started, and
// what is written down before.
//
// It follows the rule of package slot. How a slot is started is its caller's
// business; see package kexec.
package choose

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"weft/slot"
)

// ErrNoSlot says that no slot can be started.
var ErrNoSlot = errors.New("no slot can be started")

// Disk is the disk with the slot record, opened for reading and writing.
type Disk interface {
	slot.ReaderWriterAt
	Sync() error
}

// A Choice is what was chosen.
type Choice struct {
	// Slot is the slot to start.
	Slot slot.Name
	// State is what the record says of it, this try counted.
	State slot.State
	// Counted says that this is a try, and that the disk has it: however it
	// ends, there are not endlessly many.
	Counted bool
	// Problems are what is wrong and did not keep a slot from being chosen.
	Problems []error
}

// Choose loads the slot that is to be started and counts the try. boot is the
// boot partition; load makes a slot ready to be started, and fails when that
// cannot be.
//
// The try is counted after the slot was loaded, so a slot that cannot be read
// loses none, and before it is started. Nothing that is wrong with the record
// keeps the node from booting: one that is lost is made anew, and one that
// cannot be written is a problem to be told.
func Choose(disk Disk, boot fs.FS, load func(slot.Name) error) (Choice, error) {
	var c Choice
	present := Present(boot)
	record, err := slot.InGap.Load(disk)
	fresh := err != nil
	if fresh {
		c.problem("%w; it is made anew, each slot gets its tries again", err)
		record = slot.NewRecord(present...)
	}
	for _, n := range order(record, present) {
		if err := load(n); err != nil {
			c.problem("slot %s: %w", n, err)
			continue
		}
		tried, counts := record.Tried(n)
		if fresh || counts {
			err := save(disk, tried)
			if err != nil {
				c.problem("%w; this try is not counted", err)
			}
			c.Counted = counts && err == nil
		}
		c.Slot, c.State = n, *tried.Slot(n)
		return c, nil
	}
	return c, fmt.Errorf("%w: %w", ErrNoSlot, errors.Join(c.Problems...))
}

func (c *Choice) problem(format string, args ...any) {
	c.Problems = append(c.Problems, fmt.Errorf(format, args...))
}

// Present lists the slots whose kernels are on the boot partition.
func Present(boot fs.FS) []slot.Name {
	var names []slot.Name
	for _, n := range []slot.Name{slot.A, slot.B} {
		if _, err := fs.Stat(boot, strings.TrimPrefix(n.Kernel(), "/")); err == nil {
			names = append(names, n)
		}
	}
	return names
}

// order is the record's, with slots behind that only the boot partition knows:
// what is there is tried before the node gives up.
func order(r slot.Record, present []slot.Name) []slot.Name {
	names := r.Order()
	for _, n := range present {
		if !r.Slot(n).Present {
			names = append(names, n)
		}
	}
	return names
}

// save writes the record and waits until the disk has it.
func save(disk Disk, r slot.Record) error {
	if _, err := slot.InGap.Save(disk, r); err != nil {
		return err
	}
	if err := disk.Sync(); err != nil {
		return fmt.Errorf("slot record: sync: %w", err)
	}
	return nil
}

// CommandLine checks the text of a slot's command line and returns it with the
// arguments that say who has started the slot.
func CommandLine(text []byte, n slot.Name, added ...string) (string, error) {
	line := strings.TrimRight(string(text), "\r\n")
	for _, c := range []byte(line) {
		if c < ' ' || c > '~' {
			return "", fmt.Errorf("command line: byte %#02x is no printable ASCII; it must be one line of text", c)
		}
	}
	if line == "" {
		return "", errors.New("command line: the file is empty")
	}
	line = strings.Join(append([]string{line}, added...), " ")
	if len(line) > slot.MaxCommandLine {
		return "", fmt.Errorf("command line: %d bytes with what slot %s is told; the kernel takes %d", len(line), n, slot.MaxCommandLine)
	}
	return line, nil
}

// Package trace tells at a boot how the one before it ended, and keeps what a
// person needs to find out why.
//
// A record on the data partition says how far each boot has come; what the
// kernel wrote down as it died comes from pstore; and reports of what went
// wrong, with the last lines of whoever it was about, are files in a folder,
// bounded in size and number. It starts and stops nothing.
package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"weft/init/keep"
)

// A Phase is how far a boot has come.
type Phase string

// The phases of a boot.
const (
	// Starting is up to the first verdict.
	Starting Phase = "starting"
	// Ready and Degraded are the first verdict.
	Ready    Phase = "ready"
	Degraded Phase = "degraded"
	// Stopping is an orderly end that goes on.
	Stopping Phase = "stopping"
	// Clean is an orderly end: all has been written.
	Clean Phase = "clean"
	// Bitten is the end by the watchdog, when init could still write it down.
	Bitten Phase = "watchdog"
	// GaveUp is the end by init, which could not go on.
	GaveUp Phase = "gave up"
)

// A Record says how far a boot has come.
type Record struct {
	// Boot is the kernel's id of the boot (random(4), boot_id).
	Boot string `json:"boot"`
	// Image is the id of the image that booted.
	Image string `json:"image,omitempty"`
	Phase Phase  `json:"phase"`
	// Why says what led to the phase.
	Why string `json:"why,omitempty"`
	// At is when it began, by the node's clock, which may have been wrong;
	// Uptime the same since the kernel's start, in seconds.
	At     time.Time `json:"at"`
	Uptime float64   `json:"uptime"`
}

// maxRecord bounds a record's file, maxWhy what it says, in bytes.
const (
	maxRecord = 64 << 10
	maxWhy    = 4 << 10
)

// Load reads the record of the boot before; nil when there was none.
func Load(path string) (*Record, error) {
	data, err := keep.Read(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("boot record: %w", err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("boot record %s: %w", path, err)
	}
	return &r, nil
}

// Save writes a record whole.
func (r Record) Save(path string) error {
	r.Why = cut(r.Why, maxWhy)
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("boot record: %w", err)
	}
	return keep.Write(path, append(data, '\n'), 0o600)
}

// cut shortens a text to n bytes at most, at the start of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

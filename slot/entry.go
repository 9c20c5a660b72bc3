package slot

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Paths on the boot partition that systemd-boot reads
// [UAPI.1 Boot Loader Specification, "The boot loader entries"].
const (
	// LoaderFile configures systemd-boot itself.
	LoaderFile = "/loader/loader.conf"
	// EntriesDir holds one file per slot, named by [Entry.File].
	EntriesDir = "/loader/entries"
)

// LoaderConfig is the text of [LoaderFile]: no menu, no waiting, nobody at
// the console edits the kernel's command line, and nothing but the slots is
// ever started [loader.conf(5)].
const LoaderConfig = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\n"

// entryPrefix and entrySuffix enclose the slot and its counters in the name
// of an entry file.
const (
	entryPrefix = "weft-"
	entrySuffix = ".conf"
)

// maxTries bounds the counters in a file name; systemd-boot itself reads them
// as 32-bit numbers and no slot needs three digits.
const maxTries = 99

// ErrNotEntry says that a file name is not that of a weft boot entry.
var ErrNotEntry = errors.New("not the name of a weft boot entry")

// An Entry is what the name of a slot's boot entry says: the slot and its
// boot counters [systemd.io/AUTOMATIC_BOOT_ASSESSMENT].
type Entry struct {
	// Slot is the slot that the entry boots.
	Slot Name
	// Counted says that the slot has still to prove itself. Without it the
	// slot is known to be good, and Left and Done are zero.
	Counted bool
	// Left is how many more times the slot is tried, 0..99. systemd-boot
	// puts a slot with none left behind all others.
	Left int
	// Done is how many times it was tried, 0..99.
	Done int
}

// NewEntry returns the entry of a slot that has still to prove itself.
func NewEntry(n Name) Entry { return Entry{Slot: n, Counted: true, Left: DefaultTries} }

// File returns the name of the entry's file, such as weft-a+3-0.conf, or
// weft-a.conf once the slot is blessed.
func (e Entry) File() string {
	name := entryPrefix + string(e.Slot)
	if e.Counted {
		name += fmt.Sprintf("+%d-%d", e.Left, e.Done)
	}
	return name + entrySuffix
}

// Blessed returns the entry of the same slot, known to be good.
func (e Entry) Blessed() Entry { return Entry{Slot: e.Slot} }

// ParseEntry reads the name of a boot entry's file, without its folder. It
// fails with [ErrNotEntry] for names that weft does not write, so a caller
// can pass by the files of others.
func ParseEntry(file string) (Entry, error) {
	bad := fmt.Errorf("%q: %w", file, ErrNotEntry)
	name, ok := strings.CutPrefix(file, entryPrefix)
	if !ok {
		return Entry{}, bad
	}
	if name, ok = strings.CutSuffix(name, entrySuffix); !ok {
		return Entry{}, bad
	}
	name, counters, counted := strings.Cut(name, "+")
	n, err := Parse(name)
	if err != nil {
		return Entry{}, bad
	}
	e := Entry{Slot: n, Counted: counted}
	if !counted {
		return e, nil
	}
	// The count of tries done may be missing, and then is zero.
	left, done, both := strings.Cut(counters, "-")
	if e.Left, ok = parseTries(left); !ok {
		return Entry{}, bad
	}
	if both {
		if e.Done, ok = parseTries(done); !ok {
			return Entry{}, bad
		}
	}
	return e, nil
}

func parseTries(s string) (int, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.Atoi(s)
	return v, err == nil && v <= maxTries
}

// MaxPriority is the highest priority a slot can have, in a record and in an
// entry.
const MaxPriority = 15

// EntryText is what a boot entry says. Every field is one line; a line break
// in one is an error, since it would start another key.
type EntryText struct {
	Slot Name
	// Title is what a menu shows, such as "weft (slot a)".
	Title string
	// Version is the version of the system in the slot.
	Version string
	// Priority decides between slots that can boot: the higher is tried
	// first, 0..[MaxPriority].
	Priority int
	// Options is the kernel's command line.
	Options string
}

// Text returns the entry's file as systemd-boot reads it
// [UAPI.1 Boot Loader Specification, "Type #1 Boot Loader Entry Keys"].
func (t EntryText) Text() (string, error) {
	if t.Priority < 0 || t.Priority > MaxPriority {
		return "", fmt.Errorf("boot entry of slot %s: priority %d is not within 0..%d", t.Slot, t.Priority, MaxPriority)
	}
	lines := []struct{ key, value string }{
		{"title", t.Title},
		{"version", t.Version},
		// systemd-boot sorts by this key in ascending order and starts the
		// first entry that has tries left; so the priority is turned round.
		{"sort-key", fmt.Sprintf("weft-%02d", MaxPriority-t.Priority)},
		{"linux", t.Slot.Kernel()},
		{"initrd", t.Slot.Initrd()},
		{"options", t.Options},
	}
	var b strings.Builder
	for _, l := range lines {
		if i := strings.IndexAny(l.value, "\r\n\x00"); i >= 0 {
			return "", fmt.Errorf("boot entry of slot %s: %s has a line break or NUL at byte %d; it must be one line", t.Slot, l.key, i)
		}
		if l.value != "" {
			fmt.Fprintf(&b, "%-8s %s\n", l.key, l.value)
		}
	}
	return b.String(), nil
}

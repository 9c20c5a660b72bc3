package rpi

import (
	"slices"
	"strings"
)

// filters is which of config.txt's sections count at a point of it. A filter
// replaces an earlier one of its kind, filters of several kinds must all hold,
// and [all] ends them all [config.txt, "Conditional filters"].
type filters struct {
	machine []string
	holds   map[kind]bool
}

// A kind is what a filter asks for.
type kind string

const (
	byModel  kind = "model"
	bySerial kind = "serial number"
	byPin    kind = "gpio"
	byScreen kind = "EDID"
	byBoard  kind = "board-type"
	byBoot   kind = "boot"
)

// models are all filters for models that the firmware knows.
var models = []string{
	"none", "pi0", "pi0w", "pi02", "pi1", "pi2", "pi3", "pi3+", "pi4", "pi400", "pi5", "pi500", "pi500+",
	"cm0", "cm1", "cm3", "cm3+", "cm4", "cm4s", "cm5", "cm5l",
}

func newFilters(m Machine) filters {
	return filters{machine: m.filters, holds: map[kind]bool{}}
}

// set takes a line in brackets. Of what only a machine on somebody's desk can
// answer the answer is no: no screen, no pin, no serial number, no tryboot. A
// filter that is not known lets nothing through, so that what is behind it is
// not taken for sure.
func (f *filters) set(text string) {
	name, _, ok := strings.Cut(strings.TrimPrefix(text, "["), "]")
	if !ok {
		return
	}
	name = strings.TrimSpace(name)
	low := strings.ToLower(name)
	switch {
	case low == "all":
		clear(f.holds)
	case slices.Contains(models, low):
		f.holds[byModel] = slices.Contains(f.machine, low)
	case strings.HasPrefix(low, "0x"):
		f.holds[bySerial] = false
	case strings.HasPrefix(low, "gpio"):
		f.holds[byPin] = false
	case strings.HasPrefix(low, "edid="):
		f.holds[byScreen] = false
	case strings.HasPrefix(low, "board-type="):
		f.holds[byBoard] = false
	default:
		f.holds[byBoot] = false
	}
}

// pass reports whether lines count.
func (f *filters) pass() bool {
	for _, holds := range f.holds {
		if !holds {
			return false
		}
	}
	return true
}

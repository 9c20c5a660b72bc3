package trace

import (
	"fmt"
	"strings"
	"time"
)

// A Kind is a way for a boot to end.
type Kind string

// The ways for a boot to end.
const (
	// First means that there was no boot before, or nothing was kept of it.
	First Kind = "first"
	// Orderly is an end that was asked for and is complete.
	Orderly Kind = "orderly"
	// Unfinished is an end that was asked for and did not come to its own.
	Unfinished Kind = "unfinished"
	// Panic is the kernel's.
	Panic Kind = "panic"
	// Watchdog is a reset because something showed no life.
	Watchdog Kind = "watchdog"
	// Failure is init's own, which could not go on.
	Failure Kind = "failure"
	// Reset is an end without a word: power was cut, or the machine reset.
	Reset Kind = "reset"
)

// An End says how a boot ended.
type End struct {
	Kind Kind `json:"kind"`
	// Text says it for people, in one line.
	Text string `json:"text"`
	// Boot is the kernel's id of that boot.
	Boot string `json:"boot,omitempty"`
	// Phase is how far it had come, At when that was, by its clock.
	Phase Phase     `json:"phase,omitempty"`
	At    time.Time `json:"at,omitzero"`
	// Trace is the file with more, if there is one.
	Trace string `json:"trace,omitempty"`
}

// Well reports whether nobody needs to be told.
func (e End) Well() bool { return e.Kind == First || e.Kind == Orderly }

// Judge says how the boot of a record ended. dumps is what the kernel wrote
// down as it died, reset whether the hardware's watchdog says that it caused
// the last reset.
func Judge(r *Record, dumps []Dump, reset bool) End {
	e := End{Kind: First, Text: "nothing is kept of a boot before this one"}
	if r != nil {
		e.Boot, e.Phase, e.At = r.Boot, r.Phase, r.At
	}
	for _, d := range dumps {
		if d.Reason == "Panic" {
			e.Kind, e.Text = Panic, "the kernel panicked: "+d.Cause()
			return e
		}
	}
	if r == nil {
		return e
	}
	after := fmt.Sprintf("%.0f s after it started", r.Uptime)
	switch r.Phase {
	case Clean:
		e.Kind, e.Text = Orderly, "ended in order: "+r.Why
	case Bitten:
		e.Kind, e.Text = Watchdog, "the watchdog started the node again: "+r.Why
	case GaveUp:
		e.Kind, e.Text = Failure, "init could not go on: "+oneLine(r.Why)
	case Stopping:
		e.Kind, e.Text = Unfinished, fmt.Sprintf("it was stopping (%s) and did not get to the end", r.Why)
		if reset {
			e.Kind, e.Text = Watchdog, e.Text+"; the hardware's watchdog ended it"
		}
	default:
		text := string(r.Phase)
		if r.Phase == Degraded {
			text += " (" + oneLine(r.Why) + ")"
		}
		if reset {
			e.Kind, e.Text = Watchdog, "the hardware's watchdog reset the node: init or the kernel no longer answered; it had been "+text+" since "+after
			break
		}
		e.Kind, e.Text = Reset, "power was cut or the machine reset without a word; it had been "+text+" since "+after
	}
	return e
}

// oneLine is the first line of a text, shortened.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return cut(s, 300)
}

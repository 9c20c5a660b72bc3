package status

import (
	"slices"
	"sync"

	"weft/event"
)

// Bounds of what is kept. A boot has some 60 steps; a node that runs for a
// year adds few, a device that comes and goes some.
const (
	maxSteps    = 256
	maxProblems = 64
	maxServices = 64
	// maxText cuts what one entry says, in bytes.
	maxText = 2048
)

// A History keeps what the timeline told, within bounds. Its methods may be
// called from any goroutine.
type History struct {
	mu       sync.Mutex
	steps    []Step
	problems []Problem
	services []Service
	dropped  int
	state    string
	reason   string
	identity event.Event
	changed  func()
}

// NewHistory returns an empty one. changed is called after each event that it
// keeps, and must not block.
func NewHistory(changed func()) *History { return &History{state: Starting, changed: changed} }

// Add takes one event.
func (h *History) Add(e event.Event) {
	h.mu.Lock()
	kept := h.add(e)
	h.mu.Unlock()
	if kept {
		h.changed()
	}
}

// add takes an event and reports whether it is shown.
func (h *History) add(e event.Event) bool {
	text := cut(e.Text)
	switch e.Kind {
	case event.Step:
		// The first steps are the boot, and they stay; of later ones the
		// latest do.
		if len(h.steps) == maxSteps {
			h.steps = slices.Delete(h.steps, maxSteps/2, maxSteps/2+1)
			h.dropped++
		}
		h.steps = append(h.steps, Step{e.Uptime, e.Name, e.Millis, text})
	case event.Problem:
		h.problem(Problem{Uptime: e.Uptime, Name: e.Name, Text: text})
	case event.Service:
		h.service(Service{e.Name, text, e.Uptime})
	case event.Ready:
		h.state, h.reason = Ready, ""
	case event.Degraded:
		h.state, h.reason = Degraded, text
	case event.Stopping:
		h.state, h.reason = Stopping, text
	case event.Identity:
		h.identity = e
	default:
		return false
	}
	return true
}

// problem keeps a problem; one that comes again is counted.
func (h *History) problem(p Problem) {
	p.Times = 1
	i := slices.IndexFunc(h.problems, func(o Problem) bool { return o.Name == p.Name && o.Text == p.Text })
	if i >= 0 {
		p.Times += h.problems[i].Times
		h.problems = slices.Delete(h.problems, i, i+1)
	}
	if len(h.problems) == maxProblems {
		h.problems = slices.Delete(h.problems, 0, 1)
		h.dropped++
	}
	h.problems = append(h.problems, p)
}

// service keeps the last word of a service.
func (h *History) service(s Service) {
	if i := slices.IndexFunc(h.services, func(o Service) bool { return o.Name == s.Name }); i >= 0 {
		h.services[i] = s
		return
	}
	if len(h.services) < maxServices {
		h.services = append(h.services, s)
	}
}

// Well says that the node is ready again after it was degraded: the timeline
// has no event of its own for that.
func (h *History) Well() {
	h.mu.Lock()
	was := h.state
	if h.state != Stopping {
		h.state, h.reason = Ready, ""
	}
	h.mu.Unlock()
	if was != Ready {
		h.changed()
	}
}

// Fill puts what is kept into a document.
func (h *History) Fill(d *Document) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.State, d.Reason = h.state, h.reason
	d.Boot = append([]Step{}, h.steps...)
	d.Problems = append([]Problem{}, h.problems...)
	d.Services = append([]Service{}, h.services...)
	d.Dropped = h.dropped
	identify(&d.Node, h.identity)
}

// cut bounds a text.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return s[:maxText] + "…"
}

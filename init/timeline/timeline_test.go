package timeline

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"weft/event"
)

// record collects what a log writes, with a clock that the test moves.
type record struct {
	now    time.Duration
	lines  []string
	events []event.Event
}

func (r *record) log() *Log {
	return New(func() time.Duration { return r.now },
		func(s string) { r.lines = append(r.lines, s) },
		func(e event.Event) { r.events = append(r.events, e) })
}

func TestAStepIsOneAlignedLineAndOneEvent(t *testing.T) {
	r := &record{now: 1218 * time.Millisecond}
	l := r.log()
	s := l.Start("module vxlan")
	r.now += 12 * time.Millisecond
	s.Done("")
	if got, want := strings.Join(r.lines, "|"), "weft: [  1.23] module vxlan 12 ms"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	e := r.events[0]
	if e.Kind != event.Step || e.Name != "module vxlan" || e.Millis != 12 || e.Uptime != 1.23 {
		t.Errorf("event %+v", e)
	}
}

func TestAStepThatFailsIsAProblemToo(t *testing.T) {
	r := &record{}
	l := r.log()
	l.Start("data partition").End(errors.New("no such disk"))
	if !strings.Contains(r.lines[0], "data partition 0 ms: FAILED: no such disk") {
		t.Errorf("line %q", r.lines[0])
	}
	if len(r.events) != 2 || r.events[0].Kind != event.Step || r.events[1].Kind != event.Problem || r.events[1].Text != "no such disk" {
		t.Errorf("events %+v", r.events)
	}
	l.Start("well").End(nil)
	if r.lines[1] != "weft: [  0.00] well 0 ms" {
		t.Errorf("line %q", r.lines[1])
	}
}

func TestThereIsOneReadyLineInABoot(t *testing.T) {
	r := &record{now: 4567 * time.Millisecond}
	l := r.log()
	if !l.Ready() {
		t.Error("the first ready is not the first")
	}
	l.Degraded("network: eth0\nhas no carrier")
	if l.Ready() {
		t.Error("the second ready is the first")
	}
	want := "weft: ready in 4.57 s|weft: degraded: network: eth0 has no carrier|weft: [  4.57] all is well again"
	if got := strings.Join(r.lines, "|"); got != want {
		t.Errorf("lines %q\nwant  %q", got, want)
	}
	n := 0
	for _, e := range r.events {
		if e.Kind == event.Ready {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d ready events", n)
	}
}

func TestLongTextIsIndented(t *testing.T) {
	r := &record{}
	r.log().Problem("node.yaml:1:1: what\n  why\n")
	if got, want := strings.Join(r.lines, "|"), "weft: [  0.00] problem: node.yaml:1:1: what|weft: [  0.00]     why"; got != want {
		t.Errorf("lines %q, want %q", got, want)
	}
}

func TestEventsAreValidJSONWhateverAServiceSays(t *testing.T) {
	r := &record{}
	l := r.log()
	l.Status("netd", []byte(`{"ok":true}`))
	l.Status("netd", []byte("no json \xff"))
	l.Service("netd", "programming")
	l.Stopping("power button")
	l.Note("hello %d", 1)
	l.Identity(event.Identified{Hostname: "n1", HostnameSource: "node file", UUID: "u", MachineID: "m"})
	for _, e := range r.events {
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if string(r.events[0].Data) != `{"ok":true}` || r.events[1].Data[0] != '"' {
		t.Errorf("status events %s, %s", r.events[0].Data, r.events[1].Data)
	}
	var id event.Identified
	if err := json.Unmarshal(r.events[len(r.events)-1].Data, &id); err != nil || id.Hostname != "n1" {
		t.Errorf("identity %+v, %v", id, err)
	}
}

func TestUptimeMovesOn(t *testing.T) {
	a := Uptime()
	if b := Uptime(); a <= 0 || b < a {
		t.Errorf("uptime %v, then %v", a, b)
	}
}

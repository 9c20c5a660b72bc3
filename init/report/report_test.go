package report

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/event"
)

func TestEventsBeforeThePortAppearsAreNotLost(t *testing.T) {
	p := New()
	p.Send(event.Event{Kind: event.Step, Name: "early"})
	r, w := io.Pipe()
	if !p.Attach(w) {
		t.Fatal("not attached")
	}
	p.Send(event.Event{Kind: event.Ready})
	in := bufio.NewScanner(r)
	for _, want := range []event.Kind{event.Step, event.Ready} {
		if !in.Scan() {
			t.Fatal(in.Err())
		}
		var e event.Event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil || e.Kind != want {
			t.Errorf("got %s, %v; want kind %s", in.Bytes(), err, want)
		}
	}
	if p.Attach(w) || !p.Attached() {
		t.Error("a second device was attached")
	}
}

func TestAHostThatDoesNotReadBlocksNobody(t *testing.T) {
	p := New()
	r, w := io.Pipe() // nobody reads
	defer r.Close()
	p.Attach(w)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range queueEvents * 3 {
			p.Send(event.Event{Kind: event.Step})
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("Send blocks")
	}
	if len(p.queue) != queueEvents {
		t.Errorf("%d events are kept, want %d", len(p.queue), queueEvents)
	}
}

func TestFindPortByItsName(t *testing.T) {
	sys := t.TempDir()
	for dev, name := range map[string]string{"vport1p1": "other\n", "vport1p2": "weft.events\n"} {
		dir := filepath.Join(sys, "class/virtio-ports", dev)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if dev, ok := Find(sys, event.Port); !ok || dev != "vport1p2" {
		t.Errorf("found %q, %v", dev, ok)
	}
	if dev, ok := Find(sys, "none"); ok {
		t.Errorf("found %q", dev)
	}
}

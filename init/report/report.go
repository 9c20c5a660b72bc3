// Package report carries events to the host of the virtual machine, over the
// virtio serial port that package event names.
//
// Nothing waits for the host: events queue up to a limit, whatever comes
// beyond it is dropped, and a machine without the port loses nothing else.
package report

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"weft/event"
)

// queueEvents bounds what is kept for a host that does not read, or a port
// that never comes.
const queueEvents = 512

// A Port is the sending end of the event channel.
type Port struct {
	queue chan event.Event

	mu       sync.Mutex
	attached bool
}

// New returns a port that keeps events until Attach gives it a device.
func New() *Port { return &Port{queue: make(chan event.Event, queueEvents)} }

// Send queues an event, or drops it when the queue is full. It never blocks.
func (p *Port) Send(e event.Event) {
	select {
	case p.queue <- e:
	default:
	}
}

// Attach starts sending to w, once; it reports whether w is now the device.
func (p *Port) Attach(w io.Writer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attached {
		return false
	}
	p.attached = true
	go p.run(w)
	return true
}

// Attached says whether the port has its device.
func (p *Port) Attached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attached
}

// run writes a line an event. A write error loses that event only: the host
// may close the port and open it again.
func (p *Port) run(w io.Writer) {
	for e := range p.queue {
		line, err := json.Marshal(e)
		if err != nil {
			continue // Data that is no JSON; package timeline lets none in
		}
		w.Write(append(line, '\n'))
	}
}

// Find returns the device name (vportNpM) of the virtio serial port called
// name, looking in sys, the mount point of sysfs.
func Find(sys, name string) (string, bool) {
	files, err := filepath.Glob(filepath.Join(sys, "class/virtio-ports/*/name"))
	if err != nil {
		return "", false
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil && strings.TrimSpace(string(data)) == name {
			return filepath.Base(filepath.Dir(file)), true
		}
	}
	return "", false
}

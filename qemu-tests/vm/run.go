package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// run is one start of QEMU. A guest has a second one only when the first ran
// under an accelerator that did not work.
type run struct {
	process *process
	qmp     *qmp
	console io.ReadWriteCloser
	links   []io.Closer
	readers sync.WaitGroup

	faults chan string // the first fault on the console
	broken chan string // the accelerator's own

	mu       sync.Mutex
	shutdown string
}

// launch starts QEMU and reads its channels.
func (v *VM) launch(accel Accel) (*run, error) {
	r := &run{faults: make(chan string, 1), broken: make(chan string, 1)}
	var far []*os.File
	defer func() {
		for _, f := range far {
			f.Close()
		}
	}()
	var near [3]io.ReadWriteCloser
	for i, name := range []string{"console", "qmp", "events"} {
		ours, theirs, err := streamPair(name)
		if err != nil {
			return nil, fmt.Errorf("vm %s: %w", v.cfg.Name, errors.Join(err, r.hangUp()))
		}
		near[i] = ours
		far = append(far, theirs)
		r.links = append(r.links, ours)
	}
	cables := map[int]int{}
	for i := range v.cfg.NICs {
		if v.ports[i] == nil {
			continue
		}
		cable, err := v.ports[i].Cable()
		if err != nil {
			return nil, fmt.Errorf("vm %s: %w", v.cfg.Name, errors.Join(err, r.hangUp()))
		}
		cables[i] = firstFD + len(far)
		far = append(far, cable)
	}
	args := arguments(v.cfg, accel, v.firmware, inherited(firstFD, firstFD+1, firstFD+2, cables, v.vars))
	// Throw-away disks are files without a name in TMPDIR.
	process, err := startProcess(v.program, args, []string{"TMPDIR=" + v.state}, far)
	if err != nil {
		return nil, fmt.Errorf("vm %s: %w", v.cfg.Name, errors.Join(err, r.hangUp()))
	}
	r.process, r.console = process, near[0]
	r.qmp = newQMP(near[1], r.machineEvent)
	r.readers.Go(func() { v.readConsole(r) })
	r.readers.Go(func() { v.events.read(near[2]) })
	r.readers.Go(func() { <-r.qmp.ended })
	v.mu.Lock()
	v.accel, v.current = accel, r
	v.mu.Unlock()
	v.cfg.Log.Info("guest started", "vm", v.cfg.Name, "accel", string(accel), "pid", process.cmd.Process.Pid)
	return r, nil
}

// firstFD is the number of the first inherited descriptor (os/exec,
// Cmd.ExtraFiles).
const firstFD = 3

// hangUp closes this side of every channel.
func (r *run) hangUp() error {
	var errs []error
	for _, l := range r.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// stop ends QEMU, if it still runs, and takes in all it left to be read.
func (r *run) stop() {
	r.process.kill()
	<-r.process.done
	// QEMU's ends are closed now, so every reader meets the end of its
	// channel; the timer only guards against a descriptor that leaked.
	timer := time.AfterFunc(5*time.Second, func() { _ = r.hangUp() })
	r.readers.Wait()
	timer.Stop()
	_ = r.hangUp()
}

func (v *VM) readConsole(r *run) {
	scan := detector{patterns: v.cfg.Faults}
	buffer := make([]byte, 32<<10)
	found := false
	for {
		n, err := r.console.Read(buffer)
		if n > 0 {
			text := v.console.take(buffer[:n])
			if !found {
				var fault string
				if fault, found = scan.scan(text); found {
					r.faults <- fault
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// machineEvent takes QEMU's word of what happens to the machine.
func (r *run) machineEvent(name string, data json.RawMessage) {
	switch name {
	case "SHUTDOWN":
		var shutdown struct {
			Reason string `json:"reason"`
		}
		_ = json.Unmarshal(data, &shutdown) // an empty reason is none
		r.mu.Lock()
		r.shutdown = shutdown.Reason
		r.mu.Unlock()
	case "STOP":
		// Not from here: the answer would wait for this very reader.
		r.readers.Go(func() { r.whyStopped() })
	}
}

// whyStopped reports a guest whose accelerator met an instruction it cannot
// run: QEMU then stops the guest and waits for a debugger.
func (r *run) whyStopped() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := r.qmp.do(ctx, "query-status", nil)
	if err != nil {
		return // QEMU has ended, which says enough
	}
	var status struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(answer, &status) == nil && status.Status == "internal-error" {
		select {
		case r.broken <- "an instruction of the guest cannot be run (QEMU: internal error)":
		default:
		}
	}
}

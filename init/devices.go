package main

import (
	"slices"
	"sync"

	"weft/init/modules"
	"weft/init/power"
	"weft/init/uevent"
)

// devices hears of the node's devices and sees to their drivers.
type devices struct {
	n *node

	mu      sync.Mutex
	loader  *modules.Loader
	waiting []string        // modaliases heard of that have to wait for use
	barred  []string        // folders of drivers whose devices wait for use
	block   chan struct{}   // closed at the next change of a block device
	buttons map[string]bool // watched, by name
	inputs  int             // events of input devices so far
	pressed func()

	watchdogs chan struct{} // told when a watchdog has appeared
}

// watchDevices listens for devices from now on. When it cannot, it fails and
// returns a value that knows only the devices there are.
func (n *node) watchDevices() (*devices, error) {
	d := &devices{n: n, block: make(chan struct{}), buttons: make(map[string]bool), watchdogs: make(chan struct{}, 1)}
	l, err := uevent.Listen()
	if err != nil {
		return d, err
	}
	n.goes(func() {
		if err := l.Run(n.ctx, d.event, d.lost); err != nil && n.ctx.Err() == nil {
			n.log.Problem("%v; devices plugged in from now on are not seen", err)
		}
	})
	return d, nil
}

// use gives drivers to the devices that are there, those heard of so far, and
// those to come.
func (d *devices) use(l *modules.Loader) { d.useBut(l) }

// useBut gives drivers to the devices that are there, those heard of so far, and
// those to come, but for devices whose drivers lie in folders of the kernel's
// modules: they wait for use.
func (d *devices) useBut(l *modules.Loader, folders ...string) {
	d.mu.Lock()
	d.loader, d.barred = l, folders
	waiting := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	for _, alias := range append(uevent.Modaliases("/sys"), waiting...) {
		d.serve(alias)
	}
}

// useFor gives drivers from folders of the kernel's modules to the devices
// that are there; the others wait for use. It reports whether there was any
// such device.
func (d *devices) useFor(l *modules.Loader, folders ...string) (any bool) {
	d.mu.Lock()
	d.loader = l
	d.mu.Unlock()
	for _, alias := range uevent.Modaliases("/sys") {
		if slices.ContainsFunc(folders, func(f string) bool { return l.ServesFrom(alias, f) }) {
			d.serve(alias)
			any = true
		}
	}
	return any
}

// hold keeps devices waiting until use gives them drivers. What is being
// loaded at the moment may fail and is not reported; use tries it again.
func (d *devices) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loader = nil
}

// uses reports whether l gives the drivers at the moment.
func (d *devices) uses(l *modules.Loader) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loader == l
}

// serve loads the drivers of a device without waiting for them.
func (d *devices) serve(modalias string) {
	d.mu.Lock()
	l := d.loader
	if l == nil || slices.ContainsFunc(d.barred, func(f string) bool { return l.ServesFrom(modalias, f) }) {
		l = nil
		d.waiting = append(d.waiting, modalias)
	}
	d.mu.Unlock()
	if l == nil || !l.Serves(modalias) {
		return
	}
	d.n.goes(func() {
		for _, r := range l.Serve(modalias) {
			if d.uses(l) {
				d.n.driverLoaded(r)
			}
		}
	})
}

// event takes one device event.
func (d *devices) event(e uevent.Event) {
	if alias := e.Modalias(); alias != "" && e.Action == "add" {
		d.serve(alias)
	}
	switch e.Subsystem() {
	case "block":
		d.mu.Lock()
		close(d.block)
		d.block = make(chan struct{})
		d.mu.Unlock()
	case "input":
		d.inputChanged()
	case "virtio-ports":
		d.n.attachPort()
	case "watchdog":
		select {
		case d.watchdogs <- struct{}{}:
		default: // one look covers several
		}
	}
}

// lost looks at everything again after events were lost.
func (d *devices) lost() {
	d.n.log.Note("more devices than could be listened to; looking at all again")
	d.event(uevent.Event{Env: map[string]string{"SUBSYSTEM": "block"}})
	d.inputChanged()
	d.n.attachPort()
	for _, alias := range uevent.Modaliases("/sys") {
		d.serve(alias)
	}
}

// blockChanged returns a channel that is closed at the next change of a block
// device.
func (d *devices) blockChanged() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.block
}

// watchButtons calls pressed for each press of a power button.
func (d *devices) watchButtons(pressed func()) {
	d.mu.Lock()
	d.pressed = pressed
	d.mu.Unlock()
	d.findButtons()
}

// inputChanged looks for power buttons after an input device came or went.
func (d *devices) inputChanged() {
	d.mu.Lock()
	d.inputs++
	d.mu.Unlock()
	d.findButtons()
}

// findButtons starts to watch the power buttons not watched yet.
func (d *devices) findButtons() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pressed == nil {
		return
	}
	for _, name := range power.Buttons("/sys") {
		if d.buttons[name] {
			continue
		}
		d.buttons[name] = true
		inputs, pressed := d.inputs, d.pressed
		d.n.goes(func() { d.watchButton(name, inputs, pressed) })
	}
}

// watchButton watches one power button while it is there. inputs is what
// d.inputs was when it was found. A device is in sysfs a moment before its
// file is in /dev: when opening fails and an event was heard meanwhile, that
// may have been the file's, passed over because the button counted as
// watched. So it is looked for once more.
func (d *devices) watchButton(name string, inputs int, pressed func()) {
	err := power.Watch(d.n.ctx, "/dev/input/"+name, pressed)
	d.mu.Lock()
	delete(d.buttons, name)
	again := err != nil && d.inputs != inputs
	d.mu.Unlock()
	if again {
		d.findButtons()
	}
}

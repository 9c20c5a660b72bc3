package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"weft/builder/guest"
	"weft/event"
	"weft/qemu-tests/vm"
)

// A boot is one boot that was measured.
type boot struct {
	moments []moment
	// firsts are the milestones, in the order of [milestones].
	firsts []point
	// began is when init began, in seconds of the node's clock.
	began float64
	held  event.Held
}

// A point is a moment as the host sees it, in seconds since QEMU started.
type point struct{ wall, cpu float64 }

// A moment is an event and when it came.
type moment struct {
	event.Event
	point
}

// The milestones of a boot. The kernel's is the start of its clock, init's its
// first line; modules are there when the contract's last one is.
var milestones = []string{"kernel", "init", "modules", "address", "netd", "ready"}

// firmwares are what the boards of an architecture are booted by.
var firmwares = map[string][]vm.Firmware{
	"amd64": {vm.BIOS, vm.UEFI},
	"arm64": {vm.UEFI},
}

// measureBoots boots the image of a board by each firmware it knows and
// prints the medians of what each milestone took, and the timeline of the
// boot in the middle.
func measureBoots(ctx context.Context, m meter, image, arch string, times int) error {
	for _, firmware := range firmwares[arch] {
		var all []boot
		for range times {
			b, err := bootOnce(ctx, image, firmware)
			if err != nil {
				return fmt.Errorf("boot by %s: %w", firmware, err)
			}
			all = append(all, b)
		}
		name := "boot." + string(firmware)
		if arch != "amd64" {
			name = "boot." + arch
		}
		reportBoots(m, name, all)
	}
	return nil
}

// bootOnce boots a fresh copy of the image until it is ready.
func bootOnce(ctx context.Context, image string, firmware vm.Firmware) (boot, error) {
	dir, err := os.MkdirTemp("", "weft-boot-")
	if err != nil {
		return boot{}, err
	}
	defer os.RemoveAll(dir)
	machines, err := guest.Machines(ctx, guest.Options{
		Image: image, Dir: dir, Nodes: 1, Now: time.Now(),
		Machine: vm.Config{Firmware: firmware, Accel: vm.TCG, CPULimit: 4 * time.Minute, WallLimit: 20 * time.Minute},
	})
	if err != nil {
		return boot{}, err
	}
	started := time.Now()
	v, err := vm.Start(ctx, machines[0])
	if err != nil {
		return boot{}, err
	}
	defer v.Kill()
	now := func() point { return point{time.Since(started).Seconds(), v.CPUSeconds()} }

	// The kernel says nothing when it starts. Its clock tells afterwards when
	// that was, and the samples what QEMU had used by then.
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	samples := []point{now()}
	lines := make(chan error, 1)
	var began point
	go func() {
		_, err := v.Expect(ctx, regexp.MustCompile("weft starts"))
		began = now()
		lines <- err
	}()
	for waiting := true; waiting; {
		select {
		case <-ticker.C:
			samples = append(samples, now())
		case err := <-lines:
			if err != nil {
				return boot{}, err
			}
			waiting = false
		}
	}
	var b boot
	for {
		at := 0
		e, err := v.WaitEvent(ctx, func(event.Event) bool {
			at++
			return at > len(b.moments)
		})
		if err != nil {
			return boot{}, err
		}
		b.moments = append(b.moments, moment{e, now()})
		if e.Kind == event.Ready {
			break
		}
	}
	if err := b.place(began, samples); err != nil {
		return boot{}, err
	}
	e, err := v.WaitEvent(ctx, func(e event.Event) bool { return e.Kind == event.Status && e.Name == "init" })
	if err != nil {
		return boot{}, err
	}
	return b, json.Unmarshal(e.Data, &b.held)
}

// sampleEvery is how often QEMU's CPU time is looked at before init starts.
const sampleEvery = 10 * time.Millisecond

// place finds the milestones among the moments.
func (b *boot) place(began point, samples []point) error {
	var root, modules, address, netd, ready *moment
	for i, m := range b.moments {
		at := &b.moments[i]
		switch {
		case m.Kind == event.Ready:
			ready = at
		case m.Kind != event.Step:
		case m.Name == "root":
			root = at
		case strings.HasPrefix(m.Name, "module "):
			modules = at
		case strings.HasPrefix(m.Name, "dhcp") && address == nil:
			address = at
		case m.Name == "netd":
			netd = at
		}
	}
	for i, m := range []*moment{root, modules, address, netd, ready} {
		if m == nil {
			return fmt.Errorf("the boot has no step %s", []string{"root", "module", "dhcp", "netd", "ready"}[i])
		}
	}
	b.began = root.Uptime - root.Millis/1000
	// When the root was mounted, the clock showed root.Uptime.
	start := root.wall - root.Uptime
	i := slices.IndexFunc(samples, func(p point) bool { return p.wall >= start })
	b.firsts = []point{samples[max(i, 0)], began, modules.point, address.point, netd.point, ready.point}
	return nil
}

// reportBoots prints several boots of the same image. A kind of figure is the
// median of its own; the timeline is one boot's, the one whose CPU seconds are
// in the middle.
func reportBoots(m meter, name string, all []boot) {
	middle := func(of func(boot) float64) float64 {
		var list []float64
		for _, b := range all {
			list = append(list, of(b))
		}
		return median(list)
	}
	for i, milestone := range milestones {
		m.figure(name+"."+milestone+".cpu", middle(func(b boot) float64 { return b.firsts[i].cpu }), "s")
		m.figure(name+"."+milestone+".wall", middle(func(b boot) float64 { return b.firsts[i].wall }), "s")
	}
	last := func(b boot) moment { return b.moments[len(b.moments)-1] }
	m.figure(name+".init.exec.to.ready", middle(func(b boot) float64 { return last(b).Uptime - b.began }), "s")
	m.figure(name+".netd.exec.to.ready", middle(func(b boot) float64 { return b.took("netd") }), "s")
	m.figure(name+".dhcp", middle(func(b boot) float64 { return b.took("dhcp") }), "s")
	for _, program := range []string{"init", "netd"} {
		m.figure(name+".resident."+program, middle(func(b boot) float64 { return float64(b.held.Resident[program]) / 1e6 }), "MB")
	}
	slices.SortFunc(all, func(a, b boot) int { return int(1000 * (last(a).cpu - last(b).cpu)) })
	b := all[len(all)/2]
	for _, e := range b.moments {
		if e.Kind == event.Step {
			step := name + ".step." + strings.ReplaceAll(e.Name, " ", ".")
			m.figure(step+".at", e.Uptime-b.began, "s")
			m.figure(step+".took", e.Millis, "ms")
			m.figure(step+".cpu", e.cpu, "s")
		}
	}
}

// took is how long the first step whose name begins so took, in seconds.
func (b boot) took(prefix string) float64 {
	for _, e := range b.moments {
		if e.Kind == event.Step && strings.HasPrefix(e.Name, prefix) {
			return e.Millis / 1000
		}
	}
	return 0
}

// median is the middle value; the list is sorted by it.
func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

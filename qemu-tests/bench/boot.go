package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"weft/builder/guest"
	"weft/event"
	"weft/qemu-tests/vm"
)

// A boot is one boot that was measured.
type boot struct {
	wall, cpu float64 // seconds from the start of QEMU to ready
	moments   []moment
	held      event.Held
}

// A moment is an event and the CPU seconds QEMU had used when it came.
type moment struct {
	event.Event
	cpu float64
}

// measureBoots boots the image by both firmwares and prints the median boot
// of each, with the timeline of it.
func measureBoots(ctx context.Context, m meter, image string, times int) error {
	for _, firmware := range []vm.Firmware{vm.BIOS, vm.UEFI} {
		var all []boot
		for range times {
			b, err := bootOnce(ctx, image, firmware)
			if err != nil {
				return fmt.Errorf("boot by %s: %w", firmware, err)
			}
			all = append(all, b)
		}
		slices.SortFunc(all, func(a, b boot) int { return int(1000 * (a.cpu - b.cpu)) })
		report(m, "boot."+string(firmware), all[len(all)/2])
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
		Machine: vm.Config{Firmware: firmware, Accel: vm.TCG, CPULimit: 2 * time.Minute, WallLimit: 10 * time.Minute},
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
		b.moments = append(b.moments, moment{e, v.CPUSeconds()})
		if e.Kind == event.Ready {
			b.wall, b.cpu = time.Since(started).Seconds(), v.CPUSeconds()
			break
		}
	}
	e, err := v.WaitEvent(ctx, func(e event.Event) bool { return e.Kind == event.Status && e.Name == "init" })
	if err != nil {
		return boot{}, err
	}
	return b, json.Unmarshal(e.Data, &b.held)
}

// report prints a boot.
func report(m meter, name string, b boot) {
	m.figure(name+".ready.cpu", b.cpu, "s")
	m.figure(name+".ready.wall", b.wall, "s")
	m.figure(name+".resident.init", float64(b.held.Resident["init"])/1e6, "MB")
	m.figure(name+".resident.netd", float64(b.held.Resident["netd"])/1e6, "MB")
	for _, e := range b.moments {
		switch e.Kind {
		case event.Ready:
			m.figure(name+".ready.uptime", e.Uptime, "s")
		case event.Step:
			step := name + ".step." + strings.ReplaceAll(e.Name, " ", ".")
			m.figure(step+".at", e.Uptime, "s")
			m.figure(step+".took", e.Millis, "ms")
			m.figure(step+".cpu", e.cpu, "s")
		}
	}
}

// median is the middle value; the list is sorted by it.
func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/netd/explain"
	"weft/netd/status"
)

// report makes a report; full adds what the kernel holds now.
// What it finds changed is put right: of some changes, such as that of a
// device's accept_ra, the kernel tells nobody.
func (d *daemon) report(full bool) status.Report {
	r := status.Build(d.facts(full))
	if len(r.Drift) > 0 {
		d.loop.Look()
	}
	return r
}

// facts are all that is known. With full, the kernel is read, too; a pass of
// the reconciler meanwhile makes what was read outdated, so it is read again
// then.
func (d *daemon) facts(full bool) status.Facts {
	f := status.Facts{Version: version, Now: time.Now(), Store: d.leases.about(), Parts: d.engines.problems(), Files: d.files.about(full)}
	d.mu.Lock()
	f.Reload = d.reload
	d.mu.Unlock()
	f.Probes, f.ProbeError = d.prober.Results()
	if full { // many who ask at once do not make many reads at once
		d.reading.Lock()
		defer d.reading.Unlock()
	}
	for range 3 {
		s := d.snapshot.Load()
		f.Snapshot, f.Tally = *s, *d.tally.Load()
		f.Snapshot.Tunnels = d.tunnels(s)
		if !full {
			break
		}
		state, err := d.kernel.Read(s.Scope())
		if err != nil {
			f.Kernel, f.KernelError = nil, err
		} else {
			f.Kernel, f.KernelError = &state, nil
		}
		if d.snapshot.Load() == s {
			break
		}
	}
	return f
}

// explain says where a packet goes.
func (d *daemon) explain(to string) (any, error) {
	target, err := explain.Parse(to)
	if err != nil {
		return nil, err
	}
	f := d.facts(true)
	s := explain.Situation{Snapshot: f.Snapshot, Report: status.Build(f), Kernel: f.Kernel}
	s.Hop, err = hop(target.Addr())
	if err != nil {
		s.HopError = err.Error()
	}
	return explain.Explain(target, s), nil
}

// ended is the kernel's error for a type of route that a packet ends on
// (net/ipv4/fib_semantics.c, fib_props); nil for any other.
func ended(kind int) error {
	switch kind {
	case unix.RTN_UNREACHABLE:
		return unix.EHOSTUNREACH
	case unix.RTN_BLACKHOLE:
		return unix.EINVAL
	case unix.RTN_PROHIBIT:
		return unix.EACCES
	case unix.RTN_THROW:
		return unix.EAGAIN
	}
	return nil
}

// hop asks the kernel where it would send a packet.
func hop(to netip.Addr) (*explain.Hop, error) {
	routes, err := netlink.RouteGet(net.IP(to.AsSlice()))
	if err != nil {
		return nil, err
	}
	if len(routes) == 0 {
		return nil, errors.New("no route")
	}
	r := routes[0]
	if err := ended(r.Type); err != nil { // of IPv4 the kernel itself says so
		return nil, err
	}
	h := &explain.Hop{Table: r.Table, Local: r.Type == unix.RTN_LOCAL}
	if via, ok := netip.AddrFromSlice(r.Gw); ok {
		h.Via = via.Unmap()
	}
	if source, ok := netip.AddrFromSlice(r.Src); ok {
		h.Source = source.Unmap()
	}
	link, err := netlink.LinkByIndex(r.LinkIndex)
	if err != nil {
		return nil, err
	}
	h.Device = link.Attrs().Name
	return h, nil
}

// rotate starts to replace the node's WireGuard key.
func (d *daemon) rotate(ctx context.Context) (string, error) {
	if err := d.loop.Rotate(ctx); err != nil {
		return "", err
	}
	return "the key is being replaced; see netd status for how far it is", nil
}

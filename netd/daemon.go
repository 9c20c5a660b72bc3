package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/firewall"
	"weft/netd/kernel"
	"weft/netd/probe"
	"weft/netd/reconcile"
	"weft/netd/status"
	"weft/netd/store"
	"weft/profiles"
)

// A daemon is the parts of a running netd and what flows between them.
type daemon struct {
	log      *slog.Logger
	kernel   *kernel.Conn
	prober   *probe.Prober
	notifier status.Notifier
	paths    profiles.NetdPaths

	snapshot atomic.Pointer[reconcile.Snapshot]
	files    files

	mu   sync.Mutex
	told bool   // READY has been sent
	line string // the last status line sent
}

// serve runs netd until ctx ends.
func serve(ctx context.Context, file string, log *slog.Logger) (err error) {
	config, err := readConfig(file)
	if err != nil {
		return err
	}
	conn, err := kernel.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	d := &daemon{log: log, kernel: conn, paths: config.Paths,
		notifier: status.Notifier{Socket: os.Getenv("NOTIFY_SOCKET")}}
	d.prober = probe.New(log, time.Now, uint16(rand.Uint32()), d.probed)
	d.snapshot.Store(&reconcile.Snapshot{Config: loopConfig(config)})
	peers := store.NewStatic(config.Node.Name, config.Network.Backend.Canonical(), config.Network.Peers)
	loop := reconcile.New(conn, firewall.NFT{}, peers, loopConfig(config), log, time.Now, d.passed)
	listeners, err := status.Listen(config.Paths.Socket, config.Listen)
	if err != nil {
		return err
	}
	reloads := make(chan os.Signal, 1)
	signal.Notify(reloads, unix.SIGHUP)
	defer signal.Stop(reloads)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	run := func(part func(context.Context) error) {
		parts.Go(func() {
			if err := part(ctx); err != nil {
				cancel(err)
			}
		})
	}
	run(loop.Run)
	run(func(ctx context.Context) error { return status.Server{Report: d.report}.Serve(ctx, listeners) })
	run(func(ctx context.Context) error { d.prober.Run(ctx); return nil })
	run(func(ctx context.Context) error { d.reload(ctx, reloads, file, peers, loop); return nil })
	<-ctx.Done()
	d.say(d.notifier.Stopping("the network goes on without netd"))
	parts.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// reload reads the configuration again at each signal. A bad one is refused
// and the old one stays.
func (d *daemon) reload(ctx context.Context, signals <-chan os.Signal, file string, peers *store.Static, loop *reconcile.Loop) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		config, err := readConfig(file)
		if err != nil {
			d.log.Error("reload: the old configuration stays", "error", err)
			d.status("configuration refused, the old one stays: " + err.Error())
			continue
		}
		d.log.Info("configuration read", "peers", len(config.Network.Peers))
		// Peers that come and go need no more than an update of the store.
		if next := loopConfig(config); !reflect.DeepEqual(next, d.snapshot.Load().Config) {
			loop.Configure(ctx, next)
		}
		peers.Replace(config.Node.Name, config.Network.Backend.Canonical(), config.Network.Peers)
	}
}

// passed takes what the reconciler has done.
func (d *daemon) passed(s reconcile.Snapshot) {
	d.snapshot.Store(&s)
	if err := d.files.write(d.paths, s); err != nil {
		d.log.Error("files", "error", err)
	}
	// The probe's pod comes after what the node is waited for.
	defer func() {
		if config, known := probeConfig(s); known {
			d.prober.Set(config)
		}
	}()
	ready, _ := s.Ready()
	line := status.Line(s)
	d.mu.Lock()
	first := ready && !d.told
	d.told = d.told || ready
	d.mu.Unlock()
	if first {
		d.log.Info("ready", "peers", len(s.Peers), "mtu", s.MTU())
		d.say(d.notifier.Ready(line))
		// What reading the configuration and programming all of it took is
		// not needed again.
		go debug.FreeOSMemory()
		d.mu.Lock()
		d.line = line
		d.mu.Unlock()
		return
	}
	d.status(line)
}

// probed tells of a peer that started or stopped answering.
func (d *daemon) probed(r probe.Result) {
	line := probe.Line(r)
	d.log.Info("probe", "line", line, "answers", r.Answers)
	d.say(d.notifier.Status(line))
}

// status tells the service manager a line that is news.
func (d *daemon) status(line string) {
	d.mu.Lock()
	news := d.line != line
	d.line = line
	d.mu.Unlock()
	if news {
		d.say(d.notifier.Status(line))
	}
}

// say logs what could not be told.
func (d *daemon) say(err error) {
	if err != nil {
		d.log.Warn("service manager", "error", err)
	}
}

// report makes a report; full adds what the kernel holds now.
func (d *daemon) report(full bool) status.Report {
	s := d.snapshot.Load()
	results, probeError := d.prober.Results()
	r := status.Build(*s, results, probeError)
	if !full {
		return r
	}
	state, err := d.kernel.Read(s.Scope())
	if err != nil {
		r.KernelError = err.Error()
		return r
	}
	r.Kernel = &state
	return r
}

// probeConfig is what the prober should do after a pass; not known as long as
// the tunnel devices are not, on which the pod's MTU depends.
func probeConfig(s reconcile.Snapshot) (c probe.Config, known bool) {
	c.On = s.Config.Network.Probe
	if !c.On {
		return c, true
	}
	c.Pod = probe.Pod{Subnets: s.Config.Node.Subnets, MTU: s.MTU()}
	for _, p := range s.Peers {
		c.Peers = append(c.Peers, probe.Peer{Node: p.Node, Subnet: p.Subnet})
	}
	return c, c.Pod.MTU > 0
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/alone"
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
	leases   *leases
	engines  *engines
	loop     *reconcile.Loop

	snapshot atomic.Pointer[reconcile.Snapshot]
	tally    atomic.Pointer[status.Tally]
	files    *files

	// What the configuration was last, for those who reload it.
	config profiles.Netd
	given  []netip.Prefix // subnets the store gave
	static *store.Static  // the store, if it is a list of peers
	// configured is what the loop was given last, configure gives it more.
	configured reconcile.Config
	configure  func(context.Context, reconcile.Config)

	reading sync.Mutex // of the kernel, for reports

	mu     sync.Mutex
	told   bool   // READY has been sent
	line   string // the last status line sent
	reload status.ReloadFacts
}

// serve runs netd until ctx ends.
func serve(ctx context.Context, file string, log *slog.Logger) (err error) {
	config, warnings, err := readConfig(file)
	if err != nil {
		return err
	}
	logWarnings(log, warnings)
	claim, err := alone.Take(log)
	if err != nil {
		return err
	}
	defer claim.Close()
	inner, given, err := newStore(config, log)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	conn, err := kernel.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	d := &daemon{log: log, kernel: conn, config: config, given: given, configured: loopConfig(config, given),
		leases:   newLeases(config.Network.Store.Type, inner, log, time.Now),
		notifier: status.Notifier{Socket: os.Getenv("NOTIFY_SOCKET")}}
	d.static, _ = inner.(*store.Static)
	d.engines = newEngines(log,
		func(b profiles.Backend) engine { return newEngine(b, log, time.Now) },
		func(b profiles.Backend) engine { return leftEngine(b, log, time.Now) })
	d.prober = probe.New(log, time.Now, uint16(rand.Uint32()), d.probed)
	d.files = newFiles(config.Paths, log, time.Now, d.announce)
	d.snapshot.Store(&reconcile.Snapshot{Config: d.configured})
	d.tally.Store(&status.Tally{})
	d.loop = reconcile.New(conn, firewall.New(), d.leases, d.configured, log, time.Now, d.passed)
	d.configure = d.loop.Configure
	d.loop.UseWireGuard(conn.WireGuard(), config.Paths.State)
	if every := status.WatchdogEvery(os.Getenv("WATCHDOG_USEC")); every > 0 {
		d.loop.Beat(every, func() { d.say(d.notifier.Alive()) })
	}
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
	run(d.loop.Run)
	server := status.Server{Report: d.report, Explain: d.explain, Rotate: d.rotate}
	run(func(ctx context.Context) error { return server.Serve(ctx, listeners) })
	run(func(ctx context.Context) error { d.prober.Run(ctx); return nil })
	run(func(ctx context.Context) error { d.engines.run(ctx); return nil })
	run(func(ctx context.Context) error { d.files.run(ctx); return nil })
	run(func(ctx context.Context) error { d.hearReloads(ctx, reloads, file); return nil })
	<-ctx.Done()
	d.say(d.notifier.Stopping("the network goes on without netd"))
	parts.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// hearReloads reads the configuration again at each signal. A bad one is
// refused and the old one stays.
func (d *daemon) hearReloads(ctx context.Context, signals <-chan os.Signal, file string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		config, warnings, err := readConfig(file)
		logWarnings(d.log, warnings)
		if err == nil {
			err = d.reconfigure(ctx, config)
		}
		if err != nil {
			d.log.Error("reload: the old configuration stays", "error", err)
		}
		d.mu.Lock()
		d.reload = status.ReloadFacts{Error: err, At: time.Now()}
		d.mu.Unlock()
		d.announce()
	}
}

// reconfigure makes config the one in force. Only the parts that it changes
// are made anew: the kernel keeps what it holds until the new part says
// otherwise, so that traffic goes on.
func (d *daemon) reconfigure(ctx context.Context, config profiles.Netd) error {
	var next store.Store
	given := d.given
	if !sameStore(d.config, config) {
		var err error
		if next, given, err = newStore(config, d.log); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if config.Paths != d.config.Paths || config.Listen != d.config.Listen {
		d.log.Warn("reload: paths and listen change when netd starts again")
	}
	d.log.Info("configuration read", "peers", len(config.Network.Peers))
	d.config, d.given = config, given
	if next != nil {
		d.log.Info("another store", "type", config.Network.Store.Type)
		d.static, _ = next.(*store.Static)
	}
	// Peers that come and go need no more than an update of the store. A key
	// in a file may be another while the name of the file is the same.
	c := loopConfig(config, given)
	if c.Network.Backend.PSKFile != "" || !reflect.DeepEqual(c, d.configured) {
		d.configured = c
		d.configure(ctx, c)
		d.engines.poke()
	}
	switch {
	case next != nil:
		d.leases.use(config.Network.Store.Type, next)
	case d.static != nil:
		d.static.Replace(config.Node.Name, config.Network.Backend.Canonical(), config.Network.Peers)
	}
	return nil
}

// sameStore reports whether the store of one configuration serves the other.
func sameStore(was, is profiles.Netd) bool {
	if was.Network.Store.Type == profiles.StoreStatic && is.Network.Store.Type == profiles.StoreStatic {
		return true
	}
	return reflect.DeepEqual(was.Network.Store, is.Network.Store) && was.Node.Name == is.Node.Name &&
		was.Node.UUID == is.Node.UUID && reflect.DeepEqual(was.Network.Pods, is.Network.Pods) &&
		was.Network.Backend.Canonical() == is.Network.Backend.Canonical() &&
		was.Network.SubnetLength == is.Network.SubnetLength
}

// usualGC is how much garbage there may be beside what is in use, in percent,
// once netd is ready; until then it is Go's 100, for the sake of time.
const usualGC = 50

// passed takes what the reconciler has done.
func (d *daemon) passed(s reconcile.Snapshot) {
	tally := d.tally.Load().Add(s)
	d.tally.Store(&tally)
	// Who is told that netd is ready finds the files.
	d.files.set(s)
	d.snapshot.Store(&s)
	d.engines.set(s)
	d.announce()
	// The probe's pod comes after what the node is waited for.
	if config, known := probeConfig(s); known {
		d.prober.Set(config)
	}
}

// announce tells the service manager how things stand if that is news, and
// the first time that all is as it should be that netd is ready.
func (d *daemon) announce() {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, files := d.snapshot.Load(), d.files.about(false)
	ready, line := status.Line(*s, files, d.reload)
	switch {
	case ready && !d.told:
		d.told = true
		d.log.Info("ready", "peers", len(s.Peers), "mtu", s.MTU())
		d.say(d.notifier.Ready(line))
		// What reading the configuration and programming all of it took is
		// not needed again. From now on little is made at a time, so that
		// collecting it often costs next to nothing.
		debug.SetGCPercent(usualGC)
		go debug.FreeOSMemory()
	case line != d.line:
		d.say(d.notifier.Status(line))
	}
	d.line = line
}

// probed tells of a peer that started or stopped answering.
func (d *daemon) probed(r probe.Result) {
	line := probe.Line(r)
	d.log.Info("probe", "line", line, "answers", r.Answers)
	d.say(d.notifier.Status(line))
}

// say logs what could not be told.
func (d *daemon) say(err error) {
	if err != nil {
		d.log.Warn("service manager", "error", err)
	}
}

// probeConfig is what the prober should do after a pass; not known as long as
// the tunnel devices are not, on which the pod's MTU depends.
func probeConfig(s reconcile.Snapshot) (c probe.Config, known bool) {
	c.On = s.Config.Network.Probe
	if !c.On {
		return c, true
	}
	c.Pod = probe.Pod{MTU: s.MTU()}
	for _, subnet := range []netip.Prefix{s.Node.IPv4, s.Node.IPv6} { // of the configuration, or given by the store
		if subnet.IsValid() {
			c.Pod.Subnets = append(c.Pod.Subnets, subnet)
		}
	}
	for _, p := range s.Peers {
		c.Peers = append(c.Peers, probe.Peer{Node: p.Node, Subnet: p.Subnet})
	}
	return c, c.Pod.MTU > 0
}

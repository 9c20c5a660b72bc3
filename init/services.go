package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/ready"
	"weft/init/service"
	"weft/init/timeline"
	"weft/profiles"
)

// netdSpec is how netd is run. It configures the network of every pod, so the
// kernel should look elsewhere first when memory runs out. What it has started
// goes on without it: traffic does not depend on it.
var netdSpec = service.Spec{
	Name: itemNetd, Path: "/usr/sbin/netd",
	Env:        []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
	Watchdog:   netdWatchdog,
	StopWithin: 5 * time.Second,
	Alone:      true,
	OOMScore:   -900,
}

// The stages that services can come after, beside each other.
const (
	stageNetwork = "network"
	stageClock   = "clock"
	stageData    = "data"
	// stageKubernetes is over when the files that K3s or RKE2 read are there.
	stageKubernetes = "kubernetes-files"
)

// Limits for all services, as K3s's own units have them
// (LimitNOFILE=1048576, LimitNPROC=infinity, LimitCORE=infinity).
var limits = map[int]syscall.Rlimit{
	unix.RLIMIT_NOFILE: {Cur: 1 << 20, Max: 1 << 20},
	unix.RLIMIT_NPROC:  {Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY},
	unix.RLIMIT_CORE:   {Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY},
}

// makeSupervisor prepares for services; nothing is started yet.
func (s *system) makeSupervisor() {
	for which, limit := range limits {
		// syscall's own function, since only then the runtime leaves the
		// number of files alone in what is started.
		if err := syscall.Setrlimit(which, &limit); err != nil {
			s.log.Problem("limit %d for services: %v", which, err)
		}
	}
	groups, err := service.NewCgroups("/sys/fs/cgroup")
	if err != nil {
		s.log.Problem("%v", err)
	}
	s.journals = service.NewJournals(time.Now)
	s.watcher = newServiceWatcher(s)
	s.supervisor = service.NewSupervisor(service.SupervisorConfig{
		Launcher: service.Host{Reaper: s.reaper, Cgroups: groups, NotifyDir: runDir + "/notify"},
		Watcher:  s.watcher, Clock: service.SystemClock{}, Lines: s.journals.Add, Go: s.goes,
		Stages: []string{stageNetwork, stageClock, stageData, stageKubernetes},
	})
}

// startServices starts netd once the node knows who it is and the kernel is
// as the profile wants it, and with it the services of the profile, which wait
// for what they need. netd does not wait for the network: it does that itself.
func (s *system) startServices() {
	<-s.nameDone
	<-s.modulesDone
	<-s.sysctlsDone
	if err := s.keepSecrets(); err != nil {
		s.log.Problem("%v", err)
	}
	s.goes(s.watcher.fetch)
	s.goes(s.keepJournals)
	s.goes(s.passStages)
	payloads := s.payloads()
	for _, spec := range payloads {
		s.watcher.counts(spec)
	}
	if s.profile.Kubernetes.On() && !s.profile.NetdOn() {
		// The network is flannel's inside K3s, or a plugin's that runs in
		// pods: netd would write over their files.
		s.board.Set(itemNetd, ready.Good, "")
		s.supervisor.Pass(itemNetd, nil)
		s.start(withoutNetd(payloads)...)
		return
	}
	if err := s.renderNetd(); err != nil {
		s.log.Problem("netd is not started: %v", err)
		s.board.Set(itemNetd, ready.Failed, err.Error())
		s.supervisor.Pass(itemNetd, err)
		s.start(payloads...)
		return
	}
	s.start(append([]service.Spec{netdSpec}, payloads...)...)
}

// withoutNetd are services on a node that has no netd to wait for.
func withoutNetd(specs []service.Spec) []service.Spec {
	isNetd := func(name string) bool { return name == itemNetd }
	all := slices.Clone(specs)
	for i := range all {
		all[i].After = slices.DeleteFunc(slices.Clone(all[i].After), isNetd)
		all[i].Requires = slices.DeleteFunc(slices.Clone(all[i].Requires), isNetd)
	}
	return all
}

// start starts services. When they cannot all be put in an order, netd is
// started alone.
func (s *system) start(specs ...service.Spec) {
	err := s.supervisor.Start(specs...)
	if err == nil {
		return
	}
	s.log.Problem("services: %v; none of the profile's is started", err)
	s.board.Set("services", ready.Failed, err.Error())
	if len(specs) > 0 && specs[0].Name == itemNetd {
		if err := s.supervisor.Start(specs[0]); err != nil {
			s.log.Problem("netd: %v", err)
		}
	}
}

// passStages tells the services which stages are over.
func (s *system) passStages() {
	s.goes(func() {
		<-s.dataDone
		s.state.Lock()
		lasting := s.stateDir != ""
		s.state.Unlock()
		if !lasting {
			s.log.Note("services keep their data in memory, since there is no data partition")
		}
		s.supervisor.Pass(stageData, nil)
	})
	s.goes(func() {
		s.saneClock()
		s.supervisor.Pass(stageClock, nil)
	})
	select {
	case <-s.networked:
		s.supervisor.Pass(stageNetwork, nil)
	case <-s.ctx.Done():
	}
}

// networkReached lets those go on who wait for the network.
func (s *system) networkReached() {
	s.state.Lock()
	defer s.state.Unlock()
	select {
	case <-s.networked:
	default:
		close(s.networked)
	}
}

// journalDir is where the output of services is kept.
const journalDir = dataDir + "/var/log/weft"

// keepJournals writes the output of services down from time to time: cards
// wear out by being written to.
func (s *system) keepJournals() {
	<-s.dataDone
	s.state.Lock()
	lasting := s.stateDir != ""
	s.state.Unlock()
	if !lasting {
		return // the last lines stay in memory
	}
	if err := s.journals.Open(journalDir); err != nil {
		s.log.Problem("%v; the output of services is not kept", err)
		return
	}
	ticker := time.NewTicker(service.FlushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		case <-s.journals.Full():
		}
		s.flushJournals()
	}
}

// flushJournals writes what is kept in memory of the output of services.
func (s *system) flushJournals() {
	if err := s.journals.Flush(); err != nil {
		s.log.Problem("%v", err)
	}
}

// renderNetd writes netd's configuration.
func (s *system) renderNetd() error {
	s.state.Lock()
	name, uuid := s.hostname, s.uuid
	s.state.Unlock()
	if name == "" {
		return errors.New("the node has no name")
	}
	conf, err := profiles.NetdFor(s.profile, s.conf, name, uuid)
	if err != nil {
		return err
	}
	text, err := conf.YAML()
	if err != nil {
		return err
	}
	return keep.Write(profiles.NetdFile, text, 0o600)
}

// serviceWatcher tells people and programs how services do.
type serviceWatcher struct {
	*system
	ctx     context.Context // ends when netd is stopped
	quiet   context.CancelFunc
	changed chan struct{} // netd's status may have changed

	mu    sync.Mutex
	began map[string]time.Duration // when each was last started
	ours  map[string]bool          // those for which the node waits to be ready
}

var _ service.Watcher = (*serviceWatcher)(nil)

func newServiceWatcher(s *system) *serviceWatcher {
	ctx, cancel := context.WithCancel(s.ctx)
	return &serviceWatcher{system: s, ctx: ctx, quiet: cancel, changed: make(chan struct{}, 1),
		began: make(map[string]time.Duration), ours: make(map[string]bool)}
}

// counts makes the node wait for a service of the profile before it is ready.
// One that may take minutes, as Kubernetes does, is not waited for.
func (w *serviceWatcher) counts(spec service.Spec) {
	if spec.Name == profiles.K3s || spec.Name == profiles.RKE2 {
		return
	}
	w.mu.Lock()
	w.ours[spec.Name] = true
	w.mu.Unlock()
	w.board.Set(spec.Name, ready.Pending, "it has not been started")
}

// waitedFor reports whether the node is not ready without a service.
func (w *serviceWatcher) waitedFor(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return name == itemNetd || w.ours[name]
}

// State puts a service's state on the board.
func (w *serviceWatcher) State(name string, state service.State, text string) {
	switch state {
	case service.Waiting:
		w.log.Service(name, "waits for "+text)
		if w.waitedFor(name) {
			w.board.Set(name, ready.Pending, "it waits for "+text)
		}
	case service.Starting:
		w.mu.Lock()
		w.began[name] = timeline.Uptime()
		w.mu.Unlock()
		if w.waitedFor(name) {
			w.board.Set(name, ready.Pending, "it has not said that it is ready")
		}
		w.log.Service(name, "starting")
	case service.Ready:
		w.mu.Lock()
		took := timeline.Uptime() - w.began[name]
		w.mu.Unlock()
		w.log.Took(name, took, "ready")
		w.board.Set(name, ready.Good, "")
		w.expect(name)
		w.poke(name)
	case service.Wedged:
		w.log.Service(name, text)
		w.log.Problem("%s is wedged: %s", name, text)
		w.wedged(name)
	case service.Late:
		w.log.Service(name, text)
		w.log.Problem("%s is late: %s", name, firstLine(text))
		w.board.Set(name, ready.Failed, firstLine(text))
		w.goes(func() { w.keepTrace("late-"+name, name+" does not come up", text) })
	case service.Down, service.Failed:
		w.log.Service(name, text)
		w.log.Problem("%s is down: %s", name, summary(text))
		w.board.Set(name, ready.Failed, summary(text))
		w.ended(name, state, text)
	case service.Done:
		w.log.Service(name, "done: "+text)
		w.board.Set(name, ready.Good, "")
	case service.Hung:
		w.log.Service(name, text)
		w.log.Problem("%s hangs: %s", name, text)
	case service.Stopped:
		w.dismiss(name)
		w.log.Service(name, "stopped: "+text)
	}
}

// ended keeps what a person needs who wants to know why a service ended.
func (w *serviceWatcher) ended(name string, state service.State, text string) {
	w.calm(name)
	w.goes(func() {
		w.flushJournals()
		switch {
		case strings.Contains(firstLine(text), "out of memory"):
			w.keepTrace("oom-"+name, name+" was ended for want of memory", text+"\n\nthe kernel says:\n"+kernelTail())
		case state == service.Failed:
			w.keepTrace("down-"+name, name+" stays down", text)
		}
	})
}

// summary is the first line of why a service ended, and what comes of it.
func summary(text string) string {
	first := firstLine(text)
	if i := strings.LastIndex(text, "; "); i > len(first) {
		return first + text[i:]
	}
	return first
}

// Status shows what a service says of itself.
func (w *serviceWatcher) Status(name, text string) {
	w.log.Service(name, text)
	w.poke(name)
}

// Warning shows a line of a service's output.
func (w *serviceWatcher) Warning(name, line string) { w.log.Service(name, line) }

// Alive counts as life for the node's own watchdog.
func (w *serviceWatcher) Alive(name string) { w.alive(name) }

// poke has netd's status fetched; several pokes in a row are one.
func (w *serviceWatcher) poke(name string) {
	if name != itemNetd {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// fetch passes netd's whole status on whenever it may have changed. Nobody
// asks netd while no host listens.
func (w *serviceWatcher) fetch() {
	ctx := w.ctx
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		}
		if !w.port.Attached() {
			continue
		}
		status, err := getStatus(ctx, profiles.DefaultNetdPaths.Socket)
		if ctx.Err() != nil || w.leaving.Load() {
			return // netd is being stopped; that it does not answer says nothing
		}
		if err != nil {
			w.log.Problem("netd's status: %v", err)
			continue
		}
		w.log.Status("netd", status)
	}
}

const (
	// statusWithin is how long netd may take to answer: long, since a virtual
	// machine on a busy host is slow, and a wedged netd is the watchdog's to tell.
	statusWithin = 20 * time.Second
	// maxStatus is the longest status taken, in bytes.
	maxStatus = 1 << 20
)

// getStatus asks for /status on netd's socket: HTTP/1.0 in its shortest form,
// which any server answers with the whole body and a closed connection.
func getStatus(ctx context.Context, socket string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, "GET /status HTTP/1.0\r\nHost: unix\r\n\r\n"); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxStatus))
	if err != nil {
		return nil, err
	}
	return body(string(answer))
}

// body returns the body of an HTTP answer that says 200.
func body(answer string) ([]byte, error) {
	head, body, ok := strings.Cut(answer, "\r\n\r\n")
	if !ok {
		return nil, errors.New("the answer is no HTTP")
	}
	line := firstLine(head)
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "HTTP/1.") || fields[1] != "200" {
		return nil, fmt.Errorf("the answer is %.80q", line)
	}
	return []byte(body), nil
}

// firstLine is a text up to its first line end.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.TrimRight(s, "\r")
}

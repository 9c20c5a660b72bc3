package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"weft/init/keep"
	"weft/init/ready"
	"weft/init/service"
	"weft/init/timeline"
	"weft/profiles"
)

// netdSpec is how netd is run. It configures the network of every pod, so the
// kernel should look elsewhere first when memory runs out.
var netdSpec = service.Spec{
	Name: "netd", Path: "/usr/sbin/netd",
	Env:        []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
	StopWithin: 5 * time.Second,
	OOMScore:   -900,
}

// startServices starts netd once the node knows who it is and the kernel is
// as the profile wants it. It does not wait for the network: netd does that
// itself.
func (s *system) startServices() {
	<-s.nameDone
	<-s.modulesDone
	<-s.sysctlsDone
	if err := s.renderNetd(); err != nil {
		s.log.Problem("netd is not started: %v", err)
		s.board.Set(itemNetd, ready.Failed, err.Error())
		return
	}
	groups, err := service.NewCgroups("/sys/fs/cgroup")
	if err != nil {
		s.log.Problem("%v", err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.state.Lock()
	s.stopServices = cancel
	s.state.Unlock()
	host := service.Host{Reaper: s.reaper, Cgroups: groups, NotifyDir: runDir + "/notify"}
	w := &serviceWatcher{system: s, changed: make(chan struct{}, 1)}
	s.goes(func() { w.fetch(ctx) })
	s.services.Add(1)
	s.goes(func() {
		defer s.services.Done()
		service.Run(ctx, netdSpec, host, w, service.SystemClock{})
	})
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

// serviceWatcher tells people and programs how a service does.
type serviceWatcher struct {
	*system
	began   time.Duration
	changed chan struct{} // the service's status may have changed
}

var _ service.Watcher = (*serviceWatcher)(nil)

// State puts a service's state on the board.
func (w *serviceWatcher) State(name string, state service.State, text string) {
	switch state {
	case service.Starting:
		w.began = timeline.Uptime()
		w.board.Set(name, ready.Pending, "it has not said that it is ready")
		w.log.Service(name, "starting")
	case service.Ready:
		w.log.Took(name, timeline.Uptime()-w.began, "ready")
		w.board.Set(name, ready.Good, "")
		w.poke()
	case service.Down:
		w.log.Service(name, text)
		w.log.Problem("%s is down: %s", name, firstLine(text))
		w.board.Set(name, ready.Failed, firstLine(text))
	case service.Stopped:
		w.log.Service(name, "stopped: "+text)
	}
}

// Status shows what a service says of itself.
func (w *serviceWatcher) Status(name, text string) {
	w.log.Service(name, text)
	w.poke()
}

// Warning shows a line of a service's output.
func (w *serviceWatcher) Warning(name, line string) { w.log.Service(name, line) }

// poke has the status fetched; several pokes in a row are one.
func (w *serviceWatcher) poke() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// fetch passes netd's whole status on whenever it may have changed. Nobody
// asks netd while no host listens.
func (w *serviceWatcher) fetch(ctx context.Context) {
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
		if ctx.Err() != nil {
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
	// statusWithin is how long netd may take to answer.
	statusWithin = 5 * time.Second
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

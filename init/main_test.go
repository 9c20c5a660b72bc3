package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/event"
	"weft/init/cmdline"
	"weft/init/identity"
	"weft/init/keep"
	"weft/init/modules"
	"weft/init/power"
	"weft/init/ready"
	"weft/init/report"
	"weft/init/service"
	"weft/init/status"
	"weft/init/timeline"
	"weft/profiles"
)

// record is a node that writes into memory.
type record struct {
	lines  []string
	events []event.Event
}

func (r *record) node() *node {
	publisher := status.NewPublisher()
	return &node{
		publisher: publisher, history: status.NewHistory(publisher.Poke),
		ctx:     context.Background(),
		port:    report.New(),
		drivers: make(map[string]bool),
		log: timeline.New(func() time.Duration { return time.Second },
			func(s string) { r.lines = append(r.lines, s) }, func(e event.Event) { r.events = append(r.events, e) }),
	}
}

func (r *record) text() string { return strings.Join(r.lines, "\n") }

// newSystem is a system without a kernel below it.
func (r *record) system() *system {
	return &system{
		node:   r.node(),
		board:  ready.NewBoard(itemNetd),
		leased: make(chan string, 1), seen: make(chan struct{}),
	}
}

func TestOutsideANodeItDoesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"version": {[]string{"--version"}, 0}, "help": {[]string{"--help"}, 0},
		"nothing": {nil, exitUsage}, "nonsense": {[]string{"reboot"}, exitUsage}, "too much": {[]string{"--help", "x"}, exitUsage},
	} {
		if got := outside(c.args); got != c.want {
			t.Errorf("%s: exit code %d", name, got)
		}
	}
}

// No boot loader of a Raspberry Pi counts tries, so there is nothing to bless
// and nothing to complain of.
func TestARaspberryPisSlotIsNotBlessed(t *testing.T) {
	var r record
	s := r.system()
	s.args = cmdline.Parse("root=PARTUUID=0540814d-02 weft.slot=a")
	s.bless()
	if text := r.text(); text != "" {
		t.Errorf("it says %q", text)
	}
}

// The time is kept by a ticker, when a server has set it, and at the end; two of
// them may come at once.
func TestStateIsWrittenByOneAtATime(t *testing.T) {
	var r record
	s := r.system()
	path := filepath.Join(t.TempDir(), "clock")
	failed := make(chan error)
	for range 32 {
		go func() { failed <- s.keepState(func() error { return keep.Write(path, []byte("now"), 0o644) }) }()
	}
	for range 32 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func TestModuleLists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.conf")
	if err := os.WriteFile(path, []byte("# boot modules\nvirtio_blk\n\n ; more\n  erofs  \n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := listed(path); !slices.Equal(got, []string{"virtio_blk", "erofs"}) {
		t.Errorf("got %q", got)
	}
	if got := listed(path + "x"); got != nil {
		t.Errorf("without a file: %q", got)
	}
}

func TestDriversAreReportedOnceAndOnlyWhenTheyMatter(t *testing.T) {
	r := &record{}
	n := r.node()
	for _, res := range []modules.Result{
		{Name: "virtio_net", Took: 12 * time.Millisecond}, {Name: "virtio_net", Took: 12 * time.Millisecond},
		{Name: "ipv6", Builtin: true}, {Name: "ext4", Already: true}, {Name: "floppy", Err: unix.ENODEV}, {Name: "bad", Err: unix.ENOEXEC},
	} {
		n.driverLoaded(res)
	}
	want := "weft: [  1.00] driver virtio_net 12 ms\nweft: [  1.00] problem: driver bad: exec format error"
	if r.text() != want {
		t.Errorf("lines:\n%s", r.text())
	}
}

func TestMountHints(t *testing.T) {
	for err, want := range map[error]string{unix.ENODEV: "no erofs", unix.EINVAL: "no sound EROFS", unix.EIO: ""} {
		if got := mountHint(err); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%v: %q", err, got)
		}
	}
}

func TestBodies(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"a\":1}": `{"a":1}`,
		"HTTP/1.1 200 OK\r\n\r\n":                  "",
	} {
		if got, err := body(answer); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", answer, got, err)
		}
	}
	for _, answer := range []string{"", "200 OK", "HTTP/1.0 404 Not Found\r\n\r\nx", "SSH-2.0 200\r\n\r\n", "HTTP/1.0\r\n\r\n"} {
		if _, err := body(answer); err == nil {
			t.Errorf("%q: no error", answer)
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Add("HTTP/1.0 200 OK\r\n\r\nx")
	f.Fuzz(func(t *testing.T, answer string) {
		if b, err := body(answer); err == nil && len(b) >= len(answer) {
			t.Errorf("%q gave %q", answer, b)
		}
	})
}

func TestStatusIsFetchedFromTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 1000)
		n, _ := c.Read(buf)
		if strings.HasPrefix(string(buf[:n]), "GET /status HTTP/1.0\r\n") {
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n{}")
		}
	}()
	if got, err := getStatus(t.Context(), path); err != nil || string(got) != "{}" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := getStatus(t.Context(), path+"x"); err == nil {
		t.Error("no error without a socket")
	}
}

func TestNameIsKeptOverEverythingButTheNodeFile(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		file, kept string
		leased     string
		want       string
	}{
		"node file":              {"file-1", "kept-1", "", "file-1"},
		"kept":                   {"", "kept-1", "leased-1", "kept-1"},
		"an unsound node file":   {"localhost", "kept-1", "", "kept-1"},
		"DHCP at the first boot": {"", "", "Leased-1", "leased-1"},
	} {
		r := &record{}
		s := r.system()
		s.conf.Hostname = c.file
		s.leased <- c.leased
		if got := s.chooseName(identity.Identity{UUID: "5ba0d6b6-63be-4c66-a9de-cd4549fabc55", Hostname: c.kept}); got.Name != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// With DHCP out of the question and an uplink there is no waiting at all.
	r := &record{}
	s := r.system()
	s.profile.Hostname = profiles.Hostname{Prefix: "edge", DHCP: &no}
	close(s.seen)
	got := s.chooseName(identity.Identity{UUID: "5ba0d6b6-63be-4c66-a9de-cd4549fabc55"})
	if !strings.HasPrefix(got.Name, "edge-") {
		t.Errorf("%+v", got)
	}
}

func TestServiceStatesReachBoardAndConsole(t *testing.T) {
	r := &record{}
	s := r.system()
	s.journals = service.NewJournals(time.Now)
	w := newServiceWatcher(s)
	w.State("netd", service.Starting, "")
	w.Status("netd", "programming")
	w.Warning("netd", "level=WARN msg=x")
	w.State("netd", service.Ready, "")
	if it := s.board.Items()[0]; it.State != ready.Good {
		t.Errorf("item %+v", it)
	}
	w.State("netd", service.Down, "exit code 2\n| panic: boom; starting again in 1s")
	if it := s.board.Items()[0]; it.State != ready.Failed || it.Reason != "exit code 2; starting again in 1s" {
		t.Errorf("item %+v", it)
	}
	w.State("netd", service.Stopped, "exit code 0")
	for _, want := range []string{"netd: starting", "netd: programming", "netd 0 ms: ready", "| panic: boom", "problem: netd is down: exit code 2", "netd: stopped"} {
		if !strings.Contains(r.text(), want) {
			t.Errorf("no %q in\n%s", want, r.text())
		}
	}
	if len(w.changed) != 1 {
		t.Error("the status is not fetched")
	}
}

func TestOnlyServicesThatCountKeepTheNodeFromBeingReady(t *testing.T) {
	r := &record{}
	s := r.system()
	s.journals = service.NewJournals(time.Now)
	w := newServiceWatcher(s)
	w.counts(service.Spec{Name: "web"})
	w.counts(service.Spec{Name: profiles.K3s})
	state := func(name string) string {
		for _, it := range s.board.Items() {
			if it.Name == name {
				return [...]string{"pending", "good", "failed"}[it.State] + " " + it.Reason
			}
		}
		return "none"
	}
	for _, step := range []struct {
		name  string
		state service.State
		text  string
		want  string
	}{
		{"web", service.Waiting, "network", "pending it waits for network"},
		{"web", service.Starting, "", "pending it has not said that it is ready"},
		{"web", service.Late, "not ready after 2m0s\n| x", "failed not ready after 2m0s"},
		{"web", service.Ready, "", "good "},
		{"web", service.Failed, "exit code 1\n| x; it stays down", "failed exit code 1; it stays down"},
		{"web", service.Done, "exit code 0", "good "},
		{profiles.K3s, service.Waiting, "clock", "none"},
		{profiles.K3s, service.Starting, "", "none"},
		{profiles.K3s, service.Down, "exit code 1; starting again in 5s", "failed exit code 1; starting again in 5s"},
		{profiles.K3s, service.Starting, "", "failed exit code 1; starting again in 5s"},
		{profiles.K3s, service.Ready, "", "good "},
	} {
		w.State(step.name, step.state, step.text)
		if got := state(step.name); got != step.want {
			t.Errorf("%s is %s: %q, want %q", step.name, step.state, got, step.want)
		}
	}
}

func TestNetdIsWatchedWhileItIsReadyOrWedged(t *testing.T) {
	r := &record{}
	s := r.system()
	s.journals = service.NewJournals(time.Now)
	w := newServiceWatcher(s)
	watched := func() bool { return s.guard.pack.Silent(time.Now().Add(time.Hour)) != "" }
	for _, step := range []struct {
		state service.State
		want  bool
	}{
		{service.Starting, false}, {service.Ready, true}, {service.Down, false}, // it said why
		{service.Starting, false}, {service.Ready, true}, {service.Wedged, true}, {service.Down, true}, {service.Starting, true},
		{service.Ready, true}, {service.Down, false}, {service.Ready, true}, {service.Stopped, false},
	} {
		w.State(itemNetd, step.state, "")
		if watched() != step.want {
			t.Errorf("netd is %s: watched %v", step.state, watched())
		}
	}
}

func TestAFailedItemTellsItsReason(t *testing.T) {
	r := &record{}
	s := r.system()
	s.settle(itemNetd, errors.New("why"))
	if it := s.board.Items()[0]; it.State != ready.Failed || it.Reason != "why" {
		t.Errorf("item %+v", it)
	}
	s.settle(itemNetd, nil)
	if it := s.board.Items()[0]; it.State != ready.Good {
		t.Errorf("item %+v", it)
	}
}

func TestTheFirstRequestToStopCounts(t *testing.T) {
	c := make(chan power.Request, 1)
	request(c, power.Request{Action: power.Off, Why: "button"})
	request(c, power.Request{Action: power.Reboot})
	if got := <-c; got.Action != power.Off || got.Why != "button" {
		t.Errorf("%+v", got)
	}
}

func TestDevicesWaitForTheirDrivers(t *testing.T) {
	r := &record{}
	d := &devices{n: r.node(), block: make(chan struct{}), buttons: make(map[string]bool)}
	d.serve("pci:v1")
	d.serve("usb:v2")
	if !slices.Equal(d.waiting, []string{"pci:v1", "usb:v2"}) {
		t.Errorf("waiting %q", d.waiting)
	}
	changed := d.blockChanged()
	d.lost()
	select {
	case <-changed:
	default:
		t.Error("lost events wake nobody")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.partition(ctx, "none", time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := d.partition(t.Context(), "none", time.Millisecond); err == nil || !strings.Contains(err.Error(), "PARTUUID=none; seen:") {
		t.Errorf("error %v", err)
	}
}

func TestAButtonWhoseFileIsNotThereYetIsLookedForAgain(t *testing.T) {
	for name, c := range map[string]struct {
		before, now int
	}{"no event meanwhile": {3, 3}, "an event meanwhile": {3, 4}} {
		r := &record{}
		d := &devices{n: r.node(), buttons: map[string]bool{"event99": true}, inputs: c.now}
		d.watchButton("event99", c.before, func() { t.Error("pressed") })
		if d.buttons["event99"] {
			t.Errorf("%s: it still counts as watched", name)
		}
	}
}

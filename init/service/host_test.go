package service

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test program stand in for a service: with SERVICE set it
// is one.
func TestMain(m *testing.M) {
	switch os.Getenv("SERVICE") {
	case "":
		os.Exit(m.Run())
	case "notify":
		conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err != nil {
			fmt.Println("level=ERROR", err)
			os.Exit(1)
		}
		fmt.Println("hello from", os.Args[1])
		if _, err := conn.Write([]byte("READY=1\nSTATUS=fine")); err != nil {
			os.Exit(1)
		}
		select {} // until a signal ends it
	case "lasting": // leaves a child behind and ends, when told by its arguments
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("child", cmd.Process.Pid)
		os.Exit(0)
	case "deaf":
		signal.Ignore(unix.SIGTERM)
		fmt.Println("level=WARN deaf")
		select {}
	case "status": // shows what the kernel thinks of it
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			os.Exit(1)
		}
		dir, _ := os.Getwd()
		fmt.Printf("dir %s\nwatchdog %s\n%s", dir, os.Getenv("WATCHDOG_USEC"), text)
		os.Exit(0)
	case "exit":
		fmt.Fprintln(os.Stderr, "level=ERROR that is all")
		os.Exit(7)
	}
}

// host is a launcher with a reaper of its own. Nothing else in this package's
// tests may wait for children.
func host(t *testing.T) Host {
	t.Helper()
	r := NewReaper()
	go r.Run(t.Context())
	return Host{Reaper: r, NotifyDir: t.TempDir()}
}

// program is this test program as a service of a kind.
func program(t *testing.T, kind string) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Name: "svc", Path: self, Args: []string{"an argument"}, Env: []string{"SERVICE=" + kind, "GOCOVERDIR=" + t.TempDir()}, StopWithin: 10 * time.Second}
}

func TestARealServiceIsStartedHeardAndStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := make(heard, 100)
	ended := make(chan struct{})
	go func() { defer close(ended); Run(ctx, program(t, "notify"), host(t), h, SystemClock{}) }()
	h.expect(t, "starting")
	h.expect(t, "status fine")
	h.expect(t, "ready")
	cancel()
	h.expect(t, "stopped ended by signal 15 (terminated)")
	<-ended
}

func TestARealServicesLastWordsAreShown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := make(heard, 100)
	go Run(ctx, program(t, "exit"), host(t), h, newClock())
	h.expect(t, "starting")
	h.expect(t, "warning level=ERROR that is all")
	h.expect(t, "down exit code 7\n| level=ERROR that is all; starting again in 250ms")
}

func TestAMissingProgramIsAnErrorNotADeadReaper(t *testing.T) {
	l := host(t)
	for range 3 {
		_, err := l.Launch(Spec{Name: "x", Path: "/nowhere/x"}, func(string) {}, func(Notice) {})
		if err == nil || !strings.Contains(err.Error(), "start /nowhere/x") {
			t.Errorf("error %v", err)
		}
	}
	l.NotifyDir = "/nowhere"
	if _, err := l.Launch(program(t, "exit"), nil, nil); err == nil {
		t.Error("no error without a place for the notify socket")
	}
}

// TestOrphansAreReapedAndNobodysExitIsStolen starts children by the reaper
// and behind its back; both end, and only the former are told.
func TestOrphansAreReapedAndNobodysExitIsStolen(t *testing.T) {
	r := NewReaper()
	go r.Run(t.Context())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	attr := &syscall.ProcAttr{Env: []string{"SERVICE=exit"}}
	var ends []<-chan Exit
	for range 20 {
		_, done, err := r.Start(self, []string{self}, attr, nil)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, done)
		if _, err := syscall.ForkExec(self, []string{self}, attr); err != nil {
			t.Fatal(err)
		}
	}
	for i, done := range ends {
		if e := next(t, done); e.Code != 7 {
			t.Errorf("child %d: %v", i, e)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		var ws unix.WaitStatus
		if _, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); err == unix.ECHILD {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("an orphan is left")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCgroups(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n")
	write("cgroup.subtree_control", "")
	write("services/cgroup.controllers", "cpu memory\n")
	c, err := NewCgroups(root)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Make("netd", true)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if st, err := os.Stat(filepath.Join(root, "services/netd")); err != nil || !st.IsDir() {
		t.Errorf("no cgroup: %v", err)
	}
	if err := c.Kill("netd"); err != nil {
		t.Error(err)
	}
	if err := c.Add("netd", 5); err == nil {
		t.Error("no error without the kernel's file")
	}
	if f, err = c.Make("netd", false); err != nil {
		t.Error(err)
	}
	f.Close()
	if got, _ := os.ReadFile(filepath.Join(root, "services/netd/cgroup.kill")); string(got) != "1" {
		t.Errorf("kill wrote %q", got)
	}
	if err := c.Kill("none"); err == nil {
		t.Error("no error for a service that never was")
	}
	if got := wanted("memory rdma cpu"); !slices.Equal(got, []string{"cpu", "memory"}) {
		t.Errorf("controllers %q", got)
	}
	if _, err := NewCgroups(root + "/none"); err == nil {
		t.Error("no error without cgroups")
	}
}

// said runs a program once and returns its output.
func said(t *testing.T, h Host, spec Spec) string {
	t.Helper()
	ended := make(chan struct{})
	var text strings.Builder // written by one reader, read after the end
	p, err := h.Launch(spec, func(line string) { text.WriteString(line + "\n") }, func(Notice) {})
	if err != nil {
		t.Fatal(err)
	}
	go func() { defer close(ended); <-p.Done() }()
	next(t, ended)
	return text.String()
}

func TestCapabilitiesOfAService(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("run as root: only root can take capabilities away")
	}
	h := host(t)
	for name, c := range map[string]struct {
		given []string
		want  string
	}{
		"none":       {[]string{}, "0000000000000000"},
		"one":        {[]string{"CAP_NET_BIND_SERVICE"}, "0000000000000400"},
		"a high one": {[]string{"CAP_NET_ADMIN", "CAP_BPF"}, "0000008000001000"},
	} {
		spec := program(t, "status")
		spec.Capabilities = c.given
		text := said(t, h, spec)
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd"} {
			if !strings.Contains(text, set+":\t"+c.want) {
				t.Errorf("%s: %s is not %s in\n%s", name, set, c.want, text)
			}
		}
	}
	own := func() string {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, bound, _ := strings.Cut(string(text), "CapBnd:\t")
		return bound[:16]
	}
	if text := said(t, h, program(t, "status")); !strings.Contains(text, "CapBnd:\t"+own()) {
		t.Errorf("a service without a list has not what init has (%s):\n%s", own(), text)
	}
	spec := program(t, "status")
	spec.Capabilities = []string{"CAP_FLY"}
	if _, err := h.Launch(spec, nil, nil); err == nil || !strings.Contains(err.Error(), "CAP_FLY") {
		t.Errorf("error %v", err)
	}
}

func TestDirectoryAndWatchdogOfAService(t *testing.T) {
	spec := program(t, "status")
	spec.Dir, spec.Watchdog = t.TempDir(), 30*time.Second
	text := said(t, host(t), spec)
	if !strings.Contains(text, "dir "+spec.Dir+"\n") || !strings.Contains(text, "watchdog 30000000\n") {
		t.Errorf("it says %s", text)
	}
}

func TestARealDeafServiceIsKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	spec := program(t, "deaf")
	spec.StopWithin = 50 * time.Millisecond
	h := make(heard, 100)
	ended := make(chan struct{})
	go func() { defer close(ended); Run(ctx, spec, host(t), h, SystemClock{}) }()
	h.expect(t, "starting")
	h.expect(t, "warning level=WARN deaf")
	cancel()
	h.expect(t, "hung it did not end within 50ms of being asked and is killed")
	h.expect(t, "stopped ended by signal 9 (killed)")
	next(t, ended)
}

func TestLimits(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, Services, "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := []string{"memory.max", "memory.high", "memory.oom.group", "cpu.weight", "pids.max"}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		var all []string
		for _, name := range files {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
			if err := os.Truncate(filepath.Join(dir, name), 0); err != nil { // as the kernel's files have no end
				t.Fatal(err)
			}
		}
		return strings.Join(all, " ")
	}
	c := &Cgroups{root}
	if errs := c.Limit("web", Limits{MemoryMax: 64 << 20, CPUWeight: 50, Together: true}); len(errs) > 0 {
		t.Error(errs)
	}
	if got := read(); got != "67108864 max 1 50 max" {
		t.Errorf("bounded: %s", got)
	}
	if errs := c.Limit("web", Limits{}); len(errs) > 0 {
		t.Error(errs)
	}
	if got := read(); got != "max max 0 100 max" {
		t.Errorf("unbounded: %s", got)
	}
	errs := c.Limit("web", Limits{IOWeight: 10})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "io.weight is not bounded") {
		t.Errorf("without the controller: %v", errs)
	}
	if n := c.OOMKills("web"); n != 0 {
		t.Errorf("%d kills without a count", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.events"), []byte("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := c.OOMKills("web"); n != 3 {
		t.Errorf("%d kills, want 3", n)
	}
}

package service

import (
	"context"
	"fmt"
	"net"
	"os"
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
		_, done, err := r.Start(self, []string{self}, attr)
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
	f, err := c.Make("netd")
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

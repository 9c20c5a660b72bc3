package alone

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// own is a name of the test's own: a netd may run here.
func own(t *testing.T) string { return fmt.Sprintf("@weft-netd-%d-%s", os.Getpid(), t.Name()) }

func TestSecondClaimIsRefusedWithTheOwnersNameAndNumber(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	first, err := take(own(t), log)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for range 3 { // asking takes nothing away
		_, err = take(own(t), log)
		var taken *TakenError
		if !errors.As(err, &taken) || taken.Owner.PID != os.Getpid() {
			t.Fatalf("the second claim: %v; want one refused by process %d", err, os.Getpid())
		}
		if text := err.Error(); !strings.Contains(text, fmt.Sprintf("alone.test (process %d)", os.Getpid())) || !strings.Contains(text, "; fix: ") {
			t.Errorf("it says %q", text)
		}
	}
	first.Close()
	again, err := take(own(t), log)
	if err != nil {
		t.Fatalf("a claim after the first was given back: %v", err)
	}
	again.Close()
}

// TestNobodyIsKeptFromStartingByAStranger: names of abstract sockets are free
// for all.
func TestNobodyIsKeptFromStartingByAStranger(t *testing.T) {
	t.Run("who does not answer", func(t *testing.T) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: own(t)}); err != nil {
			t.Fatal(err)
		}
		startsWithWarning(t)
	})
	t.Run("who is not root", func(t *testing.T) {
		if o := (Owner{PID: 7, UID: 65534}); o.trusted() {
			t.Errorf("%+v is taken for a netd", o)
		}
	})
}

func startsWithWarning(t *testing.T) {
	t.Helper()
	var log bytes.Buffer
	c, err := take(own(t), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !strings.Contains(log.String(), "another netd would not be noticed") {
		t.Errorf("the log is %q", &log)
	}
}

func TestSocketOfNobodyHasNoOwner(t *testing.T) {
	dir, err := os.MkdirTemp("", "alone")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "sock")
	if _, err := OwnerOf(path); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no file: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if o, err := OwnerOf(path); err != nil || o.PID != os.Getpid() || o.UID != os.Geteuid() {
		t.Errorf("the owner is %v, %v", o, err)
	}
	l.Close()
	if _, err := OwnerOf(path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a socket that was left: %v", err)
	}
}

// asOwner is the environment variable that makes the test binary take the name
// in it, leave it to a child, and end.
const asOwner = "WEFT_TEST_ALONE_OWNER"

func TestMain(m *testing.M) {
	if name := os.Getenv(asOwner); name != "" {
		if err := leave(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// leave takes a name, leaves it to a child, and prints the child's number.
func leave(name string) error {
	listener, err := net.Listen("unix", name)
	if err != nil {
		return err
	}
	file, err := listener.(*net.UnixListener).File()
	if err != nil {
		return err
	}
	child := exec.Command("sleep", "60")
	child.ExtraFiles = []*os.File{file}
	if err := child.Start(); err != nil {
		return err
	}
	fmt.Println(child.Process.Pid)
	return nil
}

// A netd that is killed while it starts a program leaves the name, for a
// moment, to a child that is not that program yet.
func TestTheNameOfAnOwnerThatHasEndedIsWaitedFor(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asOwner+"="+own(t))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(child, unix.SIGKILL) })
	owner, err := OwnerOf(own(t))
	if err != nil || owner.PID != cmd.Process.Pid || !owner.gone() {
		t.Fatalf("the owner is %+v (%v), gone %t; want process %d, gone", owner, err, owner.gone(), cmd.Process.Pid)
	}
	var claim *Claim
	done := make(chan error, 1)
	go func() {
		var err error
		claim, err = take(own(t), slog.New(slog.DiscardHandler))
		done <- err
	}()
	if err := unix.Kill(child, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || claim.listener == nil {
		t.Fatalf("the name was not given back: %v", err)
	}
	claim.Close()
}

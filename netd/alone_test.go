package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// second runs one more netd on the node, to its end, and returns what it says.
func (x *node) second(t *testing.T, config string) string {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command("/proc/self/exe", "-config", config)
	cmd.Env = append(os.Environ(), asNetd+"=1")
	cmd.Stderr = &errs
	if err := x.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Fatalf("the second netd ended with %v, want exit code %d: %s", err, exitFailed, &errs)
	}
	return errs.String()
}

// TestSecondNetdIsRefusedAndHarmsNothing: the first one's socket, rules and
// routes stay, and its end makes way at once.
func TestSecondNetdIsRefusedAndHarmsNothing(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2)
	c.startAll(t)
	x, other := c.nodes[0], c.nodes[1]
	want := x.state(t)
	says := fmt.Sprintf("(process %d) ", x.netd.Process.Pid)

	t.Run("with the same file", func(t *testing.T) {
		if text := x.second(t, filepath.Join(x.dir, "netd.yaml")); !strings.Contains(text, says+"already carries the network here; fix: ") {
			t.Errorf("it says %s", text)
		}
	})
	t.Run("with another backend and socket", func(t *testing.T) {
		config := x.config
		config.Network.Backend.Type, config.Network.Backend.VNI, config.Network.Backend.Port = "host-gw", 0, 0
		config.Network.Backend.ChecksumOffload = nil
		config.Paths.Socket = x.dir + "/second"
		data, err := config.YAML()
		if err == nil {
			err = os.WriteFile(x.dir+"/second.yaml", data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if text := x.second(t, x.dir+"/second.yaml"); !strings.Contains(text, says+"already carries") {
			t.Errorf("it says %s", text)
		}
	})
	t.Run("with the socket of another node", func(t *testing.T) {
		other.stop(t, unix.SIGTERM)
		socket := other.config.Paths.Socket
		other.config.Paths.Socket = x.config.Paths.Socket
		other.writeConfig(t)
		if text := other.second(t, filepath.Join(other.dir, "netd.yaml")); !strings.Contains(text, says+"listens on "+x.config.Paths.Socket) {
			t.Errorf("it says %s", text)
		}
		other.config.Paths.Socket = socket
		other.writeConfig(t)
	})
	if have := x.state(t); normal(have) != normal(want) {
		t.Errorf("state is\n%s\nwas\n%s", have, want)
	}
	if r := x.report(t); !r.Ready || r.Counters.LastRepair != nil {
		t.Errorf("the first netd: ready %v (%s), last repair %v", r.Ready, r.Reason, r.Counters.LastRepair)
	}
	x.stop(t, unix.SIGKILL)
	x.start(t)
	x.waitReady(t)
	if have := x.state(t); normal(have) != normal(want) {
		t.Errorf("after a crash state is\n%s\nwas\n%s", have, want)
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/netd/status"
)

// TestForeignDeviceOfOurNameGivesWayWithAWarning: whoever made it has to learn
// where it went.
func TestForeignDeviceOfOurNameGivesWayWithAWarning(t *testing.T) {
	for _, kind := range []string{"bridge", "macvlan"} {
		t.Run(kind, func(t *testing.T) {
			x := newCluster(t, onlyIPv4, 2).nodes[0]
			add := []string{"link", "add", "flannel.1", "type", kind}
			if kind == "macvlan" {
				add = []string{"link", "add", "link", "eth0", "name", "flannel.1", "type", kind}
			}
			x.Run(t, "ip", add...)
			x.start(t)
			x.waitReady(t)
			if out := x.Run(t, "ip", "-d", "link", "show", "flannel.1"); !strings.Contains(out, "vxlan id 1 ") {
				t.Errorf("flannel.1 is %s", out)
			}
			if log := x.log.String(); strings.Count(log, "was removed") != 1 || !strings.Contains(log, "level=WARN") || !strings.Contains(log, "device=flannel.1 kind="+kind) {
				t.Errorf("no warning in\n%s", log)
			}
		})
	}
	t.Run("one that flanneld left is taken over in silence", func(t *testing.T) {
		x := newCluster(t, onlyIPv4, 2).nodes[0]
		x.Run(t, "ip", strings.Fields("link add flannel.1 type vxlan id 1 dev eth0 local 10.0.0.1 dstport 8472 nolearning")...)
		x.start(t)
		x.waitReady(t)
		if log := x.log.String(); strings.Contains(log, "was removed") {
			t.Errorf("the log is\n%s", log)
		}
	})
}

// notReady waits until netd says that it is not ready for a reason.
func (x *node) notReady(t *testing.T, reason string) (r status.Report) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, x.Name+" not ready", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var err error
		if r, err = status.Fetch(ctx, x.config.Paths.Socket); err != nil {
			return err // it has not begun to listen
		}
		if r.Ready || !strings.Contains(r.Reason, reason) {
			return fmt.Errorf("ready %t, reason %q; want %q", r.Ready, r.Reason, reason)
		}
		return nil
	})
	return r
}

// TestVXLANDeviceInTheWayIsNamed: the kernel has one for a VNI and port.
func TestVXLANDeviceInTheWayIsNamed(t *testing.T) {
	x := newCluster(t, onlyIPv4, 2).nodes[0]
	x.Run(t, "ip", strings.Fields("link add vx0 type vxlan id 1 dev eth0 local 10.0.0.1 dstport 8472")...)
	x.start(t)
	r := x.notReady(t, "device vx0 has VNI 1 and port 8472 already")
	if !strings.Contains(r.Fix, "ip link del vx0") || r.Peers[0].Fix != r.Fix {
		t.Errorf("the fix is %q, that of the peer %q", r.Fix, r.Peers[0].Fix)
	}
	x.Run(t, "ip", "link", "del", "vx0")
	x.waitReady(t)
}

// TestWithoutCapabilityTheFixIsTheCapability: neither a module nor another
// packet filter would help.
func TestWithoutCapabilityTheFixIsTheCapability(t *testing.T) {
	x := newCluster(t, onlyIPv4, 2).nodes[0]
	exe, err := os.Executable() // /proc/self/exe would be setpriv's
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--bounding-set=-net_admin", exe, "-config", filepath.Join(x.dir, "netd.yaml"))
	cmd.Env = append(os.Environ(), asNetd+"=1")
	cmd.Stdout, cmd.Stderr = x.log, x.log
	if err := x.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := x.notReady(t, "operation not permitted")
	if !strings.Contains(r.Fix, "CAP_NET_ADMIN") || strings.Contains(r.Firewall.Error, "load it") {
		t.Errorf("the fix is %q, the firewall says %q", r.Fix, r.Firewall.Error)
	}
}

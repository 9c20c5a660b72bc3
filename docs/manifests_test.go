package docs

import (
	"os"
	"strings"
	"testing"
)

// TestUnitOfNetdHoldsNothingUp: with store kubernetes netd is ready only when
// the kubelet has registered the node. A unit that the kubelet, or the target
// that people and cloud-init wait for, waits for until then deadlocks the first
// boot of the node that begins the cluster.
func TestUnitOfNetdHoldsNothingUp(t *testing.T) {
	text, err := os.ReadFile("manifests/netd.service")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if name, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			set[name] = value
		}
	}
	if before, found := set["Before"]; found {
		t.Errorf("%s wait for netd", before)
	}
	// systemd.service(5): a start with Type=notify lasts until READY=1.
	if set["Type"] != "exec" {
		t.Errorf("Type=%s: the start lasts until the store has answered", set["Type"])
	}
	// What netd says of itself is shown all the same.
	if set["NotifyAccess"] != "main" {
		t.Errorf("NotifyAccess=%s: systemctl status does not say how netd stands", set["NotifyAccess"])
	}
}

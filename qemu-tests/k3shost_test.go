package qemutests

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/event"
	"weft/qemu-tests/lab"
	"weft/qemu-tests/vm"
)

func TestAHostIsAsK3sWantsIt(t *testing.T) {
	t.Parallel()
	cfg := machine(t, imageOf(t, hostProfile(t, "k3s-flannel-vxlan")), vm.BIOS)
	k3sLooks(t, cfg, start(t, cfg), 130)
}

// No IPv4 anywhere: the address comes by DHCPv6, the route from the router.
func TestAHostWithoutIPv4IsAsK3sWantsIt(t *testing.T) {
	t.Parallel()
	var cfg vm.Config
	n, _ := inLab(t, hostProfile(t, "k3s-ipv6-only"), lab.Config{
		Advert: &lab.Advert{Lifetime: 30 * time.Minute, Managed: true, DNS: true}, DHCP6: true,
	}, func(c *vm.Config) { cfg = *c })
	k3sLooks(t, cfg, n, 135)
}

// hostProfile is a profile of K3s whose payload is the stand-in.
func hostProfile(t *testing.T, extends string) string {
	t.Helper()
	program, err := k3shost()
	if err != nil {
		t.Fatal(err)
	}
	return profileFile(t, "host", fmt.Sprintf("weft: profile/v1\nname: host\ndescription: K3s looks at its host\nextends: %s\n"+
		"kubernetes:\n  payload: [{name: k3s, path: %s}]\n", extends, program))
}

// k3sLooks waits for what the stand-in says of its host. Each line of its log
// is one thing that K3s looks for; see k3shost. At least so many are green, and
// none is not.
func k3sLooks(t *testing.T, cfg vm.Config, n node, least int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := n.WaitEvent(ctx, func(e event.Event) bool {
		return e.Kind == event.Service && e.Name == "k3s" && strings.HasPrefix(e.Text, "host: ")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(e.Text)
	n.powerOff()
	good := 0
	for line := range strings.Lines(onData(t, cfg, "cat /var/log/weft/k3s.log")) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case strings.HasPrefix(line, "FAIL "):
			t.Error(line)
		case strings.HasPrefix(line, "ok "):
			good++
		}
	}
	if good < least {
		t.Errorf("only %d lines are green, want %d", good, least)
	}
	if !strings.HasPrefix(e.Text, "host: all green") {
		t.Errorf("K3s says: %s", e.Text)
	}
	cleanDisk(t, diskOf(cfg))
}

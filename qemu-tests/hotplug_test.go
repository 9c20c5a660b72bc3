package qemutests

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"weft/event"
	"weft/init/status"
	"weft/qemu-tests/lab"
	"weft/qemu-tests/vm"
)

const (
	// shortLife is the lifetime of a default route that is announced again
	// every announced, for a while that is longer than several such lives.
	shortLife = 15 * time.Second
	announced = 3 * time.Second
	longer    = 45 * time.Second
)

// One boot, and everything that a network can do to it: a carrier that comes
// late, a router that keeps being there and one that does not, a cable that
// is pulled, a card that is taken out and put back.
func TestTheNetworkComesAndGoesUnderANode(t *testing.T) {
	t.Parallel()
	both := lab.Config{DHCP4: &lab.DHCP4{}, Advert: &lab.Advert{Lifetime: 30 * time.Minute, Prefix: true, DNS: true}}
	profile := labProfile(t, "both", `10.244.0.0/16, "fd42::/48"`, `links:
  - match: {driver: virtio_net}
    mtu: 1400
    wait: [carrier, ipv4, route4, ipv6, route6]
`)
	n, l := inLab(t, profile, both, func(cfg *vm.Config) {
		cfg.Machine = "pc" // whose cards can be taken out by ACPI
	})
	n.cable(false)
	n.step("link eth0")
	n.wait("netd's start", func(e event.Event) bool { return e.Kind == event.Service && e.Name == "netd" })
	if heard(l, "DISCOVER", 1) {
		t.Errorf("without a carrier the lab heard %v", l.Seen())
	}
	n.cable(true)
	n.step("dhcp eth0")
	n.ready()

	// The router goes on: whatever the node forwards, its route stays.
	short := both
	short.Advert = &lab.Advert{Lifetime: shortLife, Prefix: true, DNS: true}
	l.Set(short)
	n.Mark()
	again := time.NewTicker(announced)
	defer again.Stop()
	for end := time.After(longer); end != nil; {
		select {
		case <-again.C:
			l.Advertise()
		case <-end:
			end = nil
		}
	}
	if lost := n.verdicts(event.Degraded); len(lost) > 0 {
		t.Errorf("with a router that announces itself every %s: %q", announced, lost)
	}
	// And stops.
	n.Mark()
	n.degradedBy("default route")
	l.Set(both)
	l.Advertise()
	n.well()

	requests := l.Heard("REQUEST")
	n.Mark()
	n.cable(false)
	n.degradedBy("carrier")
	n.cable(true)
	n.well()
	// The address is used meanwhile, so the node may be ready before.
	ctx, cancel := n.within()
	defer cancel()
	if err := l.Await(ctx, "REQUEST", requests+1); err != nil {
		t.Errorf("after the cable was pulled the lease was not confirmed: %v", err)
	}

	n.Mark()
	n.qmp("device_del", map[string]any{"id": "nic0"})
	n.degradedBy("network")
	n.plugIn()
	n.step("dhcp eth0")
	d := n.well()
	var held event.Held
	n.decode(n.wait("its settings", func(e event.Event) bool {
		return e.Kind == event.Status && e.Name == "init" && strings.Contains(string(e.Data), "net.ipv6.conf.eth0.accept_ra")
	}), &held)
	for name, want := range map[string]string{"net.ipv6.conf.eth0.accept_ra": "2", "net.ipv6.conf.eth0.forwarding": "1"} {
		if got := held.Sysctls[name]; got != want {
			t.Errorf("after the card came back %s is %q, want %s", name, got, want)
		}
	}
	var found bool
	for _, link := range d.Links {
		if link.Name != "eth0" {
			continue
		}
		found = true
		var text string
		for _, a := range link.Addresses {
			text += " " + a.Prefix
		}
		if link.MTU != 1400 || !strings.Contains(text, lab.Node4.Addr().String()) || !strings.Contains(text, "2001:db8:77:") {
			t.Errorf("the card that came back is %+v", link)
		}
	}
	if !found {
		t.Errorf("the links are %+v", d.Links)
	}
	n.powerOff()
}

// cable plugs the cable of the first card in or out, as the card sees it.
func (n node) cable(in bool) {
	n.t.Helper()
	n.qmp("set_link", map[string]any{"name": "net0", "up": in})
}

// qmp has QEMU do something.
func (n node) qmp(command string, arguments map[string]any) {
	n.t.Helper()
	ctx, cancel := n.within()
	defer cancel()
	if _, err := n.QMP(ctx, command, arguments); err != nil {
		n.t.Fatalf("%s: %v", command, err)
	}
}

// plugIn puts the first card back, as soon as the guest has let go of it.
func (n node) plugIn() {
	n.t.Helper()
	ctx, cancel := n.within()
	defer cancel()
	for {
		_, err := n.QMP(ctx, "device_add", map[string]any{
			"driver": "virtio-net-pci", "id": "nic0", "netdev": "net0", "mac": n.MAC(0), "romfile": "",
		})
		if err == nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond): // QEMU can only be asked
		case <-ctx.Done():
			n.t.Fatal(errors.Join(context.Cause(ctx), err))
		}
	}
}

// degradedBy waits until the node is degraded for a reason with a part.
func (n node) degradedBy(part string) {
	n.t.Helper()
	n.wait("degraded for its "+part, func(e event.Event) bool {
		return e.Kind == event.Degraded && strings.Contains(e.Text, part)
	})
	n.Mark()
}

// well waits until the node is ready again, and returns its document.
func (n node) well() status.Document {
	n.t.Helper()
	var d status.Document
	n.wait("ready again", func(e event.Event) bool {
		if e.Kind != event.Status || e.Name != "node" {
			return false
		}
		var err error
		d, err = status.Decode(e.Data)
		return err == nil && d.State == status.Ready
	})
	return d
}

// verdicts lists the texts of verdicts of a kind since the start.
func (n node) verdicts(kind event.Kind) []string {
	var list []string
	for _, e := range n.Events() {
		if e.Kind == kind {
			list = append(list, e.Text)
		}
	}
	return list
}

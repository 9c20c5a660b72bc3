package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"weft/netd/explain"
	"weft/netd/nstest"
	"weft/netd/reconcile"
	"weft/netd/store"
	"weft/profiles"
)

// eventually waits until the node's netd is ready and a condition holds.
func (x *node) eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, x.Name+": "+what, func() error {
		if r := x.report(t); !r.Ready {
			return fmt.Errorf("not ready: %s", r.Reason)
		}
		return condition()
	})
}

func TestReloadMovesToAnotherPacketFilterAndBackAgain(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2)
	c.startAll(t)
	x := c.nodes[0]
	routes := x.Run(t, "ip", "route")
	x.config.Network.Firewall.Mode = profiles.FirewallIPTables
	x.reload(t)
	x.eventually(t, "rules of iptables", func() error {
		out, err := x.Try(t, "iptables-save")
		if tables := x.Run(t, "nft", "list", "tables"); strings.Contains(tables, "ip weft") || err != nil || !strings.Contains(out, "10.244.1.0/24") {
			return fmt.Errorf("tables %s, rules %s, %v", tables, out, err)
		}
		return nil
	})
	// The status is told after the kernel has it all.
	x.eventually(t, "the status of the new packet filter", func() error {
		if r := x.report(t); r.Firewall.Mode != profiles.FirewallIPTables {
			return fmt.Errorf("firewall is %+v", r.Firewall)
		}
		return nil
	})
	if r := x.report(t); r.Counters.FirewallRepairs != 0 {
		t.Errorf("%d repairs, want 0", r.Counters.FirewallRepairs)
	}
	x.config.Network.Firewall.Mode = profiles.FirewallNFTables
	x.reload(t)
	x.eventually(t, "rules of nftables", func() error {
		out, _ := x.Try(t, "iptables-save")
		if tables := x.Run(t, "nft", "list", "tables"); !strings.Contains(tables, "ip weft") || strings.Contains(out, "10.244.1.0/24") {
			return fmt.Errorf("tables %s, rules %s", tables, out)
		}
		return nil
	})
	if after := x.Run(t, "ip", "route"); after != routes {
		t.Errorf("routes are\n%s\nwere\n%s", after, routes)
	}
}

// A list of peers does not say which backend a peer has now, so with it the
// nodes change together; other stores let them change one by one.
func TestReloadMovesToAnotherBackend(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2)
	c.startAll(t)
	pod := c.nodes[0].addPod(t, 10)
	c.nodes[1].addPod(t, 20)
	for _, x := range c.nodes {
		x.config.Network.Backend = profiles.Backend{Type: profiles.BackendHostGW}
		x.reload(t)
		x.eventually(t, "a plain route", func() error {
			if out := x.Run(t, "ip", "route"); !strings.Contains(out, "via 10.0.0.") {
				return fmt.Errorf("routes are\n%s", out)
			}
			return nil
		})
	}
	pings(t, pod, "10.244.2.20")
	// The status is told after the kernel has it all.
	c.nodes[0].eventually(t, "the status of the new backend", func() error {
		if r := c.nodes[0].report(t); r.Backend.Type != profiles.BackendHostGW || r.MTU != 1500 {
			return fmt.Errorf("backend is %+v, MTU %d", r.Backend, r.MTU)
		}
		return nil
	})
}

// What netd explains is what ip route get says.
func TestExplainAgreesWithTheKernel(t *testing.T) {
	c := newCluster(t, dual, 2, withProbe)
	c.startAll(t)
	x := c.nodes[0]
	nstest.Eventually(t, 10*time.Second, "the bridge of the probe's pod", func() error {
		if out, _ := x.Try(t, "ip", "route", "get", "10.244.1.10"); !strings.Contains(out, "dev cni0") {
			return fmt.Errorf("10.244.1.10: %s", out)
		}
		return nil
	})
	for target, want := range map[string]string{
		"10.244.2.20": "flannel.1", "fd42:0:0:2::14": "flannel-v6.1", "10.244.1.10": "cni0", "10.0.0.2": "eth0", "fd00:10::2": "eth0",
	} {
		var out, errs bytes.Buffer
		if code := run([]string{"explain", "-json", target, "-socket", x.config.Paths.Socket}, &out, &errs); code != exitOK {
			t.Fatalf("%s: exit code %d: %s", target, code, &errs)
		}
		var a explain.Answer
		if err := json.Unmarshal(out.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		oracle := fmt.Sprint(x.objects(t, "ip", "-j", "route", "get", target)[0]["dev"])
		said := ""
		for _, s := range a.Steps {
			if s.Name == "kernel" {
				said = s.Text
			}
			if s.Missing {
				t.Errorf("%s: %s is missing", target, s.Text)
			}
		}
		if oracle != want || !strings.Contains(said, "out of "+oracle) {
			t.Errorf("%s: explained as %q, ip says %s, want %s", target, said, oracle, want)
		}
		for _, p := range a.Problems {
			if !strings.Contains(p.Text, "probe pod") {
				t.Errorf("%s: problem %q", target, p.Text)
			}
		}
	}
}

// reconfigured is a daemon without a loop, and the networks it gave the loop.
func reconfigured(t *testing.T, config profiles.Netd) (d *daemon, given *[]profiles.Network) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	static := store.NewStatic(config.Node.Name, config.Network.Backend.Canonical(), nil)
	given = new([]profiles.Network)
	d = &daemon{log: log, config: config, configured: loopConfig(config, nil), static: static,
		leases: newLeases(config.Network.Store.Type, static, log, time.Now), engines: newEngines(log, nil, nil)}
	d.configure = func(_ context.Context, c reconcile.Config) { *given = append(*given, c.Network) }
	return d, given
}

// What counts is what the loop was told, not what it has done of it yet.
func TestQuickReloadsEndWithTheLast(t *testing.T) {
	first := profiles.Netd{Node: profiles.NetdNode{Name: "one"}}
	first.Network.Backend = profiles.Backend{Type: profiles.BackendVXLAN}
	first.Network = first.Network.WithDefaults()
	second := first
	second.Network.Backend.VNI = 7
	d, given := reconfigured(t, first)
	for _, config := range []profiles.Netd{first, second, second, first} {
		if err := d.reconfigure(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	var vnis []int
	for _, n := range *given {
		vnis = append(vnis, int(n.Backend.VNI))
	}
	if fmt.Sprint(vnis) != "[7 1]" {
		t.Errorf("the loop was told VNIs %v, want 7 and then 1", vnis)
	}
}

// The file with the shared key may hold another under the same name.
func TestReloadReadsTheSharedKeyAgain(t *testing.T) {
	config := profiles.Netd{Node: profiles.NetdNode{Name: "one"}}
	config.Network.Backend = profiles.Backend{Type: profiles.BackendWireGuard, PSKFile: "/psk"}
	config.Network = config.Network.WithDefaults()
	d, given := reconfigured(t, config)
	if err := d.reconfigure(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if len(*given) != 1 || len(d.engines.wake) != 1 {
		t.Errorf("the loop was told of %d networks, the engine woken %d times; want 1 and 1", len(*given), len(d.engines.wake))
	}
}

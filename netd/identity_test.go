package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/status"
	"weft/netd/wanted"
	"weft/profiles"
)

// uuidOf is the identity of node number n.
func uuidOf(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// twin is a peer with the identity of node n, on a disk that was cloned.
func twin(name string, n int) profiles.Peer {
	return profiles.Peer{Name: name, UUID: uuidOf(n), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.77")},
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.244.77.0/24")}}
}

// identified gives the peers their identities.
func identified(c *profiles.Netd) {
	for i := range c.Network.Peers {
		c.Network.Peers[i].UUID = uuidOf(i + 2) // node 1 has the others as its peers
	}
}

// refusals waits until netd refuses something and returns it.
func (x *node) refusals(t testing.TB) []wanted.Refusal {
	t.Helper()
	var all []wanted.Refusal
	nstest.Eventually(t, 10*time.Second, "a refusal", func() error {
		if all = x.report(t).Refusals; len(all) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	return all
}

func TestACloneTakesNothingFromTheNodeThatWasThere(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2, identified)
	c.startAll(t)
	x := c.nodes[0]
	before := x.state(t)
	// The clone comes first in the store's order, but second in time.
	x.config.Network.Peers = slices.Insert(x.config.Network.Peers, 0, twin("a-clone", 2))
	x.reload(t)
	if r := x.refusals(t)[0]; r.Node != "a-clone" || r.Kind != wanted.RefusedDuplicateUUID || r.Rival != "node-2" {
		t.Errorf("refused is %+v", r)
	}
	if after := x.state(t); normal(after) != normal(before) {
		t.Errorf("state is\n%s\nwas\n%s", after, before)
	}
	// What the kernel holds is the memory that lasts over a restart.
	x.stop(t, unix.SIGKILL)
	x.start(t)
	x.waitReady(t)
	if r := x.refusals(t)[0]; r.Node != "a-clone" {
		t.Errorf("after a restart refused is %+v", r)
	}
	if n := x.report(t).Counters.Changes; n != 0 {
		t.Errorf("the restart made %d changes, want 0", n)
	}
}

func TestACloneOfThisNodeIsAnAlarmAndTheNetworkGoesOn(t *testing.T) {
	c := newCluster(t, onlyIPv4, 2)
	x := c.nodes[0]
	x.config.Network.Peers = append(x.config.Network.Peers, twin("twin", 1))
	x.writeConfig(t)
	c.startAll(t) // READY is told: what is wanted is programmed
	pings(t, x.addPod(t, 10), underlay4(2)[:len("10.0.0.2")])
	r := x.report(t)
	if r.Ready || len(r.Alarms) != 1 || !strings.Contains(r.Reason, "a node at 10.0.0.77 has this node's identity") {
		t.Errorf("ready %t, alarms %q, reason %q", r.Ready, r.Alarms, r.Reason)
	}
	if len(r.Peers) != 1 || !r.Peers[0].Programmed {
		t.Errorf("peers are %+v", r.Peers)
	}
	_, err := status.Client{Socket: x.config.Paths.Socket}.Ask(context.Background(), http.MethodGet, "/readyz")
	if err == nil || !strings.Contains(err.Error(), "identity: a node at 10.0.0.77") {
		t.Errorf("readyz says %v", err)
	}
	if !x.notices.has("ALARM") {
		t.Errorf("the service manager was told %q", x.notices.all())
	}
}

func TestReloadMovesToAnotherStore(t *testing.T) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		t.Fatal("install etcd-server: make deps")
	}
	c := newCluster(t, onlyIPv4, 1)
	c.startAll(t)
	x := c.nodes[0]
	before := x.state(t)
	cmd := exec.Command(etcd, "--data-dir", t.TempDir(), "--listen-client-urls", "http://127.0.0.1:2379",
		"--advertise-client-urls", "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "error")
	if err := x.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	x.config.Network.Store = profiles.Store{Type: profiles.StoreEtcd,
		Etcd: profiles.EtcdStore{Endpoints: []string{"http://127.0.0.1:2379"}}}
	x.config.Paths.State = x.dir + "/state"
	x.reload(t)
	nstest.Eventually(t, 20*time.Second, "the own lease in etcd", func() error {
		r := x.report(t)
		if r.Store.Type != profiles.StoreEtcd || r.Store.OwnSince == nil || !r.Ready {
			return fmt.Errorf("store is %+v, ready %t: %s", r.Store, r.Ready, r.Reason)
		}
		return nil
	})
	if after := x.state(t); normal(after) != normal(before) {
		t.Errorf("state is\n%s\nwas\n%s", after, before)
	}
}

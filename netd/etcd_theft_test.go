package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/netd/wanted"
)

// thief is the lease of a node of another machine, put over somebody's key.
const thief = `{"PublicIP":"10.0.0.77","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:00:77"},` +
	`"Weft":{"node":"thief","uuid":"77777777-0000-4000-8000-000000000077"}}`

// keepsItsSubnets fails when a node has other subnets than before.
func keepsItsSubnets(t testing.TB, x *netdtest.Node, before []string) {
	t.Helper()
	now, err := x.Subnets()
	if got := strings.Fields(strings.Trim(fmt.Sprint(now), "[]")); err != nil || !slices.Equal(got, before) {
		t.Errorf("%s: the subnets are %v (%v), were %v", x.Name, got, err, before)
	}
}

func subnetsOf(t testing.TB, x *netdtest.Node) []string {
	t.Helper()
	subnets, err := x.Subnets()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(strings.Trim(fmt.Sprint(subnets), "[]"))
}

// F10 with the subnet: another node's lease over that of a node that runs. The
// node takes it back; from one that insists it does not, but stays where its
// pods are and says so.
func TestNodeWhoseLeaseIsTakenKeepsItsSubnetAndSaysSo(t *testing.T) {
	c := onEtcd(t, 2)
	c.StartAll(t)
	x, peer := c.Nodes[0], c.Nodes[1]
	before, key := subnetsOf(t, x), keyOf(t, x)
	sent, lost := underPing(t, c, func() {
		c.Etcd.Put(t, key, thief)
		holds(t, peer, time.Second, "the way to the real node", true, "dst 10.0.0.1 ")
		holds(t, peer, time.Second, "none to the other", false, "dst 10.0.0.77 ")
		keepsItsSubnets(t, x, before)
	})
	t.Logf("a lease was taken once: %d packets of %d lost", len(lost), len(sent))
	if len(lost) > len(sent)/20 {
		t.Errorf("%d packets of %d were lost: %v", len(lost), len(sent), lost)
	}
	x.WaitReady(t, 1)
	for puts := 1; ; puts++ {
		c.Etcd.Put(t, key, thief)
		var alarms []string
		nstest.Eventually(t, 5*time.Second, "an answer", func() error {
			r, err := x.Report()
			if alarms = r.Alarms; err != nil || len(alarms) == 0 && strings.Contains(c.Etcd.All(t, key)[0].Value, "thief") {
				return fmt.Errorf("none, %v", err)
			}
			return nil
		})
		if len(alarms) > 0 {
			t.Logf("it is left to the other after %d times", puts)
			break
		}
		if puts > 100 {
			t.Fatal("the two take the key from each other for ever")
		}
	}
	alarmed(t, x, "node thief (77777777-0000-4000-8000-000000000077) at 10.0.0.77 has written its lease over this node's")
	r, err := x.Report()
	if err != nil || !strings.HasPrefix(r.Reason, "identity: ") || !strings.Contains(r.Fix, "delete the key") {
		t.Errorf("%v; reason %q, fix %q", err, r.Reason, r.Fix)
	}
	if !slices.ContainsFunc(r.Refusals, func(r wanted.Refusal) bool { return r.Node == "thief" && r.Kind == "overlap" }) {
		t.Errorf("the refusals are %+v", r.Refusals)
	}
	keepsItsSubnets(t, x, before)
	c.Etcd.Delete(t, key)
	x.WaitReady(t, 1)
	peer.WaitReady(t, 1)
	keepsItsSubnets(t, x, before)
}

// An etcd that was put back to a time when another node had the subnet moves
// nobody.
func TestRestoredEtcdWithAnothersLeaseMovesNobody(t *testing.T) {
	c := onEtcd(t, 2)
	for range 10 {
		c.Etcd.Put(t, "/before", "revision")
	}
	c.StartAll(t)
	x := c.Nodes[0]
	before, key := subnetsOf(t, x), keyOf(t, x)
	x.Way.Cut() // it hears last
	c.Etcd.Wipe(t)
	c.Etcd.Put(t, key, thief)
	x.Way.Mend()
	nstest.Eventually(t, 10*time.Second, "the node has its lease again", func() error {
		if now := c.Etcd.All(t, key); len(now) != 1 || !strings.Contains(now[0].Value, netdtest.UUID(1)) {
			return fmt.Errorf("etcd has %+v", now)
		}
		return nil
	})
	keepsItsSubnets(t, x, before)
	x.WaitReady(t, 1)
	c.Nodes[1].WaitReady(t, 1)
	holds(t, c.Nodes[1], time.Second, "the way to the real node", true, "dst 10.0.0.1 ")
}

// A netd that starts takes what is free: its lease may have ended long ago.
// But it says so as long as there are pods of the subnet it had.
func TestNodeThatMovesSaysThatItsPodsAreCutOff(t *testing.T) {
	c := onEtcd(t, 2)
	c.StartAll(t)
	x := c.Nodes[0]
	before, key := subnetsOf(t, x), keyOf(t, x)
	_, addresses := x.AddPod(t, 10)
	gateway := addresses[0].String()
	gateway = gateway[:strings.LastIndex(gateway, ".")] + ".1"
	x.Stop(t, unix.SIGTERM)
	c.Etcd.Delete(t, key) // as its end does
	c.Etcd.Put(t, key, thief)
	x.Start(t)
	nstest.Eventually(t, 10*time.Second, "that the pods are cut off", func() error {
		r, err := x.Report()
		if err != nil || r.Ready || !strings.Contains(r.Reason, "pods: cni0 has address "+gateway) || r.Fix == "" {
			return fmt.Errorf("%v; ready %t, reason %q, fix %q", err, r.Ready, r.Reason, r.Fix)
		}
		return nil
	})
	if now := subnetsOf(t, x); slices.Equal(now, before) {
		t.Errorf("the subnets are %v, which another has", now)
	}
	if !strings.Contains(x.Log(), "was="+before[0]) {
		t.Errorf("the log does not name %s:\n%s", before[0], x.Log())
	}
	x.Run(t, "ip", "link", "del", "cni0")
	x.WaitReady(t, 2) // the other is a peer now
}

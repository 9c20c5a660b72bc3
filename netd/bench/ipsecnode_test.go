package bench

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/ipsec"
	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/netd/store/etcd/etcdtest"
	"weft/netd/vici"
)

// measureIPsecNode measures a whole netd: from its start until the kernel and
// charon have everything, what it holds then, and that one started again
// changes nothing. It has to be through within the three seconds for which it
// leaves it to its peers, who do not exist, to begin the key exchanges.
func measureIPsecNode(t *testing.T, m meter, program string, n int) {
	s := etcdtest.Start(t)
	load(t, s, ipsecKind, 0, n, false)
	x := newNode(t, program, s, ipsecKind, 0)
	x.Run(t, "ip", "address", "flush", "dev", "eth0")
	x.Run(t, "ip", "address", "add", hub.String()+"/9", "dev", "eth0")
	x.Run(t, "ip", "route", "replace", "default", "via", "10.0.0.254")
	policies := x.hear(t, unix.NETLINK_XFRM, nl.XFRMNLGRP_POLICY)
	name := fmt.Sprintf("netd.ipsec.%d.", n)

	begin := time.Now()
	ready := x.startAndWait(t)
	await(t, policies, 3*n)
	programmed := time.Since(begin)
	nstest.Eventually(t, 20*time.Second, "charon is told of all peers", func() error {
		if told := loads(t, x.Node); told < n {
			return fmt.Errorf("%d of %d", told, n)
		}
		return nil
	})
	told := time.Since(begin)
	cpu, rss, peak := x.cpu(t), x.memory(t, "VmRSS"), x.memory(t, "VmHWM")
	charon := charonOf(t, x.Node.Node, ipsec.DefaultDir)
	m.figure(name+"start-to-ready", seconds(ready), "s")
	m.figure(name+"start-to-policies", seconds(programmed), "s")
	m.figure(name+"start-to-charon", seconds(told), "s")
	m.figure(name+"process-cpu", seconds(cpu), "s")
	m.figure(name+"rss", rss, "MB")
	m.figure(name+"rss-peak", peak, "MB")
	have := connections(t, x.Node)
	if len(have) != n {
		t.Errorf("charon has %d connections of %d", len(have), n)
	}

	x.Stop(t, unix.SIGKILL)
	drain(policies)
	start := x.startAndWait(t)
	r := x.WaitReady(t, n)
	changes := r.Counters.Changes + drain(policies)
	if !slices.Equal(connections(t, x.Node), have) {
		changes++
	}
	m.figure(name+"restart", seconds(start), "s")
	m.figure(name+"restart.cpu", seconds(x.cpu(t)), "s")
	if !m.within(name+"restart.changes", float64(changes), 0, "changes") {
		t.Errorf("the restart made %d changes, want 0", changes)
	}
	if now := charonOf(t, x.Node.Node, ipsec.DefaultDir); now != charon {
		t.Errorf("charon is process %d, was %d", now, charon)
	}
	x.Stop(t, unix.SIGKILL)
	if err := unix.Kill(charon, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

// loaded is what netd logs when it has told charon of connections.
var loaded = regexp.MustCompile(`msg=ipsec .*\bload=(\d+)`)

// loads counts the connections that netd has told charon.
func loads(t testing.TB, x *netdtest.Node) (n int) {
	t.Helper()
	for _, line := range loaded.FindAllStringSubmatch(x.Log(), -1) {
		more, err := strconv.Atoi(line[1])
		if err != nil {
			t.Fatal(err)
		}
		n += more
	}
	return n
}

// connections are those charon has, by their names.
func connections(t testing.TB, x *netdtest.Node) (names []string) {
	t.Helper()
	err := x.Do(func() error {
		charon, err := vici.Dial(t.Context(), ipsec.DefaultDir+"/charon.vici")
		if err != nil {
			return err
		}
		defer charon.Close()
		answer, err := charon.Call(t.Context(), "get-conns", nil)
		names = answer.Values("conns")
		slices.Sort(names)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

//go:build linux

// Command saboteur is in the place of netd on the nodes of a test: it starts
// the netd that is appended to it, and on the first node disturbs what netd
// keeps, from inside, while the test watches from outside.
//
// It is only for tests. What it does and finds out is on the console, in lines
// that begin with "saboteur:"; the last one says done or FAIL.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/netd/vici"
	"weft/qemu-tests/standin"
)

const (
	name    = "saboteur"
	socket  = "/run/weft/netd.sock"
	charon  = "/run/weft/charon/charon.vici"
	pidFile = "/run/weft/charon/pid"
	victim  = "node-1"
	// patience bounds each thing that is waited for, in an emulated machine.
	patience = 4 * time.Minute
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "sabotage" {
		if err := sabotage(); err != nil {
			say("FAIL: %v", err)
			os.Exit(1)
		}
		say("done")
		return
	}
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, "saboteur:", err)
		os.Exit(1)
	}
}

// start becomes netd; on the first node the saboteur is left beside it.
func start() error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	if host != victim {
		return standin.BecomeNetd(name)
	}
	return standin.BecomeNetd(name, "sabotage", strconv.Itoa(os.Getpid()))
}

// say writes a line to the console.
func say(format string, args ...any) { standin.Say(name, format, args...) }

// eventually waits until a condition holds, and returns how long it took.
func eventually(what string, condition func() error) (time.Duration, error) {
	start := time.Now()
	for {
		err := condition()
		if err == nil {
			return time.Since(start), nil
		}
		if time.Since(start) > patience {
			return 0, fmt.Errorf("%s: not within %v: %w", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond) // polling, with a deadline
	}
}

// answers says whether all probed pods of all peers answer.
func answers() error {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://netd/status")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var status struct {
		Peers []struct {
			Name  string `json:"name"`
			Probe *struct {
				Answers bool `json:"answers"`
			} `json:"probe"`
		} `json:"peers"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return err
	}
	if len(status.Peers) < 2 {
		return fmt.Errorf("%d peers", len(status.Peers))
	}
	for _, p := range status.Peers {
		if p.Probe == nil || !p.Probe.Answers {
			return fmt.Errorf("the pod on %s does not answer", p.Name)
		}
	}
	return nil
}

// held is what must not change when netd is started again.
func held() (string, error) {
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		return "", err
	}
	spis, err := installed()
	if err != nil {
		return "", err
	}
	policies, err := policies()
	return fmt.Sprintf("charon %s, associations %s, policies %d", strings.TrimSpace(string(pid)), strings.Join(spis, " "), policies), err
}

// installed are the numbers of the associations that charon has in the kernel.
func installed() ([]string, error) {
	counts, err := received()
	return slices.Sorted(maps.Keys(counts)), err
}

// received counts the packets that came by each association that charon has
// in the kernel.
func received() (map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := vici.Dial(ctx, charon)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	counts := map[string]int{}
	for event, err := range c.Stream(ctx, "list-sas", "list-sa", nil) {
		if err != nil {
			return nil, err
		}
		for _, sa := range event.Sections() {
			for _, child := range sa.Section("child-sas").Sections() {
				if state, _ := child.Get("state"); state == "INSTALLED" {
					spi, _ := child.Get("spi-in")
					packets, _ := child.Get("packets-in")
					counts[spi], _ = strconv.Atoi(packets)
				}
			}
		}
	}
	return counts, nil
}

// arrives waits until packets of both peers have come since now, and all
// probed pods answer.
func arrives() error {
	before, err := received()
	if err != nil {
		return err
	}
	_, err = eventually("packets", func() error {
		now, err := received()
		if err != nil {
			return err
		}
		more := 0
		for spi, n := range now {
			if n > before[spi] {
				more++
			}
		}
		if more < 2 {
			return fmt.Errorf("received are %v, were %v", now, before)
		}
		return answers()
	})
	return err
}

// policies counts the policies of tunnels.
func policies() (int, error) {
	all, err := netlink.XfrmPolicyList(netlink.FAMILY_V4)
	n := 0
	for _, p := range all {
		if len(p.Tmpls) > 0 {
			n++
		}
	}
	return n, err
}

// sabotage disturbs one thing after the other and waits until all is well
// again.
func sabotage() error {
	pid, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	// What is in netd's cgroup ends with netd.
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	took, err := eventually("the pods answer", answers)
	if err != nil {
		return err
	}
	say("the pods answer after %v", took)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"netd is killed", func() error { return restarted(pid) }},
		{"the keys are renewed", renewed},
		{"the policies are flushed", flushed},
		{"a connection is unloaded", unloaded},
		{"the associations are flushed", forgotten},
		{"charon is killed", orphaned},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		start := time.Now()
		if err := arrives(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		say("%s: packets came from all peers within %v", step.name, time.Since(start))
	}
	return nil
}

// restarted kills netd: the one that comes must change nothing.
func restarted(pid int) error {
	before, err := held()
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	if _, err := eventually("netd goes", func() error {
		if answers() == nil {
			return errors.New("it answers")
		}
		return nil
	}); err != nil {
		return err
	}
	if _, err := eventually("netd comes back", answers); err != nil {
		return err
	}
	after, err := held()
	if err == nil && after != before {
		err = fmt.Errorf("now there are %s; there were %s", after, before)
	}
	say("after netd was killed there are %s", after)
	return err
}

func flushed() error {
	want, err := policies()
	if err != nil {
		return err
	}
	if err := netlink.XfrmPolicyFlush(); err != nil {
		return err
	}
	took, err := eventually("policies", func() error {
		if n, err := policies(); err != nil || n != want {
			return fmt.Errorf("%d of %d: %w", n, want, err)
		}
		return nil
	})
	say("%d policies are back after %v", want, took)
	if err == nil && took > time.Second {
		err = fmt.Errorf("that took %v", took)
	}
	return err
}

// renewed has charon renew all keys, as it does each hour: that takes the
// elliptic curve that the first keys did not need.
func renewed() error {
	before, err := received()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := vici.Dial(ctx, charon)
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Call(ctx, "get-conns", nil)
	if err != nil {
		return err
	}
	for _, name := range answer.Values("conns") {
		if _, err := c.Call(ctx, "rekey", new(vici.Section).Set("child", name)); err != nil {
			return err
		}
	}
	took, err := eventually("new keys", func() error {
		now, err := received()
		if err != nil || len(now) < 2 {
			return fmt.Errorf("associations %v: %w", now, err)
		}
		for spi := range now {
			if _, old := before[spi]; old {
				return fmt.Errorf("associations %v, before %v", now, before)
			}
		}
		return nil
	})
	say("all keys are new after %v", took)
	return err
}

// unloaded takes a connection and its associations from charon.
func unloaded() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := vici.Dial(ctx, charon)
	if err != nil {
		return err
	}
	defer c.Close()
	conns := func() ([]string, error) {
		answer, err := c.Call(ctx, "get-conns", nil)
		return answer.Values("conns"), err
	}
	want, err := conns()
	if err != nil || len(want) != 2 {
		return fmt.Errorf("connections %v: %w", want, err)
	}
	if _, err := c.Call(ctx, "unload-conn", new(vici.Section).Set("name", want[0])); err != nil {
		return err
	}
	if _, err := c.Call(ctx, "terminate", new(vici.Section).Set("ike", want[0]).Set("force", "yes").Set("timeout", "-1")); err != nil {
		return err
	}
	took, err := eventually("connection "+want[0], func() error {
		if now, err := conns(); err != nil || len(now) != 2 {
			return fmt.Errorf("there are %v: %w", now, err)
		}
		return nil
	})
	say("the connection is back after %v", took)
	return err
}

// forgotten flushes the associations, of which charon is not told.
func forgotten() error {
	if err := netlink.XfrmStateFlush(netlink.XFRM_PROTO_ESP); err != nil {
		return err
	}
	took, err := eventually("associations", func() error {
		states, err := netlink.XfrmStateList(netlink.FAMILY_V4)
		if err != nil || len(states) < 4 { // two for each peer
			return fmt.Errorf("%d associations: %w", len(states), err)
		}
		return nil
	})
	say("the associations are back after %v", took)
	return err
}

// orphaned kills charon. The kernel's associations go on meanwhile.
func orphaned() error {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	took, err := eventually("charon", func() error {
		spis, err := installed()
		if err != nil || len(spis) < 2 {
			return fmt.Errorf("associations %v: %w", spis, err)
		}
		return nil
	})
	say("another charon has its associations after %v", took)
	return err
}

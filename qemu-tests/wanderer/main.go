//go:build linux

// Command wanderer is in the place of netd on the nodes of a test: it starts
// the netd that is appended to it, and beside it does on some nodes what has
// to be done from inside: kills netd, moves the node to another address,
// replaces its key.
//
// It is only for tests. What it does and finds out is on the console, in lines
// that begin with "wanderer:"; the last one says done or FAIL.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/wanted"
	"weft/qemu-tests/standin"
)

const (
	program = "wanderer"
	socket  = "/run/weft/netd.sock"
	// patience bounds each thing that is waited for, in an emulated machine.
	patience = 4 * time.Minute
	// often is how often something without events is looked at.
	often = 200 * time.Millisecond
)

// roles are what is done on nodes, by the store, the mode of the backend and the
// node's name.
var roles = map[string]func(*node) error{
	"static separate node-1": watch,
	"static separate node-3": move,
	"etcd separate node-1":   rotate,
	"etcd separate node-2":   crash,
	"etcd separate node-3":   pingThrough,
	"static auto node-1":     oneDevice,
	"static auto node-2":     oneDevice,
	"static auto node-3":     oneDevice,
	"etcd ipv6 node-1":       rotateAndLearn,
	"etcd ipv6 node-2":       rotateAndLearn,
	"etcd ipv6 node-3":       pingAndMove,
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "wander" {
		pid, _ := strconv.Atoi(os.Args[2])
		if err := wander(&node{pid: pid, name: os.Args[3]}); err != nil {
			say("FAIL: %v", err)
			os.Exit(1)
		}
		say("done")
		return
	}
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, "wanderer:", err)
		os.Exit(1)
	}
}

// start becomes netd; the wanderer is left beside it.
func start() error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	return standin.BecomeNetd(program, "wander", strconv.Itoa(os.Getpid()), host)
}

// say writes a line to the console.
func say(format string, args ...any) { standin.Say(program, format, args...) }

// A node is the one this runs on.
type node struct {
	name string
	pid  int // of netd
}

// A status is what matters here of netd's.
type status struct {
	Store    struct{ Type string }
	Peers    []peer
	Counters struct{ Changes, Passes int }
	Rotation string
	Kernel   struct {
		WireguardPeers []struct{ Link, PublicKey, Endpoint string }
		Links          []struct {
			Name      string
			WireGuard struct{ PublicKey string }
		}
	}
}

type peer struct {
	Name, Family, PublicKey string
	Subnet                  netip.Prefix
	Tunnel                  *struct{ Endpoint string }
	Probe                   *struct {
		Answers bool
		To      netip.Addr
	}
}

func client() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
}

// ask reads netd's status.
func ask() (s status, err error) {
	response, err := client().Get("http://netd/status")
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	return s, json.NewDecoder(response.Body).Decode(&s)
}

// eventually waits until a condition holds of netd's status.
func eventually(what string, condition func(status) error) (s status, err error) {
	for start := time.Now(); ; time.Sleep(often) { // polling, with a deadline
		s, err = ask()
		if err == nil {
			err = condition(s)
		}
		if err == nil {
			return s, nil
		}
		if time.Since(start) > patience {
			return s, fmt.Errorf("%s: not within %v: %w", what, patience, err)
		}
	}
}

// answering says whether all probed pods of all peers answer.
func answering(s status) error {
	if len(s.Peers) < 4 {
		return fmt.Errorf("%d peers", len(s.Peers))
	}
	for _, p := range s.Peers {
		if p.Probe == nil || !p.Probe.Answers {
			return fmt.Errorf("the pod on %s (%s) does not answer", p.Name, p.Family)
		}
	}
	return nil
}

func wander(n *node) error {
	s, err := eventually("all pods answer", answering)
	if err != nil {
		return err
	}
	mode, err := modeOf()
	if err != nil {
		return err
	}
	role := roles[s.Store.Type+" "+mode+" "+n.name]
	if role == nil {
		return nil
	}
	return role(n)
}

// watch kills netd and looks whether the next one changes anything, and
// whether it keeps where a peer has moved to.
func watch(n *node) error {
	if err := unix.Kill(n.pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill netd: %w", err)
	}
	s, err := eventually("all pods answer the new netd", answering)
	if err != nil {
		return err
	}
	say("after its restart netd has made %d changes in %d passes", s.Counters.Changes, s.Counters.Passes)
	if s.Counters.Changes != 0 {
		return errors.New("a restart changed the kernel")
	}
	moved := func(s status) error {
		if err := answering(s); err != nil {
			return err
		}
		seen := 0
		for _, p := range s.Kernel.WireguardPeers {
			if p.Endpoint == "10.77.0.43:51820" || p.Endpoint == "[fd77::43]:51821" {
				seen++
			}
		}
		if seen != 2 {
			return fmt.Errorf("endpoints are %v", s.Kernel.WireguardPeers)
		}
		return nil
	}
	if s, err = eventually("the kernel knows where node-3 has moved to", moved); err != nil {
		return err
	}
	passes := s.Counters.Passes
	s, err = eventually("netd has looked at everything again", func(s status) error {
		if s.Counters.Passes < passes+2 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := moved(s); err != nil {
		return fmt.Errorf("netd has undone the move: %w", err)
	}
	say("node-3 has moved, and netd has made %d changes", s.Counters.Changes)
	return nil
}

// move gives the node other addresses on the underlay: its peers' lists still
// have the old ones.
func move(*node) error {
	for _, c := range [][2]string{{"10.77.0.3/24", "10.77.0.43/24"}, {"fd77::3/64", "fd77::43/64"}} {
		if err := readdress(c[0], c[1]); err != nil {
			return err
		}
	}
	say("moved")
	_, err := eventually("all pods answer after the move", answering)
	return err
}

// rotate replaces the node's key and counts the pings that are lost.
func rotate(n *node) error {
	before, err := ask()
	if err != nil {
		return err
	}
	old := mainKey(before)
	pings, err := startPings(before)
	if err != nil {
		return err
	}
	response, err := client().Post("http://netd/rotate", "application/json", bytes.NewReader(nil))
	if err != nil {
		return err
	}
	said, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("netd rotate: %s: %s", response.Status, said)
	}
	say("netd rotate: %.200s", said)
	last := ""
	after, err := eventually("the key is another everywhere", func(s status) error {
		if s.Rotation != last {
			last = s.Rotation
			say("rotation: %s", last)
		}
		if mainKey(s) == old || s.Rotation != "" || len(s.Kernel.Links) != mainDevices(s) {
			return fmt.Errorf("key %s, rotation %q, %d devices", mainKey(s), s.Rotation, len(s.Kernel.Links))
		}
		return nil
	})
	if err != nil {
		return err
	}
	say("key was %s, is %s", old, mainKey(after))
	return pings.lost(300)
}

// mainDevices is how many devices there are that are no lanes.
func mainDevices(s status) int {
	n := 0
	for _, l := range s.Kernel.Links {
		if !wanted.IsLane(l.Name) {
			n++
		}
	}
	return n
}

func mainKey(s status) string {
	for _, l := range s.Kernel.Links {
		if l.Name == "flannel-wg" {
			return l.WireGuard.PublicKey
		}
	}
	return ""
}

// pingThrough counts the pings that are lost while another node rotates.
func pingThrough(*node) error { return through(func() error { return nil }) }

// crash is pingThrough, and netd is killed in the middle.
func crash(n *node) error {
	return through(func() error {
		say("netd is killed")
		return unix.Kill(n.pid, unix.SIGKILL)
	})
}

// through counts the pings that are lost while another node rotates, and does
// something when the second devices are there.
func through(middle func() error) error {
	s, err := ask()
	if err != nil {
		return err
	}
	pings, err := startPings(s)
	if err != nil {
		return err
	}
	lane := func(devices int) error {
		_, err := eventually(fmt.Sprint(devices, " devices"), func(s status) error {
			if len(s.Kernel.Links) != devices {
				return fmt.Errorf("%d devices", len(s.Kernel.Links))
			}
			return nil
		})
		return err
	}
	// Another node may be at it already.
	mains := mainDevices(s)
	if err := lane(2 * mains); err != nil {
		return err
	}
	if err := middle(); err != nil {
		return err
	}
	if err := lane(mains); err != nil {
		return err
	}
	return pings.lost(300)
}

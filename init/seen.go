package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"weft/init/keep"
	"weft/init/link"
	"weft/init/ready"
	"weft/init/status"
	"weft/init/sysctl"
	"weft/init/timeline"
	"weft/profiles"
)

const (
	// statusFile is the document as a file, statusSocket where it is asked
	// for.
	statusFile   = runDir + "/status.json"
	statusSocket = runDir + "/init.sock"
	// statusEvery is the least time between two documents. A boot changes
	// something a hundred times a second; nobody reads that fast, and a busy
	// node has better things to do.
	statusEvery = 2 * time.Second
	// firstStatus is when the first one is written at the latest.
	firstStatus = 10 * time.Second
)

// showStatus keeps the status file and answers on the socket.
func (s *system) showStatus() {
	if l, err := status.Listen(statusSocket); err != nil {
		s.log.Problem("%v; the status is only in %s", err, statusFile)
	} else {
		s.goes(func() {
			if err := (status.Server{Document: s.document}).Serve(s.ctx, l, s.goes); err != nil {
				s.log.Problem("%v", err)
			}
		})
	}
	// While the node gets ready, a document would be old before anybody reads
	// it, and hold up what it tells of. The socket answers meanwhile.
	s.waitForVerdict(firstStatus)
	told := false
	s.publisher.Run(s.ctx, statusEvery, time.After, func() {
		data, err := status.Encode(s.document())
		if err == nil {
			err = keep.Write(statusFile, data, 0o600)
		}
		if err != nil && !told {
			told = true
			s.log.Problem("%v", err)
		}
	})
}

// tellStatus sends the document to the host, if one listens.
func (s *system) tellStatus() {
	if !s.port.Attached() {
		return
	}
	data, err := json.Marshal(s.document())
	if err != nil {
		s.log.Problem("status: %v", err)
		return
	}
	s.log.Status("node", data)
}

// document is the node's status now.
func (s *system) document() status.Document {
	d := status.Document{
		Format: status.Format, At: time.Now().UTC().Truncate(time.Second), Uptime: timeline.Uptime().Seconds(),
		Contract: needs(s.board.Items()), Modules: s.modules.all(), Resident: ownMemory(),
		Image: status.Image{
			Version: s.image.Version, ID: short(s.image.ID), Board: s.image.Board, Profile: s.image.Profile, Kernel: s.image.Kernel,
		},
	}
	if s.cloud.known {
		d.Node.Platform = s.cloud.platform.Name
	}
	d.Image.Slot, _ = s.args.Get(profiles.ArgSlot)
	s.history.Fill(&d)
	s.fillNetwork(&d)
	s.fillClock(&d)
	s.fillData(&d)
	d.Previous = s.lastBoot()
	if closed(s.sysctlsDone) {
		d.Sysctls = sysctl.Check(s.wantedSettings(), readSetting, devicePresent)
	}
	return d
}

// fillNetwork puts links, routes and resolvers into a document.
func (s *system) fillNetwork(d *status.Document) {
	links, routes, err := status.Network()
	if err != nil {
		d.Problems = append(d.Problems, status.Problem{Uptime: d.Uptime, Name: "status", Text: err.Error()})
	}
	s.state.Lock()
	ups := slices.Clone(s.uplinks)
	s.state.Unlock()
	for i := range links {
		j := slices.IndexFunc(ups, func(u link.Uplink) bool { return u.Device.Name == links[i].Name })
		if j < 0 {
			continue
		}
		links[i].Uplink = true
		for _, a := range ups[j].DNS {
			links[i].DNS = append(links[i].DNS, a.String())
		}
		for _, a := range ups[j].NTP {
			links[i].NTP = append(links[i].NTP, a.String())
		}
	}
	d.Links, d.Routes = links, routes
	d.Resolvers, d.SearchDomains = resolvers(link.Resolv(ups))
}

// resolvers reads what a resolv.conf(5) asks.
func resolvers(text string) (servers, domains []string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case fields[0] == "nameserver":
			servers = append(servers, fields[1])
		case fields[0] == "search":
			domains = fields[1:]
		}
	}
	return servers, domains
}

// fillClock puts the clock into a document.
func (s *system) fillClock(d *status.Document) {
	s.state.Lock()
	d.Clock.State = s.clock.state
	s.state.Unlock()
	d.Clock.Sane = closed(s.clock.sane)
}

// needs are the items of the board as a document shows them.
func needs(items []ready.Item) []status.Need {
	words := map[ready.State]string{ready.Pending: "pending", ready.Good: "good", ready.Failed: "failed"}
	var all []status.Need
	for _, it := range items {
		n := status.Need{Name: it.Name, State: words[it.State], Reason: it.Reason}
		if it.State != ready.Good {
			n.Fix = status.Fix(it.Name, it.Reason)
		}
		all = append(all, n)
	}
	return all
}

// closed reports whether a channel is closed.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ownMemory is init's resident set, in bytes.
func ownMemory() int64 {
	text, err := keep.Read("/proc/self/status", maxProcFile)
	if err != nil {
		return 0
	}
	_, resident := parseStatus(string(text))
	return resident
}

// Exit codes of the commands for people.
const (
	exitWrong       = 1  // something is not as it should be
	exitUnavailable = 69 // EX_UNAVAILABLE: there is no init to ask
)

// show answers the commands of a person on the node: status, check, sysctl.
func show(command string, asJSON bool) int {
	ctx, cancel := context.WithTimeout(context.Background(), statusWithin)
	defer cancel()
	d, err := status.Fetch(ctx, statusSocket)
	if err != nil {
		fmt.Fprintf(os.Stderr, "init: %v; is this a weft node, and are you root?\n", err)
		return exitUnavailable
	}
	healthy, wrong := d.Healthy()
	switch command {
	case "status":
		if asJSON {
			data, err := status.Encode(d)
			if err != nil {
				fmt.Fprintf(os.Stderr, "init: %v\n", err)
				return exitSoftware
			}
			os.Stdout.Write(data)
			return 0
		}
		fmt.Print(status.Text(d))
		return 0
	case "sysctl":
		fmt.Print(status.SysctlText(d.Sysctls))
		healthy = len(sysctl.Wrong(d.Sysctls)) == 0
	case "check":
		for _, text := range wrong {
			fmt.Println(text)
		}
		if healthy {
			fmt.Println("all is well")
		}
	}
	if !healthy {
		return exitWrong
	}
	return 0
}

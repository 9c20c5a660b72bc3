package main

import (
	"crypto/rand"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/init/keep"
	"weft/init/link"
	"weft/init/ready"
	"weft/init/sysctl"
	"weft/profiles"
)

// links are the uplinks asked for: the node file's, or else the profile's.
// Only after nodeDone.
func (s *system) links() []profiles.Link {
	if len(s.conf.Links) > 0 {
		return s.conf.Links
	}
	return s.profile.Links
}

// runLinks keeps the uplinks configured.
func (s *system) runLinks() {
	<-s.nodeDone
	s.board.Set(itemNetwork, ready.Pending, "no network device was found")
	for s.ctx.Err() == nil {
		err := link.Run(s.ctx, link.Config{
			Links: s.links(), Sys: "/sys", Random: rand.Reader, Hostname: s.name, UUID: s.uuidBytes, Go: s.goes,
			Need:    func(module string) { s.need(module) },
			Prepare: s.prepareUplink,
			Step:    s.log.Took,
			Problem: func(err error) { s.log.Problem("%v", err) },
			Changed: s.uplinksChanged,
			Named:   s.namedByDHCP,
		})
		if err != nil {
			s.log.Problem("links: %v; starting over", err)
		}
		// Whatever broke, starting over at once again and again helps nobody.
		select {
		case <-time.After(time.Second):
		case <-s.ctx.Done():
		}
	}
}

// name is the node's hostname, empty before it has one.
func (s *system) name() string {
	s.state.Lock()
	defer s.state.Unlock()
	return s.hostname
}

// uuidBytes is the node's identity, zero before it is known.
func (s *system) uuidBytes() (id [16]byte) {
	s.state.Lock()
	text := s.uuid
	s.state.Unlock()
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err == nil && len(raw) == len(id) {
		copy(id[:], raw)
	}
	return id
}

// prepareUplink lets IPv6 routers configure an uplink, or keeps them from it,
// before the device comes up; see package sysctl for the order.
func (s *system) prepareUplink(name string, advertisements bool) {
	setting := sysctl.AcceptRA(sysctl.Uplink{Name: name, Advertisements: advertisements})
	if _, err := keep.Read(filepath.Join("/proc/sys/net/ipv6/conf", name, "accept_ra"), 64); err != nil {
		return // a kernel without IPv6, or told not to use it here
	}
	if err := sysctl.Write("/proc/sys", setting); err != nil {
		s.log.Problem("sysctl %v", err)
	}
}

// uplinksChanged looks at the uplinks anew.
func (s *system) uplinksChanged(ups []link.Uplink) {
	s.askForTime(ups)
	s.state.Lock()
	first := len(s.uplinks) == 0 && len(ups) > 0
	s.uplinks = ups
	if first {
		select {
		case <-s.seen:
		default:
			close(s.seen)
		}
	}
	if slices.ContainsFunc(ups, func(u link.Uplink) bool { return len(u.Addresses) > 0 }) {
		select {
		case <-s.addressed:
		default:
			close(s.addressed)
		}
	}
	s.state.Unlock()
	s.publisher.Poke()
	select { // a default route that went may mean that accept_ra was changed
	case s.advertised <- struct{}{}:
	default:
	}
	if err := keep.Write(runDir+"/etc/resolv.conf", []byte(link.Resolv(ups)), 0o644); err != nil {
		s.log.Problem("%v", err)
	}
	if ok, why := link.Reached(s.links(), ups); ok {
		s.board.Set(itemNetwork, ready.Good, "")
		s.networkReached()
	} else {
		s.board.Set(itemNetwork, ready.Pending, why)
	}
}

// namedByDHCP takes the name of the first lease.
func (s *system) namedByDHCP(name string) {
	select {
	case s.leased <- name:
	default: // only the first one counts
	}
}

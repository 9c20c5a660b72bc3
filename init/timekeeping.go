package main

import (
	"time"

	"weft/init/link"
	"weft/init/metadata"
	"weft/init/ntp"
	"weft/init/timeline"
)

// saneWithin is how long services that need the right time wait for a server,
// when there is one to ask; then they start by the clock there is, which is at
// least as late as the image.
const saneWithin = 30 * time.Second

// clockKeeper keeps the clock by time servers.
type clockKeeper struct {
	servers *ntp.Servers
	sane    chan struct{} // closed when the clock is right, or as right as it gets
	state   ntp.State     // guarded by system.state
	began   time.Duration // when it was first asked for
}

// runClock keeps the clock until the node stops.
func (s *system) runClock() {
	s.clock.began = timeline.Uptime()
	ntp.Run(s.ctx, s.clock.servers, ntp.Config{
		Clock: ntp.Kernel{}, Network: ntp.Internet{}, Now: time.Now, After: time.After,
		Changed: s.clockChanged,
	})
}

// clockChanged takes note of how the clock stands.
func (s *system) clockChanged(state ntp.State) {
	s.state.Lock()
	before := s.clock.state
	s.clock.state = state
	lasting := s.stateDir != ""
	s.state.Unlock()
	s.publisher.Poke()
	switch {
	case state.Error != "" && state.Error != before.Error:
		s.log.Note("clock: %s", state)
	case state.Synced && (!before.Synced || state.Stepped):
		s.log.Took("clock", timeline.Uptime()-s.clock.began, state.String())
		s.clockIsSane()
		if lasting && state.Stepped {
			s.saveTime()
		}
	}
}

// clockIsSane lets those go on who wait for the time.
func (s *system) clockIsSane() {
	s.state.Lock()
	defer s.state.Unlock()
	select {
	case <-s.clock.sane:
	default:
		close(s.clock.sane)
	}
}

// askForTime makes the time servers those of the profile, of the networks and
// of the cloud.
func (s *system) askForTime(ups []link.Uplink) {
	servers := append([]string(nil), s.profile.Time.Servers...)
	for _, a := range link.TimeServers(ups) {
		servers = append(servers, a.String())
	}
	if s.cloud.known {
		servers = append(servers, s.cloud.platform.Time...)
	}
	s.clock.servers.Set(servers)
}

// saneClock waits until the clock is right, for the services that need it. A
// node that knows no time server does not wait.
func (s *system) saneClock() {
	timer := time.NewTimer(saneWithin)
	defer timer.Stop()
	select {
	case <-s.addressed: // by then the networks have named their servers
	case <-s.clock.sane:
	case <-timer.C:
	case <-s.ctx.Done():
	}
	if !s.clock.servers.Known() {
		s.log.Note("clock: no time server is known; services start by the clock there is, %s", time.Now().UTC().Format(time.RFC3339))
		s.clockIsSane()
		return
	}
	select {
	case <-s.clock.sane:
	case <-timer.C:
		s.log.Problem("clock: no time server has answered for %d s; services start by the clock there is, %s",
			int(saneWithin.Seconds()), time.Now().UTC().Format(time.RFC3339))
		s.clockIsSane()
	case <-s.ctx.Done():
	}
}

// cloud is the platform the node runs on, if the firmware tells of one.
type cloud struct {
	platform metadata.Platform
	known    bool
}

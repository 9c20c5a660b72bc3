package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/event"
	"weft/init/hostname"
	"weft/init/identity"
	"weft/init/keep"
	"weft/init/link"
	"weft/init/ready"
	"weft/profiles"
)

// nameWithin is how long the node waits, at its first boot only, for a DHCP
// server or a network device to name it.
const nameWithin = 10 * time.Second

// takeName settles who the node is: identity, hostname, and the files that
// carry them.
func (s *system) takeName() {
	defer close(s.nameDone)
	<-s.dataDone
	// getrandom(2) waits until the kernel has gathered randomness, on a
	// machine without any source for minutes. A reader of the console should
	// know what it waits for.
	slow := time.AfterFunc(time.Second, func() {
		s.log.Note("waiting for randomness; a virtual machine wants a virtio-rng device")
	})
	path := filepath.Join(stateDir, "node.json")
	id, isNew, damage, err := identity.Load(path, rand.Reader)
	slow.Stop()
	if err != nil {
		s.log.Problem("%v", err)
		s.board.Set(itemHostname, ready.Failed, err.Error())
		return
	}
	if damage != nil {
		s.log.Problem("%s: %v; this node has a new identity now", path, damage)
	}
	s.state.Lock()
	s.uuid = id.UUID
	s.state.Unlock()

	<-s.nodeDone
	chosen := s.chooseName(id)
	machine := hostname.ReadMachine("/")
	moved := id.Moved(machine)
	if moved != "" {
		s.log.Problem("%s", moved)
	}
	if changed := chosen.Name != id.Hostname; changed || isNew || machine != id.Machine {
		if id.Hostname != "" && changed {
			s.log.Note("hostname changes from %s to %s, as the node file says", id.Hostname, chosen.Name)
		}
		id.Hostname, id.HostnameSource = chosen.Name, string(chosen.Source)
		if machine != "" {
			id.Machine = machine
		}
		if err := s.keepState(func() error { return id.Save(path) }); err != nil {
			s.log.Problem("the node's identity cannot be kept: %v", err)
		}
	}
	if err := s.writeNames(id); err != nil {
		s.log.Problem("%v", err)
		s.board.Set(itemHostname, ready.Failed, err.Error())
		return
	}
	s.state.Lock()
	s.hostname = id.Hostname
	s.state.Unlock()
	s.log.Identity(event.Identified{
		Hostname: id.Hostname, HostnameSource: string(chosen.Source), UUID: id.UUID, MachineID: id.MachineID,
	})
	s.board.Set(itemHostname, ready.Good, "")
}

// chooseName ranks the sources of the hostname. The node file and the kept
// name need no waiting; only a node without both waits for the network.
func (s *system) chooseName(id identity.Identity) hostname.Candidate {
	list := []hostname.Candidate{
		{Name: s.conf.Hostname, Source: hostname.NodeFile},
		{Name: id.Hostname, Source: hostname.Kept},
	}
	if c, ok := s.firstSound(list); ok {
		return c
	}
	prefix := s.profile.Hostname.Prefix
	if prefix == "" {
		prefix = "node"
	}
	if data := s.askPlatform(); data.Hostname != "" {
		if c, ok := s.firstSound([]hostname.Candidate{{Name: data.Hostname, Source: hostname.Metadata}}); ok {
			return c
		}
	}
	serial := hostname.FromSerial(prefix, hostname.ReadSerial("/"))
	var leased string
	if s.profile.Hostname.DHCP == nil || *s.profile.Hostname.DHCP {
		leased = s.waitForLease(serial == "")
	} else if serial == "" {
		s.waitForUplink()
	}
	list = []hostname.Candidate{
		{Name: strings.ToLower(leased), Source: hostname.DHCP},
		{Name: serial, Source: hostname.Serial},
		{Name: hostname.FromMAC(prefix, s.firstMAC()), Source: hostname.MAC},
		{Name: hostname.FromUUID(prefix, id.UUID), Source: hostname.UUID},
	}
	if c, ok := s.firstSound(list); ok {
		return c
	}
	// A prefix that spoils every name is the profile's fault.
	return hostname.Candidate{Name: hostname.FromUUID("node", id.UUID), Source: hostname.UUID}
}

// firstSound chooses and tells which names were refused.
func (s *system) firstSound(list []hostname.Candidate) (hostname.Candidate, bool) {
	c, refused, ok := hostname.Choose(list, profiles.SoundHostname)
	for _, r := range refused {
		s.log.Problem("hostname %.80q from the %s is not used: %v", r.Name, r.Source, r.Err)
	}
	return c, ok
}

// waitForLease waits for the first answer of a DHCP server and returns the
// name in it, empty for none. It does not wait when no link asks for one.
func (s *system) waitForLease(needDevice bool) string {
	asks := len(s.links()) == 0
	for _, l := range s.links() {
		asks = asks || link.WantsDHCP(l)
	}
	if !asks {
		if needDevice {
			s.waitForUplink()
		}
		return ""
	}
	timer := time.NewTimer(nameWithin)
	defer timer.Stop()
	select {
	case name := <-s.leased:
		return name
	case <-timer.C:
		s.log.Note("no DHCP server has answered for %d s; the node names itself", int(nameWithin.Seconds()))
		return ""
	case <-s.ctx.Done():
		return ""
	}
}

// waitForUplink waits for the first network device.
func (s *system) waitForUplink() {
	timer := time.NewTimer(nameWithin)
	defer timer.Stop()
	select {
	case <-s.seen:
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// firstMAC is the hardware address of the first uplink.
func (s *system) firstMAC() net.HardwareAddr {
	s.state.Lock()
	defer s.state.Unlock()
	if len(s.uplinks) == 0 {
		return nil
	}
	return s.uplinks[0].Device.MAC
}

// writeNames gives the kernel and the programs the node's name. The files are
// in memory; links of the root's /etc lead to them.
func (s *system) writeNames(id identity.Identity) error {
	if err := unix.Sethostname([]byte(id.Hostname)); err != nil {
		return fmt.Errorf("hostname %s: %w", id.Hostname, err)
	}
	for name, text := range map[string]string{
		"hostname":   id.Hostname + "\n",
		"hosts":      hostname.Hosts(id.Hostname),
		"machine-id": id.MachineID + "\n",
	} {
		if err := keep.Write(filepath.Join(runDir, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readMAC reads the hardware address of a device from its folder in sysfs.
func readMAC(dir string) net.HardwareAddr {
	text, err := os.ReadFile(filepath.Join(dir, "address"))
	if err != nil {
		return nil
	}
	mac, err := net.ParseMAC(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	return mac
}

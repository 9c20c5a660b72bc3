package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/init/link"
	"weft/init/sysctl"
	"weft/profiles"
)

// writeSysctls makes the kernel settings, once the modules that bring some of
// them are there and the node file has said which links there are.
func (s *system) writeSysctls() {
	defer close(s.sysctlsDone)
	<-s.modulesDone
	<-s.nodeDone
	step := s.log.Start("sysctls")
	_, err := os.Stat("/proc/sys/net/ipv6")
	// What belongs to a device that is not there comes when the device does.
	list := sysctl.Possible(sysctl.Plan(s.contract.Sysctls, s.presentUplinks(), err == nil), devicePresent)
	var errs []error
	for _, setting := range list {
		if err := writeSetting(setting); err != nil {
			errs = append(errs, err)
			s.log.Problem("sysctl %v", err)
		}
	}
	step.Done(fmt.Sprintf("%d set", len(list)-len(errs)))
	s.settle(itemSysctls, errors.Join(errs...))
}

// isUplink reports whether a device is an uplink that has been prepared.
func (s *system) isUplink(name string) bool {
	s.state.Lock()
	defer s.state.Unlock()
	return slices.ContainsFunc(s.uplinks, func(u link.Uplink) bool { return u.Device.Name == name })
}

// writeSetting makes a setting. One of a device that has just gone is made
// when the device comes back; one whose device was made anew meanwhile is
// tried once more.
func writeSetting(setting sysctl.Setting) error {
	err := sysctl.Write("/proc/sys", setting)
	device, own := sysctl.Device(setting.Name)
	switch {
	case err == nil || !own:
		return err
	case !devicePresent(device):
		return nil
	}
	return sysctl.Write("/proc/sys", setting)
}

// presentUplinks lists the uplinks among the devices there are now whose IPv6
// can be set.
func (s *system) presentUplinks() []sysctl.Uplink {
	names, err := filepath.Glob("/sys/class/net/*")
	if err != nil {
		return nil // a constant pattern; it is well formed
	}
	var ups []sysctl.Uplink
	for _, path := range names {
		// A device shows in sysfs a moment before it has its settings
		// (net/core/dev.c, register_netdevice: the notifiers come last). Such
		// a one is prepareUplink's, which comes when it is complete.
		if _, err := os.Stat(filepath.Join("/proc/sys/net/ipv6/conf", filepath.Base(path), "accept_ra")); err != nil {
			continue
		}
		d := link.ReadDevice("/sys", 0, filepath.Base(path), readMAC(path))
		if conf, _, ok := link.Choose(d, s.links()); ok {
			ups = append(ups, sysctl.Uplink{Name: d.Name, Advertisements: link.WantsAdvertisements(conf)})
		}
	}
	return ups
}

// devicePresent reports whether a network device is there.
func devicePresent(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name))
	return err == nil
}

// readSetting returns the present value of a kernel setting.
func readSetting(name string) (string, error) { return sysctl.Read("/proc/sys", name) }

// wantedSettings are all settings the node should have now, in their order.
func (s *system) wantedSettings() []sysctl.Setting {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return sysctl.Plan(s.contract.Sysctls, s.presentUplinks(), err == nil)
}

// guardEvery is how often the settings that keep the node reachable are
// looked at when nothing else calls for it. Nothing tells of a changed
// setting: /proc/sys has no notification.
const guardEvery = time.Minute

// watchSettings makes the settings of devices that appear, and puts right
// what others change of those that keep the node reachable by IPv6.
func (s *system) watchSettings() {
	<-s.sysctlsDone
	<-s.nodeDone
	if slices.ContainsFunc(s.contract.Sysctls, func(n profiles.SysctlNeed) bool { _, own := sysctl.Device(n.Name); return own }) {
		s.goes(s.settleDevices)
	}
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	for {
		s.guardAdvertisements()
		select {
		case <-ticker.C:
		case <-s.advertised:
		case <-s.ctx.Done():
			return
		}
	}
}

// guardAdvertisements puts accept_ra right where it is not as wanted. K3s and
// container networks write forwarding and settings of their own when they
// start; an uplink whose accept_ra is not 2 then loses the default route it
// learned, and with default.accept_ra on, a pod can announce itself as the
// node's router. All other settings are only compared, in the status: K3s,
// kubelet and people may have reasons to change those.
func (s *system) guardAdvertisements() {
	guarded := slices.DeleteFunc(s.wantedSettings(), func(w sysctl.Setting) bool {
		device, own := sysctl.Device(w.Name)
		// A device that has just appeared is about to be prepared.
		return !sysctl.IsAcceptRA(w.Name) || own && !s.isUplink(device)
	})
	for _, f := range sysctl.Wrong(sysctl.Check(guarded, readSetting, devicePresent)) {
		if f.Have == "" {
			continue // it went meanwhile, or cannot be read; the status says so
		}
		err := sysctl.Write("/proc/sys", sysctl.Setting{Name: f.Name, Value: f.Want, Reason: f.Why})
		s.log.Problem("sysctl %s was changed to %s by a program on this node and is put back to %s: %v", f.Name, f.Have, f.Want,
			errors.Join(errors.New(f.Why), err))
	}
}

// settleDevices makes the contract's settings of each device that is there or
// appears. A device that went took its settings with it.
func (s *system) settleDevices() {
	updates := make(chan netlink.LinkUpdate)
	err := netlink.LinkSubscribeWithOptions(updates, s.ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting: true,
		ErrorCallback: func(err error) {
			if s.ctx.Err() == nil {
				s.log.Problem("settings of devices: %v", err)
			}
		},
	})
	if err != nil {
		s.log.Problem("settings of devices: %v; devices that appear from now on get none", err)
		return
	}
	wanted := make([]sysctl.Setting, 0, len(s.contract.Sysctls))
	for _, n := range s.contract.Sysctls {
		wanted = append(wanted, sysctl.Setting{Name: n.Name, Value: n.Value, Reason: n.Reason})
	}
	settled := make(map[int32]string) // the names of devices by their index
	for u := range updates {
		name := u.Link.Attrs().Name
		if u.Header.Type == unix.RTM_DELLINK {
			delete(settled, u.Index)
			continue
		}
		if settled[u.Index] == name {
			continue
		}
		settled[u.Index] = name
		for _, err := range sysctl.WriteAll("/proc/sys", sysctl.For(wanted, name)) {
			s.log.Problem("sysctl %v", err)
		}
	}
}

package link

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/profiles"
)

// defaultMonitor is how often a bond looks at its ports' carrier, in
// milliseconds; the kernel's own default is never.
const defaultMonitor = 100

// mark is the alias of devices that init made (ip link: "alias").
const mark = "weft init"

// kernelModule is the module that brings a link's kind of device.
func kernelModule(l profiles.Link) string {
	switch {
	case l.VLAN != nil:
		return "8021q"
	case l.Bond != nil:
		return "bonding"
	}
	return "bridge"
}

// makes reports whether a device of this name is init's to make.
func (m *manager) makes(name string) bool {
	return slices.ContainsFunc(m.Links, func(l profiles.Link) bool {
		virtual, _ := l.Virtual()
		return virtual == name
	})
}

// placeBelow puts a device under the VLANs, bonds and bridges that name it as
// one of theirs, and makes those that are not there yet. Devices that come
// back, as a USB adapter does, are put back.
func (m *manager) placeBelow(d Device) {
	for _, l := range m.Links {
		name, ports := l.Virtual()
		if name == "" || name == d.Name {
			continue
		}
		for _, match := range ports {
			if !Matches(d, match) {
				continue
			}
			start := time.Now()
			if err := m.place(l, name, d); err != nil {
				m.Problem(fmt.Errorf("%s on %s: %w", name, d.Name, err))
				continue
			}
			m.ports[d.Index] = name
			m.Step("link "+name, time.Since(start), "on "+d.Name)
		}
	}
}

// place makes the device of a link, if it is not there, and puts d below it.
func (m *manager) place(l profiles.Link, name string, d Device) error {
	port := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index, Name: d.Name}}
	if l.MTU != 0 {
		// A device cannot carry more than what lies below it.
		if err := raiseMTU(d.Name, l.MTU); err != nil {
			return err
		}
	}
	upper, err := m.make(l, name, d)
	if err != nil {
		return err
	}
	if l.VLAN == nil {
		if l.Bond != nil {
			// A bond takes no port that is up (drivers/net/bonding/bond_main.c,
			// bond_enslave).
			if err := netlink.LinkSetDown(port); err != nil {
				return fmt.Errorf("take it down: %w", err)
			}
		}
		if err := netlink.LinkSetMasterByIndex(port, upper); err != nil {
			return fmt.Errorf("make it a port: %w", err)
		}
	}
	if err := netlink.LinkSetUp(port); err != nil {
		return fmt.Errorf("bring it up: %w", err)
	}
	return nil
}

// raiseMTU makes a device carry at least mtu.
func raiseMTU(name string, mtu int) error {
	have, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if have.Attrs().MTU >= mtu {
		return nil
	}
	if err := netlink.LinkSetMTU(have, mtu); err != nil {
		return fmt.Errorf("MTU %d: %w", mtu, err)
	}
	return nil
}

// make makes the device of a link unless there is one of its name, and returns
// its number.
func (m *manager) make(l profiles.Link, name string, below Device) (int, error) {
	m.Need(kernelModule(l))
	if have, err := netlink.LinkByName(name); err == nil {
		if have.Attrs().Alias == mark {
			return have.Attrs().Index, nil
		}
		// The bonding module makes a bond0 of its own when it is loaded.
		if have.Type() != "bond" || l.Bond == nil {
			return 0, fmt.Errorf("make it: there is another device of this name, a %s", have.Type())
		}
		if err := netlink.LinkDel(have); err != nil {
			return 0, fmt.Errorf("make it in place of the kernel's own: %w", err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	var link netlink.Link
	switch {
	case l.VLAN != nil:
		attrs.ParentIndex = below.Index
		link = &netlink.Vlan{LinkAttrs: attrs, VlanId: l.VLAN.ID, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	case l.Bond != nil:
		bond := netlink.NewLinkBond(attrs)
		mode := l.Bond.Mode
		if mode == "" {
			mode = "active-backup"
		}
		bond.Mode = netlink.StringToBondMode(mode)
		if bond.Miimon = l.Bond.Monitor; bond.Miimon == 0 {
			bond.Miimon = defaultMonitor
		}
		link = bond
	default:
		// The bridge has the address of its first port for good: otherwise it
		// changes with the ports, and DHCP servers take it for another node.
		attrs.HardwareAddr = below.MAC
		link = &netlink.Bridge{LinkAttrs: attrs}
	}
	if err := netlink.LinkAdd(link); err != nil && !errors.Is(err, unix.EEXIST) {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return 0, fmt.Errorf("make it: %w; the kernel has no %s: add %s to modules in the profile", err, link.Type(), kernelModule(l))
		}
		return 0, fmt.Errorf("make it: %w", err)
	}
	made, err := netlink.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("make it: %w", err)
	}
	if err := netlink.LinkSetAlias(made, mark); err != nil {
		return 0, fmt.Errorf("mark it: %w", err)
	}
	if l.Bridge != nil && l.Bridge.STP {
		if err := setSTP(m.Sys, name); err != nil {
			return 0, err
		}
	}
	return made.Attrs().Index, nil
}

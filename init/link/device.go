// Package link brings the node's uplinks up: the devices that lead out of the
// node, with their addresses, routes and name servers.
//
// It owns nothing else: bridges, tunnels and pod devices belong to netd and
// the container runtime and are never touched. IPv6 addresses come from the
// kernel's own router discovery; see package sysctl for what lets it.
package link

import (
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"weft/profiles"
)

// A Device is what is known of a network device without opening it.
type Device struct {
	// Index and Name are the kernel's.
	Index int
	Name  string
	// MAC is its permanent hardware address where the kernel knows it, else
	// the present one.
	MAC net.HardwareAddr
	// Driver is its kernel driver; empty when it has none.
	Driver string
	// Ethernet says that its frames are Ethernet's (ARPHRD_ETHER).
	Ethernet bool
	// Physical says that there is hardware, real or virtual, behind it. A
	// bridge, a tunnel, a veth, a bond and a VLAN have none.
	Physical bool
	// Wireless says that it needs to join a network first.
	Wireless bool
}

// arphrdEther is ARPHRD_ETHER (include/uapi/linux/if_arp.h).
const arphrdEther = 1

// ReadDevice fills in what sysfs, mounted at sys, says of a device.
func ReadDevice(sys string, index int, name string, mac net.HardwareAddr) Device {
	dir := filepath.Join(sys, "class/net", name)
	d := Device{Index: index, Name: name, MAC: mac}
	if text, err := os.ReadFile(filepath.Join(dir, "type")); err == nil {
		kind, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		d.Ethernet = kind == arphrdEther
	}
	if _, err := os.Stat(filepath.Join(dir, "device")); err == nil {
		d.Physical = true
	}
	if _, err := os.Stat(filepath.Join(dir, "phy80211")); err == nil {
		d.Wireless = true
	}
	if target, err := os.Readlink(filepath.Join(dir, "device/driver")); err == nil {
		d.Driver = filepath.Base(target)
		// A virtio device's parent has the driver virtio-pci; its own name is
		// virtio_net, which is what people write.
	}
	return d
}

// Choose returns the uplink configuration of a device and its place in the
// list; ok is false when the device is no uplink. The first entry that
// matches counts. Without a list every physical Ethernet device is an uplink.
func Choose(d Device, links []profiles.Link) (l profiles.Link, place int, ok bool) {
	if len(links) == 0 {
		return profiles.Link{}, 0, d.Physical && d.Ethernet && !d.Wireless
	}
	for i, l := range links {
		if name, _ := l.Virtual(); name != "" && name == d.Name || name == "" && Matches(d, l.Match) {
			return l, i, true
		}
	}
	return profiles.Link{}, 0, false
}

// Matches reports whether a device fits every field that a match gives. One
// that gives none fits no device. A device without hardware behind it is
// found by its name only: pods copy hardware addresses.
func Matches(d Device, m profiles.Match) bool {
	if m == (profiles.Match{}) {
		return false
	}
	if !d.Physical && (m.Name == "" || strings.ContainsAny(m.Name, `*?[\`)) {
		return false
	}
	if m.Name != "" {
		if ok, err := path.Match(m.Name, d.Name); err != nil || !ok {
			return false
		}
	}
	if m.MAC != "" {
		want, err := net.ParseMAC(m.MAC)
		if err != nil || want.String() != d.MAC.String() {
			return false
		}
	}
	return m.Driver == "" || strings.ReplaceAll(m.Driver, "-", "_") == strings.ReplaceAll(d.Driver, "-", "_")
}

// WantsDHCP reports whether a link asks for an IPv4 address by DHCP.
func WantsDHCP(l profiles.Link) bool {
	if l.DHCP4 != nil {
		return *l.DHCP4
	}
	for _, a := range l.Addresses {
		if a.Addr().Is4() {
			return false
		}
	}
	return true
}

// WantsAdvertisements reports whether IPv6 routers may configure a link.
func WantsAdvertisements(l profiles.Link) bool {
	return l.RouterAdvertisements == nil || *l.RouterAdvertisements
}

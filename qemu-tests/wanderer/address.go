//go:build linux

package main

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
)

// readdress moves the device with an address to another one.
func readdress(from, to string) error {
	old, err := netlink.ParseAddr(from)
	if err != nil {
		return err
	}
	next, err := netlink.ParseAddr(to)
	if err != nil {
		return err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if a.IP.Equal(old.IP) && a.Mask.String() == old.Mask.String() {
				// In this order: an IPv4 address that is there already would
				// go with the first one (promote_secondaries is 0).
				if err := netlink.AddrDel(l, old); err != nil {
					return fmt.Errorf("remove %s: %w", from, err)
				}
				if err := slowDetection(l.Attrs().Name, next); err != nil {
					return err
				}
				if err := netlink.AddrAdd(l, next); err != nil {
					return fmt.Errorf("add %s: %w", to, err)
				}
				return nil
			}
		}
	}
	return fmt.Errorf("no device has %s", from)
}

// slowProbes is how often it is asked, a second apart, whether another machine
// has an address: long enough that packets are sent meanwhile for certain.
const slowProbes = "8"

// slowDetection makes a device take long to use a new IPv6 address. Until then
// it has a route on the link and no address of its own (RFC 4862, section 5.4).
func slowDetection(device string, next *netlink.Addr) error {
	if next.IP.To4() != nil {
		return nil
	}
	return os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/dad_transmits", []byte(slowProbes), 0o644)
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// networkChecks: what K3s finds the node's addresses by (apimachinery
// pkg/util/net, ResolveBindAddress; k3s pkg/util, GetHostnameAndIPs), and what
// keeps them.
func networkChecks(f families) []check {
	list := []check{{"the loopback device is up", func() error {
		l, err := netlink.LinkByName("lo")
		if err == nil && l.Attrs().RawFlags&unix.IFF_UP == 0 {
			err = errors.New("it is down")
		}
		return err
	}}}
	if f.ipv4 {
		list = append(list, familyChecks("IPv4", netlink.FAMILY_V4)...)
	}
	if f.ipv6 {
		list = append(list, familyChecks("IPv6", netlink.FAMILY_V6)...)
		list = append(list, check{"the uplink goes on listening to its router", func() error {
			uplink, err := uplink(netlink.FAMILY_V6)
			if err != nil {
				return err
			}
			// It forwards, and then 1 is not enough (Documentation/networking/ip-sysctl.rst).
			return equals("/proc/sys/net/ipv6/conf/"+uplink.Attrs().Name+"/accept_ra", "2")()
		}})
	}
	return list
}

// familyChecks: the way out, and the address at its beginning.
func familyChecks(name string, family int) []check {
	return []check{
		{"there is a default route of " + name, func() error {
			_, err := uplink(family)
			return err
		}},
		{"its link has a global address of " + name + ", a usable one", func() error {
			link, err := uplink(family)
			if err != nil {
				return err
			}
			addresses, err := netlink.AddrList(link, family)
			for _, a := range addresses {
				if a.IP.IsGlobalUnicast() && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0 {
					return nil
				}
			}
			return errors.Join(err, fmt.Errorf("%s has %v", link.Attrs().Name, addresses))
		}},
	}
}

// uplink is the link of the default route of a family.
func uplink(family int) (netlink.Link, error) {
	routes, err := netlink.RouteList(nil, family)
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() && isZero(r.Dst.Mask) {
			return netlink.LinkByIndex(r.LinkIndex)
		}
	}
	return nil, errors.Join(err, errors.New("no default route"))
}

func isZero(mask net.IPMask) bool {
	ones, _ := mask.Size()
	return ones == 0
}

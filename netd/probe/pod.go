package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/netd/cni"
)

// Names of the probe pod's devices, outside and inside of it.
const (
	hostDevice = "weft-probe"
	podDevice  = "eth0"
)

// A Pod is what the probe pod should be.
type Pod struct {
	// Subnets are the node's own, at most one of each family.
	Subnets []netip.Prefix
	// MTU is what pods may use.
	MTU int
}

// ensure makes the pod what it should be: a network namespace with one device
// on the CNI bridge, as the CNI bridge plugin makes pods. What is already
// right is not touched.
func (p Pod) ensure() error {
	namespace, err := openNamespace()
	if err != nil {
		return err
	}
	defer namespace.Close()
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer host.Close()
	bridge, err := p.ensureBridge(host)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", cni.Bridge, err)
	}
	if err := p.ensureDevice(host, bridge, namespace); err != nil {
		return fmt.Errorf("device %s: %w", hostDevice, err)
	}
	return within(namespace, func() error { return p.ensureInside() })
}

// ensureBridge makes the bridge that pods hang on, as the CNI bridge plugin
// does (plugins/main/bridge, ensureBridge and ensureAddr).
func (p Pod) ensureBridge(host *netlink.Handle) (netlink.Link, error) {
	link, err := host.LinkByName(cni.Bridge)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = cni.Bridge, p.MTU
		err = host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
		if err == nil {
			link, err = host.LinkByName(cni.Bridge)
		}
		if err == nil {
			// Left alone, a bridge takes the lowest address of its ports and
			// changes it as pods come and go; one that was set stays.
			err = host.LinkSetHardwareAddr(link, link.Attrs().HardwareAddr)
		}
		if err == nil {
			err = errors.Join(setIPv6(cni.Bridge, "accept_ra", "0"), setIPv6(cni.Bridge, "accept_dad", "0"))
		}
	}
	if err != nil {
		return nil, err
	}
	if link.Type() != "bridge" {
		return nil, fmt.Errorf("is a %s, not a bridge; remove it", link.Type())
	}
	if link.Attrs().MTU != p.MTU {
		if err := host.LinkSetMTU(link, p.MTU); err != nil {
			return nil, fmt.Errorf("set MTU %d: %w", p.MTU, err)
		}
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := host.LinkSetUp(link); err != nil {
			return nil, fmt.Errorf("bring it up: %w", err)
		}
	}
	for _, subnet := range p.Subnets {
		if err := ensureAddress(host, link, netip.PrefixFrom(cni.Gateway(subnet), subnet.Bits())); err != nil {
			return nil, err
		}
	}
	return link, nil
}

// ensureDevice makes the veth pair between bridge and pod.
func (p Pod) ensureDevice(host *netlink.Handle, bridge netlink.Link, namespace *os.File) error {
	link, err := host.LinkByName(hostDevice)
	if err == nil {
		var inside bool
		if inside, err = hasDevice(namespace); err == nil && (!inside || link.Type() != "veth") {
			// Its other end is not in the namespace: a leftover.
			err = errors.Join(host.LinkDel(link), netlink.LinkNotFoundError{})
		}
	}
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = hostDevice, p.MTU
		err = host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: podDevice, PeerNamespace: netlink.NsFd(namespace.Fd())})
		if err == nil {
			link, err = host.LinkByName(hostDevice)
		}
	}
	if err != nil {
		return err
	}
	if link.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := host.LinkSetMaster(link, bridge); err != nil {
			return fmt.Errorf("attach it to %s: %w", cni.Bridge, err)
		}
		if err := host.LinkSetHairpin(link, true); err != nil {
			return fmt.Errorf("hairpin: %w", err)
		}
	}
	return setUp(host, link, p.MTU)
}

// ensureInside gives the pod's device addresses and default routes. It runs
// inside the namespace.
func (p Pod) ensureInside() error {
	pod, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer pod.Close()
	link, err := pod.LinkByName(podDevice)
	if err != nil {
		return err
	}
	if err := setIPv6(podDevice, "accept_ra", "0"); err != nil {
		return err
	}
	if err := setUp(pod, link, p.MTU); err != nil {
		return err
	}
	for _, subnet := range p.Subnets {
		if err := ensureAddress(pod, link, netip.PrefixFrom(cni.ProbeAddress(subnet), subnet.Bits())); err != nil {
			return err
		}
		if err := ensureDefault(pod, link, cni.Gateway(subnet)); err != nil {
			return err
		}
	}
	return p.removeOthers(pod, link)
}

// removeOthers removes addresses of subnets that are no longer the node's.
func (p Pod) removeOthers(pod *netlink.Handle, link netlink.Link) error {
	have, err := pod.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}
	for _, a := range have {
		ip, _ := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		wanted := ip.IsLinkLocalUnicast()
		for _, subnet := range p.Subnets {
			wanted = wanted || ip == cni.ProbeAddress(subnet)
		}
		if !wanted {
			if err := pod.AddrDel(link, &a); err != nil {
				return fmt.Errorf("remove address %s: %w", ip, err)
			}
		}
	}
	return nil
}

// setUp gives a device its MTU and brings it up.
func setUp(h *netlink.Handle, link netlink.Link, mtu int) error {
	if link.Attrs().MTU != mtu {
		if err := h.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set MTU %d: %w", mtu, err)
		}
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring it up: %w", err)
		}
	}
	return nil
}

// ensureAddress gives a device an address, usable at once: the node hands out
// its pods' addresses itself, so none is a duplicate.
func ensureAddress(h *netlink.Handle, link netlink.Link, prefix netip.Prefix) error {
	address := &netlink.Addr{IPNet: ipNet(prefix)}
	have, err := h.AddrList(link, netlinkFamily(prefix.Addr()))
	if err != nil {
		return fmt.Errorf("read addresses: %w", err)
	}
	for _, a := range have {
		if a.Equal(*address) {
			return nil
		}
	}
	if prefix.Addr().Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := h.AddrAdd(link, address); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s: %w", prefix, err)
	}
	return nil
}

// ensureDefault gives the pod its default route of one family.
func ensureDefault(pod *netlink.Handle, link netlink.Link, gateway netip.Addr) error {
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice(), Dst: ipNet(anywhere(gateway))}
	have, err := pod.RouteListFiltered(netlinkFamily(gateway), route, netlink.RT_FILTER_DST|netlink.RT_FILTER_GW|netlink.RT_FILTER_OIF)
	if err != nil {
		return fmt.Errorf("read routes: %w", err)
	}
	if len(have) > 0 {
		return nil
	}
	if err := pod.RouteReplace(route); err != nil {
		return fmt.Errorf("default route via %s: %w", gateway, err)
	}
	return nil
}

// anywhere is the destination of a default route.
func anywhere(of netip.Addr) netip.Prefix {
	if of.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func netlinkFamily(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// setIPv6 writes a device's IPv6 setting unless it is so already. A kernel
// without IPv6 has none.
func setIPv6(device, name, value string) error {
	file := filepath.Join("/proc/sys/net/ipv6/conf", device, name)
	have, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(have) == value+"\n" {
		return nil
	}
	return os.WriteFile(file, []byte(value), 0)
}

// hasDevice reports whether the pod has its device.
func hasDevice(namespace *os.File) (has bool, err error) {
	err = within(namespace, func() error {
		_, err := net.InterfaceByName(podDevice)
		has = err == nil
		return nil
	})
	return has, err
}

// Address is the address of the probe pod in a subnet.
func Address(subnet netip.Prefix) netip.Addr { return cni.ProbeAddress(subnet) }

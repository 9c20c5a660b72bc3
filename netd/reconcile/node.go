package reconcile

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

// nodeOf is a node's part as package wanted takes it, without its underlay.
func nodeOf(n profiles.NetdNode) (wanted.Node, error) {
	text := n.MAC
	if text == "" {
		text = profiles.VTEPMAC(n.Name).String()
	}
	mac, err := wanted.ParseMAC(text)
	if err != nil {
		return wanted.Node{}, fmt.Errorf("node.mac: %w", err)
	}
	node := wanted.Node{Name: n.Name, UUID: n.UUID, MAC: mac}
	for _, subnet := range n.Subnets {
		if subnet.Addr().Is4() {
			node.IPv4 = subnet.Masked()
		} else {
			node.IPv6 = subnet.Masked()
		}
	}
	return node, nil
}

// chooseUnderlay finds the underlay of each family of the network.
func (l *Loop) chooseUnderlay() error {
	host, err := l.kernel.Host(underlay.CanReach(l.config.Network)...)
	if err != nil {
		return err
	}
	node, err := nodeOf(l.config.Node)
	if err != nil {
		return err
	}
	if l.config.opens() {
		node.IPv4, node.IPv6 = l.granted.ipv4, l.granted.ipv6
	}
	last := l.node.Underlay
	problems := map[bool]error{}
	for _, ipv6 := range underlays(l.config.Network) {
		used, was := &node.Underlay.IPv4, last.IPv4
		if ipv6 {
			used, was = &node.Underlay.IPv6, last.IPv6
		}
		if *used, problems[ipv6] = choice(host, ipv6, l.config, was); problems[ipv6] == nil {
			problems[ipv6] = down(host, *used)
		}
		if *used != was {
			l.todo.read = true // what was on the old one may have gone with it
			l.log.Info("underlay", "ipv6", ipv6, "device", used.Name, "address", used.Address,
				"mtu", used.MTU, "was", was.Address)
		}
	}
	if l.config.Network.ExternalIP {
		node.External4 = underlay.Published(node.Underlay.IPv4, false, l.config.Node, l.config.Network)
		node.External6 = underlay.Published(node.Underlay.IPv6, true, l.config.Node, l.config.Network)
	}
	if err := l.identify(&node); err != nil {
		return err
	}
	l.node, l.state.Waiting = node, l.waiting(node, problems)
	l.noteFormer(formerAddresses(host, node, l.config.Network))
	l.troubled = problems
	return nil
}

// down says that an underlay is down, which no peer is reached by.
func down(host underlay.Host, device underlay.Device) error {
	for _, l := range host.Links {
		if l.Index == device.Index && !l.Up {
			return fmt.Errorf("device %s is down", l.Name)
		}
	}
	return nil
}

// underlays are the families of underlay that the network needs or can use.
func underlays(network profiles.Network) []bool {
	var all []bool
	for _, pods := range network.Pods {
		for _, ipv6 := range wanted.Underlays(network.Backend, pods.Addr().Is6()) {
			if !slices.Contains(all, ipv6) {
				all = append(all, ipv6)
			}
		}
	}
	return all
}

// waiting says for each family of pods that nothing can carry what is wrong
// with the underlay it would have first.
func (l *Loop) waiting(node wanted.Node, problems map[bool]error) []error {
	var waiting []error
	for _, f := range wanted.Families(node, l.config.Network) {
		carriers := wanted.Underlays(l.config.Network.Backend, f.IPv6)
		if !slices.ContainsFunc(carriers, func(ipv6 bool) bool { return problems[ipv6] == nil }) {
			waiting = append(waiting, problems[carriers[0]])
		}
	}
	return waiting
}

// Scope is what the kernel is read for: netd's devices, except those of
// families whose underlay is not known, which are left as they are.
func (s Snapshot) Scope() kernel.Scope {
	scope := kernel.Scope{Keep: s.Keep, Networks: s.Config.Network.Pods}
	for _, f := range wanted.Families(s.Node, s.Config.Network) {
		names := wanted.DeviceNames(s.Config.Network.Backend, f.IPv6)
		switch {
		case f.Underlay.Index != 0:
			scope.Names = append(scope.Names, names...)
		case f.IPv6:
			scope.Hold, scope.HoldIPv6 = append(scope.Hold, names...), true
		default:
			scope.Hold, scope.HoldIPv4 = append(scope.Hold, names...), true
		}
	}
	// A device that carries a family that is known is not held for the other.
	scope.Hold = slices.DeleteFunc(scope.Hold, func(name string) bool { return slices.Contains(scope.Names, name) })
	return scope
}

// addresses are where the nodes of leases are reached.
func addresses(leases []lease.Lease) []netip.Addr {
	var all []netip.Addr
	for _, l := range leases {
		for _, half := range []lease.Half{l.IPv4, l.IPv6} {
			if half.Address.IsValid() {
				all = append(all, half.Address)
			}
		}
	}
	return all
}

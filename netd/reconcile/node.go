package reconcile

import (
	"fmt"
	"net/netip"

	"weft/netd/kernel"
	"weft/netd/lease"
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
	node := wanted.Node{Name: n.Name, MAC: mac}
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
	host, err := l.kernel.Host()
	if err != nil {
		return err
	}
	node, err := nodeOf(l.config.Node)
	if err != nil {
		return err
	}
	last := l.node.Underlay
	var waiting []error
	for _, f := range wanted.Families(node, l.config.Network) {
		used, was := &node.Underlay.IPv4, last.IPv4
		if f.IPv6 {
			used, was = &node.Underlay.IPv6, last.IPv6
		}
		if *used, err = choice(host, f.IPv6, l.config.Node.Addresses, was); err != nil {
			waiting = append(waiting, err)
		}
		if *used != was {
			l.log.Info("underlay", "family", f.String(), "device", used.Name, "address", used.Address,
				"mtu", used.MTU, "was", was.Address)
		}
	}
	l.node, l.state.Waiting = node, waiting
	return nil
}

// Scope is what the kernel is read for: netd's devices, except those of
// families whose underlay is not known, which are left as they are.
func (s Snapshot) Scope() kernel.Scope {
	var scope kernel.Scope
	for _, f := range wanted.Families(s.Node, s.Config.Network) {
		name := wanted.DeviceName(s.Config.Network.Backend, f.IPv6)
		switch {
		case f.Underlay.Index != 0:
			scope.Names = append(scope.Names, name)
		case f.IPv6:
			scope.Hold, scope.HoldIPv6 = append(scope.Hold, name), true
		default:
			scope.Hold, scope.HoldIPv4 = append(scope.Hold, name), true
		}
	}
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

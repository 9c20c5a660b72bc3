package reconcile

import (
	"net/netip"
	"slices"
	"strings"

	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/profiles"
)

// A Former is an address that tells of a subnet this node had before: its
// pods' bridge keeps the address, and the pods theirs, when the node is given
// other subnets, but the peers go by what it has now.
type Former struct {
	Device  string
	Address netip.Addr
}

// formerAddresses are the addresses of a host in the network but outside of
// the node's subnets. It is asked of the host, not remembered, so that it
// lasts over a restart and ends with the bridge. netd's own devices are put
// right by netd.
func formerAddresses(host underlay.Host, node wanted.Node, network profiles.Network) []Former {
	var former []Former
	for _, f := range wanted.Families(node, network) {
		for _, a := range host.Addresses {
			carries := a.Index == node.Underlay.IPv4.Index || a.Index == node.Underlay.IPv6.Index
			if carries || !f.Network.Contains(a.IP) || f.Own.Contains(a.IP) {
				continue
			}
			i := slices.IndexFunc(host.Links, func(l underlay.Link) bool { return l.Index == a.Index })
			if i >= 0 && !strings.HasPrefix(host.Links[i].Name, "flannel") {
				former = append(former, Former{host.Links[i].Name, a.IP})
			}
		}
	}
	return former
}

// noteFormer logs what is new of them.
func (l *Loop) noteFormer(former []Former) {
	for _, f := range former {
		if !slices.Contains(l.state.Former, f) {
			l.log.Warn("pods of subnets this node had before are cut off", "device", f.Device, "address", f.Address,
				"ipv4", l.node.IPv4, "ipv6", l.node.IPv6, "fix", "delete the device and start the pods anew, or the node")
		}
	}
	l.state.Former = former
}

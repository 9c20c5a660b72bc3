package kernel

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"weft/netd/wanted"
)

// flanneld marks nothing. A device without [wanted.Mark] is taken for one it
// left behind, in the network that is netd's now, when all of this holds: it
// has a name that flanneld gives, it is of the kind that belongs to the name
// (of VXLAN devices the VNI is the one in the name), and it carries a single
// address that is inside the pod network. Devices of other flannel networks
// have addresses of other networks, and nobody else gives a device such a
// name and such an address.
//
// Devices of [Scope.Names] need no such proof: the configuration names them.

// flanneldName reports whether flanneld gives devices of this kind and number
// such a name (pkg/backend/vxlan, wireguard, ipip).
func flanneldName(l wanted.Link) bool {
	switch l.Name {
	case "flannel-wg", "flannel-wg-v6":
		return l.Kind == wanted.KindWireGuard
	case "flannel.ipip":
		return l.Kind == "ipip"
	}
	number, found := strings.CutPrefix(l.Name, "flannel.")
	if !found {
		number, found = strings.CutPrefix(l.Name, "flannel-v6.")
	}
	vni, err := strconv.Atoi(number)
	return found && err == nil && l.Kind == wanted.KindVXLAN && l.VXLAN.VNI == vni
}

// leftovers are those of the candidates that carry an address of a network.
func (c *Conn) leftovers(candidates []wanted.Link, networks []netip.Prefix) ([]wanted.Link, error) {
	if len(candidates) == 0 || len(networks) == 0 {
		return nil, nil
	}
	left := map[int]bool{}
	err := again(func() error {
		clear(left)
		return c.dump(unix.RTM_GETADDR, unix.AF_UNSPEC, func(b []byte) {
			a, ok := decodeAddress(b)
			if !ok || !a.prefix.IsSingleIP() {
				return
			}
			for _, n := range networks {
				if n.Contains(a.prefix.Addr()) {
					left[a.index] = true
				}
			}
		})
	})
	var found []wanted.Link
	for _, l := range candidates {
		if left[l.Index] {
			found = append(found, l)
		}
	}
	return found, err
}

package wanted

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/netd/lease"
)

// A RefusalKind says in one word what is wrong with a lease, so that refusals
// can be counted.
type RefusalKind string

// The kinds of refusals.
const (
	// RefusedFamily is a part in a family that the network, or this node, does
	// not have.
	RefusedFamily RefusalKind = "family"
	// RefusedBackend is another backend than this node's.
	RefusedBackend RefusalKind = "backend"
	// RefusedSubnet is a subnet that is missing or not written as one.
	RefusedSubnet RefusalKind = "subnet"
	// RefusedOutside is a subnet outside the network.
	RefusedOutside RefusalKind = "outside"
	// RefusedOverlap is a subnet that overlaps this node's or another's.
	RefusedOverlap RefusalKind = "overlap"
	// RefusedAddress is an address that no peer can be reached at.
	RefusedAddress RefusalKind = "address"
	// RefusedDuplicateAddress is an address that is this node's or another's.
	RefusedDuplicateAddress RefusalKind = "duplicate-address"
	// RefusedMAC is a VTEP address that is none, RefusedDuplicateMAC one that
	// is this node's or another's.
	RefusedMAC          RefusalKind = "mac"
	RefusedDuplicateMAC RefusalKind = "duplicate-mac"
	// RefusedKey is a WireGuard key that is none, RefusedDuplicateKey one that
	// is this node's or another's.
	RefusedKey          RefusalKind = "key"
	RefusedDuplicateKey RefusalKind = "duplicate-key"
	// RefusedVNI is another VXLAN network identifier than this node's.
	RefusedVNI RefusalKind = "vni"
	// RefusedLink is a peer that is not on this node's link, for host-gw.
	RefusedLink RefusalKind = "link"
	// RefusedDuplicateUUID is the identity of another node: a cloned disk.
	RefusedDuplicateUUID RefusalKind = "duplicate-uuid"
	// RefusedClone is this node's own identity or name at another address: a
	// clone of this node. It is an alarm: peers may send this node's packets
	// there.
	RefusedClone RefusalKind = "clone"
	// RefusedFormer is a lease this node had before.
	RefusedFormer RefusalKind = "former"
	// RefusedDevice is no lease but a family this node cannot carry.
	RefusedDevice RefusalKind = "device"
)

// RefusalKinds are all of them, in order.
var RefusalKinds = []RefusalKind{RefusedAddress, RefusedBackend, RefusedClone, RefusedDevice,
	RefusedDuplicateAddress, RefusedDuplicateKey, RefusedDuplicateMAC, RefusedDuplicateUUID, RefusedFamily,
	RefusedFormer, RefusedKey, RefusedLink, RefusedMAC, RefusedOutside, RefusedOverlap, RefusedSubnet, RefusedVNI}

// A Refusal says why a lease is not honoured in one family.
type Refusal struct {
	// Kind says in one word what is wrong.
	Kind RefusalKind `json:"kind"`
	// Node is the name of the node whose lease it is, Subnet what the lease
	// asks for and Address where it says the node is.
	Node    string       `json:"node"`
	Subnet  netip.Prefix `json:"subnet,omitzero"`
	Address netip.Addr   `json:"address,omitzero"`
	// Family is IPv4 or IPv6.
	Family string `json:"family"`
	// Reason says what is wrong, Fix what to do about it.
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
	// Rival is the node that has what the lease asks for; empty when there is
	// none.
	Rival string `json:"rival,omitempty"`
}

// String is the refusal in one line.
func (r Refusal) String() string {
	return fmt.Sprintf("%s (%s): %s; fix: %s", r.Node, r.Family, r.Reason, r.Fix)
}

// refuse is the refusal of a lease in one family.
func refuse(kind RefusalKind, l lease.Lease, ipv6 bool, reason, fix string) *Refusal {
	half := *l.Half(ipv6)
	return &Refusal{Kind: kind, Node: l.Node, Subnet: half.Subnet, Address: half.Address,
		Family: Family{IPv6: ipv6}.String(), Reason: reason, Fix: fix}
}

// against is the refusal with the node that has what the lease asks for.
func (r *Refusal) against(node string) *Refusal { r.Rival = node; return r }

// uncarried says that this node cannot carry a family.
func uncarried(node Node, f Family, err error) Refusal {
	return Refusal{Kind: RefusedDevice, Node: node.Name, Subnet: f.Own, Family: f.String(), Reason: err.Error(), Fix: fixOf(err)}
}

// strangers refuses the parts of leases that are in no family of this node.
func strangers(families []Family, leases []lease.Lease) []Refusal {
	var has [2]bool
	for _, f := range families {
		has[index(f.IPv6)] = true
	}
	var refusals []Refusal
	for _, l := range leases {
		for _, ipv6 := range []bool{false, true} {
			subnet := l.Half(ipv6).Subnet
			if has[index(ipv6)] || !subnet.IsValid() {
				continue
			}
			family := Family{IPv6: ipv6}.String()
			refusals = append(refusals, *refuse(RefusedFamily, l, ipv6,
				fmt.Sprintf("subnet %s is outside the network, which has no %s here", subnet, family),
				fmt.Sprintf("add an %s range to network.pods and a subnet to this node, or remove the peer's", family)))
		}
	}
	return refusals
}

func index(ipv6 bool) int {
	if ipv6 {
		return 1
	}
	return 0
}

// A judge decides about the leases of one family, one after the other.
type judge struct {
	node    Node
	family  Family
	backend Backend
	pods    []netip.Prefix // the networks of all families
	// What is taken, and by whom.
	subnets   *prefixes
	addresses map[netip.Addr]string
	macs      map[MAC]string
	keys      map[Key]string
	uuids     map[string]string
}

func newJudge(node Node, f Family, backend Backend, pods []netip.Prefix, size int) *judge {
	return &judge{node: node, family: f, backend: backend, pods: pods, subnets: newPrefixes(size),
		addresses: make(map[netip.Addr]string, size), macs: map[MAC]string{}, keys: map[Key]string{},
		uuids: map[string]string{}}
}

// What to do about two nodes that are one too many.
const (
	fixClone  = "was a disk cloned? Give the copy a UUID and a name of its own"
	fixSubnet = "give every node a subnet of its own"
)

// try is the peer a lease stands for, or why it cannot be honoured.
func (j *judge) try(l lease.Lease) (Peer, *Refusal) {
	peer, refusal := j.alone(l)
	if refusal != nil {
		return peer, refusal
	}
	ipv6 := j.family.IPv6
	if node, taken := j.uuids[strings.ToLower(l.UUID)]; taken && l.UUID != "" {
		return peer, refuse(RefusedDuplicateUUID, l, ipv6,
			fmt.Sprintf("identity %s is already the one of %s", l.UUID, node), fixClone).against(node)
	}
	if node, taken := j.subnets.overlap(peer.Subnet); taken {
		return peer, refuse(RefusedOverlap, l, ipv6,
			fmt.Sprintf("subnet %s overlaps the one of %s", peer.Subnet, node), fixSubnet).against(node)
	}
	if node, taken := j.addresses[peer.Address]; taken && peer.Address.IsValid() {
		return peer, refuse(RefusedDuplicateAddress, l, ipv6,
			fmt.Sprintf("address %s is already the one of %s", peer.Address, node),
			"give every node an address of its own; was a disk cloned?").against(node)
	}
	if node, taken := j.macs[peer.MAC]; taken && peer.MAC != (MAC{}) {
		return peer, refuse(RefusedDuplicateMAC, l, ipv6,
			fmt.Sprintf("MAC %s is already the one of %s", peer.MAC, node),
			"give every node a name of its own, from which mac follows, or another mac").against(node)
	}
	if node, taken := j.keys[peer.PublicKey]; taken && peer.PublicKey != (Key{}) {
		return peer, refuse(RefusedDuplicateKey, l, ipv6,
			fmt.Sprintf("public key %s is already the one of %s", peer.PublicKey, node),
			"give every node a key of its own; was a disk cloned?").against(node)
	}
	return peer, nil
}

// admit is try, and takes what the lease asks for if nothing is wrong.
func (j *judge) admit(l lease.Lease) (Peer, *Refusal) {
	peer, refusal := j.try(l)
	if refusal == nil {
		j.subnets.add(peer.Subnet, l.Node)
		j.addresses[peer.Address] = l.Node
		j.macs[peer.MAC] = l.Node
		j.keys[peer.PublicKey] = l.Node
		j.uuids[strings.ToLower(l.UUID)] = l.Node
	}
	return peer, refusal
}

// alone checks what can be said of a lease without the other leases.
func (j *judge) alone(l lease.Lease) (peer Peer, refusal *Refusal) {
	for _, check := range []func(lease.Lease) *Refusal{j.notSelf, j.subnet, j.vni} {
		if refusal := check(l); refusal != nil {
			return peer, refusal
		}
	}
	peer, reason, fix := j.backend.Peer(j.node, j.family, l)
	if reason != "" {
		return peer, refuse(j.dataKind(l, reason), l, j.family.IPv6, reason, fix)
	}
	peer.Node, peer.Subnet, peer.Backend = l.Node, j.family.half(l).Subnet, l.Backend
	if refusal := j.address(l, peer.Address); refusal != nil {
		return peer, refusal
	}
	return peer, j.notOurs(l, peer)
}

// notSelf refuses what says to be this node: it is not in the store of its
// peers, so it is somebody else, or of another time.
func (j *judge) notSelf(l lease.Lease) *Refusal {
	half, ipv6 := j.family.half(l), j.family.IPv6
	uuid := l.UUID != "" && strings.EqualFold(l.UUID, j.node.UUID)
	if !uuid && l.Node != j.node.Name {
		return nil
	}
	external := j.node.External4
	if ipv6 {
		external = j.node.External6
	}
	if half.Address.IsValid() && (half.Address == j.node.underlay(ipv6).Address || half.Address == external) {
		return refuse(RefusedFormer, l, ipv6, fmt.Sprintf("subnet %s is of a lease this node had before", half.Subnet),
			"nothing, it ends by itself; or remove it from the store").against(j.node.Name)
	}
	what := "name " + j.node.Name
	if uuid {
		what = "identity " + l.UUID
	}
	return refuse(RefusedClone, l, ipv6, fmt.Sprintf("a node at %s has this node's %s", half.Address, what),
		fixClone+"; if it is a lease of this node at an earlier address, remove it from the store").against(j.node.Name)
}

// subnet checks the subnet.
func (j *judge) subnet(l lease.Lease) *Refusal {
	f, subnet := j.family, j.family.half(l).Subnet
	switch {
	case !subnet.IsValid():
		return refuse(RefusedSubnet, l, f.IPv6, "no "+f.String()+" subnet", "give the peer a subnet inside "+f.Network.String())
	case subnet != subnet.Masked():
		return refuse(RefusedSubnet, l, f.IPv6, fmt.Sprintf("subnet %s has host bits set", subnet), "write "+subnet.Masked().String())
	case outside(f.Network, subnet):
		return refuse(RefusedOutside, l, f.IPv6, fmt.Sprintf("subnet %s is outside the network %s", subnet, f.Network),
			"give the peer a subnet inside "+f.Network.String())
	case subnet.Overlaps(f.Own):
		return refuse(RefusedOverlap, l, f.IPv6, fmt.Sprintf("subnet %s overlaps this node's own %s", subnet, f.Own),
			fixSubnet).against(j.node.Name)
	}
	return nil
}

// vni checks the VXLAN network identifier, if the lease says one.
func (j *judge) vni(l lease.Lease) *Refusal {
	own, is := j.backend.(vxlan)
	half := j.family.half(l)
	if !is || l.Backend != lease.VXLAN || half.VNI == 0 || half.VNI == own.VNI {
		return nil
	}
	return refuse(RefusedVNI, l, j.family.IPv6, fmt.Sprintf("VNI is %d, here it is %d", half.VNI, own.VNI),
		"use one network.backend.vni in the whole network")
}

// dataKind is the kind of a refusal by the backend: it is about the one thing
// the backend needs of a lease.
func (j *judge) dataKind(l lease.Lease, reason string) RefusalKind {
	switch {
	case strings.HasPrefix(reason, "backend "):
		return RefusedBackend
	case l.Backend == lease.VXLAN && j.family.half(l).Address.IsValid():
		return RefusedMAC
	case l.Backend == lease.WireGuard && j.family.half(l).Address.IsValid():
		return RefusedKey
	case l.Backend == lease.HostGW:
		return RefusedLink
	}
	return RefusedAddress
}

// thisNetwork are addresses of hosts that do not know theirs yet (RFC 1122,
// section 3.2.1.3): none is a destination.
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// address checks where a peer is to be reached.
func (j *judge) address(l lease.Lease, address netip.Addr) *Refusal {
	f := j.family
	inside := slices.IndexFunc(j.pods, func(pods netip.Prefix) bool { return pods.Contains(address) })
	if _, is := j.backend.(none); is && !address.IsValid() {
		return nil // nobody goes there
	}
	switch {
	case !address.IsValid():
		return refuse(RefusedAddress, l, f.IPv6, "no "+f.String()+" address", "say where the peer is reached")
	case !slices.Contains(j.backend.Underlays(f.IPv6), address.Is6()) || address.Is4In6() || !address.IsGlobalUnicast():
		return refuse(RefusedAddress, l, f.IPv6, fmt.Sprintf("address %s is not one a peer can be reached at", address),
			"use a global or private unicast address")
	case thisNetwork.Contains(address):
		return refuse(RefusedAddress, l, f.IPv6, fmt.Sprintf("address %s is in %s, which is no host's", address, thisNetwork),
			"use the peer's address on the underlay")
	case j.node.Underlay.IPv4.Broadcast() == address:
		return refuse(RefusedAddress, l, f.IPv6, fmt.Sprintf("address %s is the broadcast address of %s on %s, which all hosts there hear",
			address, j.node.Underlay.IPv4.Net, j.node.Underlay.IPv4.Name), "use the peer's address on the underlay")
	case inside >= 0:
		return refuse(RefusedAddress, l, f.IPv6,
			fmt.Sprintf("address %s is inside the pod network %s, which is reached through it", address, j.pods[inside]),
			"use the peer's address on the underlay")
	}
	return nil
}

// notOurs refuses a peer with something that only this node can have.
func (j *judge) notOurs(l lease.Lease, peer Peer) *Refusal {
	ipv6 := j.family.IPv6
	switch own := j.node; {
	case peer.Address.IsValid() && (peer.Address == own.Underlay.IPv4.Address || peer.Address == own.Underlay.IPv6.Address):
		return refuse(RefusedDuplicateAddress, l, ipv6, fmt.Sprintf("address %s is this node's own", peer.Address),
			"give every node an address of its own; was a disk cloned?").against(own.Name)
	case peer.MAC != (MAC{}) && peer.MAC == own.MAC:
		return refuse(RefusedDuplicateMAC, l, ipv6, fmt.Sprintf("MAC %s is this node's own", peer.MAC),
			"give every node a name of its own, from which mac follows, or another mac").against(own.Name)
	case peer.PublicKey != (Key{}) && peer.PublicKey == own.PublicKey:
		return refuse(RefusedDuplicateKey, l, ipv6, fmt.Sprintf("public key %s is this node's own", peer.PublicKey),
			"give every node a key of its own; was a disk cloned?").against(own.Name)
	}
	return nil
}

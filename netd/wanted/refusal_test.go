package wanted

import (
	"slices"
	"strings"
	"testing"

	"weft/netd/lease"
)

const (
	ownUUID   = "00000000-0000-4000-8000-000000000001"
	otherUUID = "00000000-0000-4000-8000-00000000000A"
)

// identified is the test node with its identity.
func identified() Node {
	n := testNode()
	n.UUID = ownUUID
	return n
}

func withUUID(l lease.Lease, uuid string) lease.Lease { l.UUID = uuid; return l }

func TestRefusalsHaveTheirKind(t *testing.T) {
	cases := []struct {
		name   string
		spoil  func(l *lease.Lease)
		kind   RefusalKind
		reason string
		rival  string
	}{
		{"the identity of another", func(l *lease.Lease) { l.UUID = strings.ToLower(otherUUID) }, RefusedDuplicateUUID, "is already the one of two", "two"},
		{"our identity", func(l *lease.Lease) { l.UUID = strings.ToUpper(ownUUID) }, RefusedClone, "a node at 10.0.0.3 has this node's identity", "self"},
		{"our name", func(l *lease.Lease) { l.Node = "self" }, RefusedClone, "a node at 10.0.0.3 has this node's name self", "self"},
		{"our own lease of before", func(l *lease.Lease) { l.UUID, l.IPv4.Address = ownUUID, addr("10.0.0.1") }, RefusedFormer, "this node had before", "self"},
		{"our address", func(l *lease.Lease) { l.IPv4.Address = addr("10.0.0.1") }, RefusedDuplicateAddress, "this node's own", "self"},
		{"our MAC", func(l *lease.Lease) { l.IPv4.MAC = "02:00:00:00:00:01" }, RefusedDuplicateMAC, "this node's own", "self"},
		{"the address of another", func(l *lease.Lease) { l.IPv4.Address = addr("10.0.0.2") }, RefusedDuplicateAddress, "already", "two"},
		{"the MAC of another", func(l *lease.Lease) { l.IPv4.MAC = "02:00:00:00:00:02" }, RefusedDuplicateMAC, "already", "two"},
		{"nonsense for a MAC", func(l *lease.Lease) { l.IPv4.MAC = "zz" }, RefusedMAC, "not a MAC address", ""},
		{"the subnet of another", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.2.0/25") }, RefusedOverlap, "overlaps", "two"},
		{"our subnet", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.1.0/24") }, RefusedOverlap, "this node's own", "self"},
		{"outside the network", func(l *lease.Lease) { l.IPv4.Subnet = prefix("192.168.0.0/24") }, RefusedOutside, "outside the network", ""},
		{"host bits", func(l *lease.Lease) { l.IPv4.Subnet = prefix("10.244.3.1/24") }, RefusedSubnet, "host bits", ""},
		{"no address", func(l *lease.Lease) { l.IPv4.Address = addr("127.0.0.1") }, RefusedAddress, "reached at", ""},
		{"an address that means this network", func(l *lease.Lease) { l.IPv4.Address = addr("0.1.2.3") }, RefusedAddress, "0.1.2.3 is in 0.0.0.0/8, which is no host's", ""},
		{"the broadcast address of the link", func(l *lease.Lease) { l.IPv4.Address = addr("10.0.0.255") }, RefusedAddress, "10.0.0.255 is the broadcast address of 10.0.0.0/24 on eth0", ""},
		{"another VNI", func(l *lease.Lease) { l.IPv4.VNI = 7 }, RefusedVNI, "VNI is 7, here it is 1", ""},
		{"another backend", func(l *lease.Lease) { l.Backend = "wireguard" }, RefusedBackend, `"wireguard"`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := third()
			c.spoil(&bad)
			p := plan(t, identified(), dual(), withUUID(sound(), otherUUID), bad)
			if len(p.Refusals) == 0 {
				t.Fatal("nothing was refused")
			}
			r := p.Refusals[0]
			if r.Kind != c.kind || !strings.Contains(r.Reason, c.reason) || r.Rival != c.rival || r.Fix == "" || r.Family != "IPv4" {
				t.Errorf("refusal is %+v, want kind %s, rival %q and %q", r, c.kind, c.rival, c.reason)
			}
			if r.Subnet != bad.IPv4.Subnet || r.Address != bad.IPv4.Address {
				t.Errorf("refusal is of %s at %s", r.Subnet, r.Address)
			}
			if !slices.Contains(RefusalKinds, r.Kind) {
				t.Errorf("%s is in no list", r.Kind)
			}
		})
	}
}

// clone is a copy of a node's disk at an address of its own.
func clone(l lease.Lease) lease.Lease {
	l.Node, l.IPv4.Address, l.IPv6.Address = l.Node+"-clone", addr("10.0.0.99"), addr("fd00:10::99")
	return l
}

func honoured(p Plan) string {
	var names []string
	for _, peer := range p.Peers {
		if peer.Subnet.Addr().Is4() {
			names = append(names, peer.Node)
		}
	}
	return strings.Join(names, " ")
}

func TestTheNodeThatWasThereFirstStays(t *testing.T) {
	real := withUUID(sound(), otherUUID)
	node, first := identified(), []lease.Lease{clone(real), real}
	before := plan(t, node, dual(), real)
	if before.Contested() {
		t.Fatal("one lease was contested")
	}
	contested := plan(t, node, dual(), first...)
	if !contested.Contested() || honoured(contested) != "two-clone" {
		t.Fatalf("honoured are %s; want the first, contested", honoured(contested))
	}
	for name, order := range map[string][]lease.Lease{
		"by the plan before": contested.Incumbents(before.Peers, State{}, first),
		"by the kernel":      contested.Incumbents(nil, before.State, first),
	} {
		after := plan(t, node, dual(), order...)
		if honoured(after) != "two" || after.Refusals[0].Node != "two-clone" {
			t.Errorf("%s: honoured are %s, want two", name, honoured(after))
		}
	}
	// Nobody knows who was first: the store's order decides, on every node alike.
	if after := plan(t, node, dual(), contested.Incumbents(nil, State{}, first)...); honoured(after) != "two-clone" {
		t.Errorf("without memory honoured are %s, want two-clone", honoured(after))
	}
}

// A lease that is no longer sound gives way even if it was there first.
func TestAnIncumbentThatIsWrongGivesWay(t *testing.T) {
	real := withUUID(sound(), otherUUID)
	before := plan(t, identified(), dual(), real)
	real.IPv4.MAC, real.IPv6.MAC = "nonsense", "nonsense"
	leases := []lease.Lease{real, clone(withUUID(sound(), otherUUID)), withUUID(third(), otherUUID)}
	contested := plan(t, identified(), dual(), leases...)
	after := plan(t, identified(), dual(), contested.Incumbents(before.Peers, before.State, leases)...)
	if honoured(after) != "two-clone" {
		t.Errorf("honoured are %s, want two-clone", honoured(after))
	}
}

// A node that moves while a copy of it is in the store has a new address, as
// the copy has; what tells the two apart is where the node's pods are.
func TestANodeThatMovesKeepsItsSubnetsBesideItsClone(t *testing.T) {
	real := withUUID(sound(), otherUUID)
	copied := clone(real)
	copied.Node = real.Node
	copied.IPv4.Subnet, copied.IPv6.Subnet = prefix("10.244.20.0/24"), prefix("fd42:0:0:20::/64")
	node := identified()
	before := plan(t, node, dual(), real)
	moved := real
	moved.IPv4.Address, moved.IPv6.Address = addr("10.0.0.102"), addr("fd00:10::102")
	leases := []lease.Lease{copied, moved}
	contested := plan(t, node, dual(), leases...)
	for name, order := range map[string][]lease.Lease{
		"by the plan before": contested.Incumbents(before.Peers, State{}, leases),
		"by the kernel":      contested.Incumbents(nil, before.State, leases),
	} {
		after := plan(t, node, dual(), order...)
		if len(after.Peers) != 2 || after.Peers[0].Subnet != real.IPv4.Subnet || after.Peers[1].Subnet != real.IPv6.Subnet {
			t.Errorf("%s: peers are %+v, want those with the subnets of before", name, after.Peers)
		}
	}
}

// A lease of another network in one family is no node of this one: it may have
// a subnet of the other family that is nobody's, but takes none from a node.
func TestALeaseOutsideInOneFamilyTakesNothingInTheOther(t *testing.T) {
	half := third()
	half.Node, half.IPv4.Subnet, half.IPv6.Subnet = "half", prefix("192.168.7.0/24"), sound().IPv6.Subnet
	node := identified()
	alone := plan(t, node, dual(), half)
	if len(alone.Peers) != 1 || alone.Peers[0].Node != "half" {
		t.Fatalf("alone: peers are %+v, want its IPv6 part", alone.Peers)
	}
	leases := []lease.Lease{half, sound()}
	p := plan(t, node, dual(), leases...)
	for name, p := range map[string]Plan{
		"first":          p,
		"there before":   plan(t, node, dual(), p.Incumbents(alone.Peers, alone.State, leases)...),
		"there at first": plan(t, node, dual(), alone.Incumbents(alone.Peers, alone.State, leases)...),
	} {
		if len(p.Peers) != 2 || p.Peers[0].Node != "two" || p.Peers[1].Node != "two" {
			t.Errorf("%s: peers are %+v, want two in both families", name, p.Peers)
		}
	}
}

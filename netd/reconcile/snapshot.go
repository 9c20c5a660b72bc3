package reconcile

import (
	"net/netip"
	"time"

	"weft/netd/diff"
	"weft/netd/kernel"
	"weft/netd/underlay"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
)

// A Config is what people decided: the network and this node's part in it.
type Config struct {
	Node    profiles.NetdNode
	Network profiles.Network
	// Given are the subnets the store gave this node when it last ran, at
	// most one of each family: they are used until the store answers. They
	// matter only where Node.Subnets leaves them to the store.
	Given []netip.Prefix
}

// A Snapshot is how things stand after a pass of the loop. It is shared and
// must not be changed.
type Snapshot struct {
	Config Config
	// Node is this node's part as it was used.
	Node wanted.Node
	// Wanted is the kernel state that was applied.
	Wanted wanted.State
	// Peers are the peers in it, Failed the ones of which something could not
	// be programmed, by subnet.
	Peers  []wanted.Peer
	Failed map[netip.Prefix]bool
	// PodsMTU is the largest MTU that was announced since the start, if it is
	// larger than the one now: pods of that time keep it, and large packets
	// of theirs are lost where nothing clamps or answers them.
	PodsMTU int
	// Former are addresses of this node that are in the network but not in its
	// subnets: those of a bridge that pods of an earlier time are on.
	Former []Former
	// Keep are kinds of netd's devices that stay although they are not wanted.
	Keep []wanted.Kind
	// Refusals are the leases that are not honoured.
	Refusals []wanted.Refusal
	// StoreAnswered says that the store has delivered its leases, Kept that
	// they are those kept on disk of an earlier time.
	StoreAnswered, Kept bool
	// StoreError is what is wrong with the store now.
	StoreError error
	// Waiting says for each family that has no underlay what it waits for.
	Waiting []error
	// Failures are the changes the kernel did not make.
	Failures []kernel.Failure
	// FirewallError is what is wrong with the packet filter now, ReadError
	// what keeps netd from knowing the kernel's state.
	FirewallError, ReadError error
	// Tunnels are the peers of WireGuard's devices when they were last looked
	// at, Rotation says what the replacing of this node's key waits for.
	Tunnels  []wireguard.Health
	Rotation string
	// Counters count what was done since the start.
	Counters Counters
	// LastWork is the last pass that changed the kernel, or else the first.
	LastWork Work
	// Repaired are the changes of the last pass that undid what somebody else
	// had done, Took is how long that pass was.
	Repaired []diff.Change
	Took     time.Duration
}

// Work is what a pass took.
type Work struct {
	// Changes are the changes it made to the kernel.
	Changes int
	// Wall is from when the loop had heard of the reason to when the kernel
	// was as wanted; CPU is what the process used meanwhile.
	Wall, CPU time.Duration
}

// Counters count what the loop has done since it started.
type Counters struct {
	// Passes are the passes of the loop, Reads those that read the kernel.
	Passes, Reads int
	// Changes are the changes made to the kernel.
	Changes int
	// Repairs are the changes of those that undid what somebody else had
	// done, FirewallRepairs the times the packet filter had to be repaired.
	Repairs, FirewallRepairs int
	// Lost counts how often the kernel had more to tell than netd could hear.
	Lost int
	// LastRepair is when something was last repaired.
	LastRepair time.Time
}

// Ready reports whether everything that is wanted is in the kernel; the
// reason says what is not.
func (s Snapshot) Ready() (bool, string) {
	switch {
	case !s.StoreAnswered && s.StoreError != nil:
		return false, "store: " + s.StoreError.Error()
	case !s.StoreAnswered:
		return false, "waiting for the store"
	case len(s.Waiting) > 0:
		return false, "waiting for the underlay: " + s.Waiting[0].Error()
	case s.ReadError != nil:
		return false, "kernel: " + s.ReadError.Error()
	case len(s.Failures) > 0:
		return false, "kernel: " + s.Failures[0].Error()
	}
	if len(wanted.Families(s.Node, s.Config.Network)) == 0 {
		if s.StoreError != nil {
			return false, "store: " + s.StoreError.Error()
		}
		return false, "waiting for the store to give this node its subnets"
	}
	for _, r := range s.Refusals {
		if r.Kind == wanted.RefusedDevice {
			return false, r.Reason
		}
	}
	if s.FirewallError != nil {
		return false, "firewall: " + s.FirewallError.Error()
	}
	return true, ""
}

// MTU is what pods may use: the smallest of the families', 0 when no family
// has an underlay yet.
func (s Snapshot) MTU() int {
	mtu := 0
	for _, l := range s.Wanted.Links {
		if mtu == 0 || l.MTU < mtu {
			mtu = l.MTU
		}
	}
	if mtu == 0 {
		return wanted.MTU(s.Node, s.Config.Network)
	}
	return mtu
}

// failed finds the peers that failures are about.
func failed(failures []kernel.Failure, peers []wanted.Peer) map[netip.Prefix]bool {
	if len(failures) == 0 {
		return nil
	}
	bySubnet, byMAC := map[netip.Addr]netip.Prefix{}, map[wanted.MAC][]netip.Prefix{}
	for _, p := range peers {
		bySubnet[p.Subnet.Addr()] = p.Subnet
		byMAC[p.MAC] = append(byMAC[p.MAC], p.Subnet)
	}
	set := map[netip.Prefix]bool{}
	for _, f := range failures {
		if f.Change.Verb == diff.Remove {
			continue
		}
		switch o := f.Change.Object.(type) {
		case wanted.Route:
			set[o.Dst] = true
		case wanted.Neighbour:
			set[bySubnet[o.IP]] = true
		case wanted.FDBEntry:
			for _, subnet := range byMAC[o.MAC] {
				if subnet.Addr().Is4() == o.Dst.Is4() {
					set[subnet] = true
				}
			}
		case wanted.WGPeer:
			for _, subnet := range o.AllowedIPs {
				set[subnet] = true
			}
		case wanted.Link, wanted.Address, wanted.Rule: // everybody is behind it
			for _, p := range peers {
				set[p.Subnet] = true
			}
		}
	}
	return set
}

// choice keeps the underlay of one family: what was chosen last stays while
// its device exists, because an address that is gone for a moment must not
// take the tunnel down.
func choice(host underlay.Host, ipv6 bool, c Config, last underlay.Device) (underlay.Device, error) {
	device, err := underlay.Choose(host, ipv6, c.Node.Addresses, c.Network)
	if err == nil {
		return device, nil
	}
	for _, l := range host.Links {
		if l.Index == last.Index {
			last.MTU = l.MTU
			return last, err
		}
	}
	return underlay.Device{}, err
}

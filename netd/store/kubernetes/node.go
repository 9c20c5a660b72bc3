package kubernetes

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"weft/netd/lease"
)

// object is the part of a node's object that is read.
type object struct {
	Metadata struct {
		Name            string            `json:"name"`
		UID             string            `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec   spec `json:"spec"`
	Status struct {
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

type spec struct {
	PodCIDR  string   `json:"podCIDR"`
	PodCIDRs []string `json:"podCIDRs"`
}

// condition is the part of a node's condition that is read.
type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// errNoSubnets says that a node has been given no pod subnets yet.
var errNoSubnets = errors.New("spec.podCIDRs is empty")

// A fault is what is wrong with a node's object, and what to do about it.
type fault struct{ reason, fix string }

func (f *fault) Error() string { return f.reason }

// fixOf is the way out of an error about a node's object.
func fixOf(err error) string {
	var f *fault
	if errors.As(err, &f) {
		return f.fix
	}
	return "restart flanneld or netd on that node, so that it writes its annotations again"
}

// cidrs are the pod subnets a node has been given: at most one of each family.
func (s spec) cidrs() (subnets []netip.Prefix, err error) {
	texts := s.PodCIDRs
	if len(texts) == 0 && s.PodCIDR != "" {
		texts = []string{s.PodCIDR}
	}
	const fix = "give the node one pod subnet of each family (kube-controller-manager's --cluster-cidr and --node-cidr-mask-size)"
	switch {
	case len(texts) == 0:
		return nil, errNoSubnets
	case len(texts) > 2:
		return nil, &fault{fmt.Sprintf("spec.podCIDRs has %d subnets, two are the most there can be", len(texts)), fix}
	}
	for _, text := range texts {
		subnet, err := netip.ParsePrefix(text)
		if err != nil || subnet.Addr().Is4In6() {
			return nil, &fault{fmt.Sprintf("spec.podCIDRs: %q is no subnet", text), fix}
		}
		subnets = append(subnets, subnet.Masked())
	}
	if len(subnets) == 2 && subnets[0].Addr().Is4() == subnets[1].Addr().Is4() {
		return nil, &fault{fmt.Sprintf("spec.podCIDRs has two subnets of one family, %v and %v", subnets[0], subnets[1]), fix}
	}
	return subnets, nil
}

// podSubnets are the pod subnets of this node, which must be in the network.
func podSubnets(s spec, networks []netip.Prefix) ([]netip.Prefix, error) {
	subnets, err := s.cidrs()
	if err != nil {
		return nil, err
	}
	for _, subnet := range subnets {
		inside := slices.ContainsFunc(networks, func(n netip.Prefix) bool {
			return n.Bits() <= subnet.Bits() && n.Contains(subnet.Addr())
		})
		if !inside {
			return nil, &fault{
				fmt.Sprintf("spec.podCIDRs: %v is not inside the pod network %v", subnet, networks),
				"make pods of the network and --cluster-cidr of kube-controller-manager (cluster-cidr of K3s and RKE2) the same; a node that has its subnet already keeps it until its object is deleted",
			}
		}
	}
	return subnets, nil
}

// lease reads the lease in a node's annotations. It is the zero value for a
// node that is not in the network. Families are those of networks; of one
// for which the node writes neither address nor data it has no part.
func (n names) lease(o object, networks []netip.Prefix) (lease.Lease, error) {
	notes := o.Metadata.Annotations
	if notes[n.managed] != "true" {
		return lease.Lease{}, nil
	}
	l := lease.Lease{Backend: notes[n.backend]}
	if l.Backend == "" {
		return lease.Lease{}, fmt.Errorf("annotation %s is missing", n.backend)
	}
	if err := l.SetExtra([]byte(notes[n.extra])); err != nil {
		return lease.Lease{}, fmt.Errorf("annotation %s: %w", n.extra, err)
	}
	// Whoever may write the annotations of one node must not be able to
	// speak for another.
	l.Node = o.Metadata.Name
	subnets, err := o.Spec.cidrs()
	if err != nil {
		return lease.Lease{}, err
	}
	for _, subnet := range subnets {
		if err := n.half(&l, notes, subnet, networks); err != nil {
			return lease.Lease{}, err
		}
	}
	if l.IPv4.IsZero() && l.IPv6.IsZero() {
		return lease.Lease{}, fmt.Errorf("no address: of %s and %s there is none for its pod subnets %v", n.ipv4.address, n.ipv6.address, subnets)
	}
	return l, nil
}

// half reads one family.
func (n names) half(l *lease.Lease, notes map[string]string, subnet netip.Prefix, networks []netip.Prefix) error {
	ipv6 := subnet.Addr().Is6()
	f := n.family(ipv6)
	known := slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Addr().Is6() == ipv6 })
	if !known || notes[f.address] == "" && notes[f.data] == "" {
		return nil
	}
	half := l.Half(ipv6)
	half.Subnet = subnet
	if text := notes[f.address]; text != "" {
		address, err := parseAddress(text, ipv6)
		if err != nil {
			return fmt.Errorf("annotation %s: %w", f.address, err)
		}
		half.Address = address
	}
	if err := l.SetData(ipv6, []byte(notes[f.data])); err != nil {
		return fmt.Errorf("annotation %s: %w", f.data, err)
	}
	return nil
}

// parseAddress reads an address of one family.
func parseAddress(text string, ipv6 bool) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil || address.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%q is no address", text)
	case address.Is6() != ipv6 || address.Is4In6():
		return netip.Addr{}, fmt.Errorf("%s is of the other family", text)
	}
	return address, nil
}

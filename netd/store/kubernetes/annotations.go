package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"weft/netd/lease"
)

// written is what this node's annotations should say, by name; "" stands for
// one that should not be there.
type written map[string]string

// annotations are those of own for this node's object, and the lease that
// peers read from them. What flanneld would write is spelled as flanneld
// spells it, so that changing from one to the other changes no annotation.
func (n names) annotations(own lease.Lease, o object, subnets []netip.Prefix) (written, lease.Lease, error) {
	extra := own
	extra.Node = "" // the object has a name
	note, err := extra.Extra()
	if err != nil {
		return nil, own, fmt.Errorf("own lease: %w", err)
	}
	w := written{n.managed: "true", n.backend: own.Backend, n.extra: string(note)}
	granted := own
	granted.IPv4.Subnet, granted.IPv6.Subnet = netip.Prefix{}, netip.Prefix{}
	for _, subnet := range subnets {
		granted.Half(subnet.Addr().Is6()).Subnet = subnet
	}
	for _, ipv6 := range []bool{false, true} {
		f, half := n.family(ipv6), granted.Half(ipv6)
		w[f.data], w[f.address] = "", ""
		if !half.Subnet.IsValid() {
			*half = lease.Half{}
			continue
		}
		if half.Address, err = n.published(o, half.Address, ipv6); err != nil {
			return nil, own, err
		}
		data, err := granted.Data(ipv6)
		if err != nil {
			return nil, own, fmt.Errorf("own lease: %w", err)
		}
		if half.Address.IsValid() {
			w[f.address] = half.Address.String()
			w[f.data] = "null" // flannel's word for a backend without data
		}
		if len(data) > 0 && (half.Address.IsValid() || half.PublicKey != "") {
			w[f.data] = string(data)
		}
	}
	return w, granted, nil
}

// published is the address of one family that peers are told: what the
// object's annotations ask for, or else the node's own.
func (n names) published(o object, own netip.Addr, ipv6 bool) (netip.Addr, error) {
	f := n.family(ipv6)
	for _, name := range []string{f.overwrite, f.node} {
		text := o.Metadata.Annotations[name]
		if text == "" {
			continue
		}
		address, err := parseAddress(text, ipv6)
		if err != nil {
			return own, &fault{
				fmt.Sprintf("annotation %s: %v", name, err),
				fmt.Sprintf("kubectl annotate node %s %s=ADDRESS --overwrite, or remove it with %s-", o.Metadata.Name, name, name),
			}
		}
		return address, nil
	}
	return own, nil
}

// difference is what of w the annotations there do not say; nil stands for
// one to be removed.
func (w written) difference(there map[string]string) map[string]*string {
	d := map[string]*string{}
	for name, want := range w {
		have, found := there[name]
		switch {
		case want == "" && found:
			d[name] = nil
		case want != "" && have != want:
			d[name] = &want
		}
	}
	return d
}

// annotationsPatch is a merge patch that makes the difference.
func annotationsPatch(difference map[string]*string) ([]byte, error) {
	return json.Marshal(map[string]any{"metadata": map[string]any{"annotations": difference}})
}

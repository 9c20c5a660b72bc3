package profiles

import "net/netip"

// The ranges that K3s and RKE2 take when nothing is said (k3s
// pkg/cli/server/server.go), and the size of a node's part.
var (
	kubernetesPods     = netip.MustParsePrefix("10.42.0.0/16")
	kubernetesServices = netip.MustParsePrefix("10.43.0.0/16")
)

// NetdOn tells whether netd is the pod network of the profile, and not a
// network plugin that comes with the Kubernetes distribution.
func (p Profile) NetdOn() bool {
	if p.Network.Backend.Type == "" {
		return !p.Kubernetes.On()
	}
	return p.Network.Backend.Type != BackendNone
}

// network is the network section with what the Kubernetes distribution says
// when the file says nothing: its ranges, and that netd is not the network.
func (p Profile) network() Network {
	n := p.Network
	if !p.Kubernetes.On() {
		return n
	}
	if len(n.Pods) == 0 && len(n.Services) == 0 {
		n.Pods = []netip.Prefix{kubernetesPods}
		n.Services = []netip.Prefix{kubernetesServices}
	}
	if n.Backend.Type == "" {
		n.Backend.Type = BackendNone
	}
	return n
}

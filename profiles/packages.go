package profiles

// PackageNeed is a Debian package of the board's suite whose programs a
// profile needs on the node.
type PackageNeed struct {
	// Name is the package's.
	Name string `json:"name"`
	// Reason says what stops working without it.
	Reason string `json:"reason"`
	// Path is the key of the profile that asks for it.
	Path string `json:"path"`
}

// PackagesFor lists the packages a profile needs beside weft's own programs.
// Most profiles need none. What these packages need in turn is found by the
// builder, which takes only the files that are used.
func PackagesFor(p Profile) []PackageNeed {
	var need []PackageNeed
	add := func(name, path, reason string) {
		need = append(need, PackageNeed{Name: name, Path: path, Reason: reason})
	}
	if p.Network.Backend.Type == BackendIPsec {
		const path = "network.backend.type"
		add("strongswan-charon", path, "charon agrees with the peers on keys")
		add("strongswan-swanctl", path, "netd tells charon what to do by the plugin vici, which is in this package")
		add("libstrongswan-standard-plugins", path, "the plugin openssl has the elliptic curves of the usual proposal; newer releases have it elsewhere")
	}
	if p.FlannelBackend() == BackendIPsec {
		const path = "kubernetes.distribution"
		add("strongswan-charon", path, "flannel starts charon, which agrees with the peers on keys; K3s brings it no longer")
		add("strongswan-swanctl", path, "flannel tells charon what to do by the plugin vici, which is in this package")
		add("libstrongswan-standard-plugins", path, "the plugin openssl has the elliptic curves of flannel's proposal")
	}
	if p.Network.Firewall.Mode == FirewallIPTables {
		add("iptables", "network.firewall.mode", "netd writes the rules by the program iptables")
	} else if plugin := p.Kubernetes.Plugin(); p.Kubernetes.Distribution == RKE2 && plugin != "" && plugin != "cilium" {
		add("iptables", "kubernetes.distribution", "the portmap plugin runs iptables for host ports, and without it leaks the addresses of pods")
	}
	if p.Kubernetes.On() {
		add(CertificatesPackage, "kubernetes.distribution", "containerd knows the registries that it pulls images from by their authorities")
	}
	return need
}

// CertificatesPackage has the certificates of the authorities that sign those
// of the world's servers.
const CertificatesPackage = "ca-certificates"

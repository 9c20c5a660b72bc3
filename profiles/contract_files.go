package profiles

import (
	"path"

	"weft/document"
)

// BinDir is where payload programs are on a node.
const BinDir = "/usr/local/bin"

// kubernetesFiles adds the programs and files that K3s and RKE2 look for.
func kubernetesFiles(k Kubernetes, c *collector) {
	const at = "kubernetes.distribution"
	name := k.Distribution
	c.file(FileNeed{File: path.Join(BinDir, name), Program: true, By: ByPayload, Name: name, Path: at, Reason: "it is the program itself"})
	for _, f := range []FileNeed{
		{File: "/etc/rancher/" + name + "/config.yaml", Reason: "its settings"},
		{File: "/etc/hosts", Reason: "localhost and the node's own name are found without DNS"},
		{File: "/etc/resolv.conf", Reason: "pods inherit its name servers"},
		{File: "/etc/machine-id", Reason: "the node's identity in the cluster"},
		{File: "/etc/os-release", Reason: "the node says what it runs"},
		{File: "/etc/passwd", Reason: "users have names"},
	} {
		f.By, f.Path = ByWeft, at
		c.file(f)
	}
	if k.Distribution == K3s {
		for _, program := range []string{"host-local", "iptables", "mount", "conntrack"} {
			c.file(FileNeed{File: "/var/lib/rancher/k3s/data/current/bin/" + program, Program: true, By: ByDistribution, Name: "K3s",
				Path: at, Reason: "K3s unpacks its own at its first start"})
		}
	}
	if k.cis() {
		const at = "kubernetes.config.profile"
		c.file(FileNeed{File: "/etc/group", By: ByWeft, Path: at, Reason: "profile cis demands a user and a group etcd"})
	}
}

// cis tells whether RKE2 is to be hardened.
func (k Kubernetes) cis() bool { return k.Distribution == RKE2 && k.setting("profile") != "" }

// CIS tells whether RKE2's profile cis or etcd is asked for, which demands a
// user and a group etcd.
func (p Profile) CIS() bool { return p.Kubernetes.cis() }

// packageFiles adds the programs that come in Debian packages.
func packageFiles(p Profile, c *collector) {
	programs := map[string]string{
		"iptables": "/usr/sbin/iptables", "strongswan-charon": "/usr/lib/ipsec/charon",
	}
	for _, need := range PackagesFor(p) {
		if file, known := programs[need.Name]; known {
			c.file(FileNeed{File: file, Program: true, By: ByPackage, Name: need.Name, Path: need.Path, Reason: need.Reason})
		}
	}
}

// serviceFiles adds the programs of the profile's own services.
func serviceFiles(p Profile, c *collector) {
	for i, s := range p.Services {
		c.file(FileNeed{File: s.File(), Program: true, By: ByPayload, Name: s.Name,
			Path: document.Index("services", i) + ".program", Reason: "the profile asks for it"})
	}
}

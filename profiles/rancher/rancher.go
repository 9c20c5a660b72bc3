// Package rancher writes down what K3s and RKE2 read on a node: config.yaml
// and its drop-ins, registries.yaml, manifests with chart values, CNI lists,
// and how the program itself is run.
//
// It computes bytes from a profile, a node file and what a node knows of
// itself at boot: equal arguments give equal bytes. It touches no disk, and
// depends on no more than init has anyway; init writes what it returns, and
// weft plan --files shows it.
package rancher

import (
	"cmp"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"weft/profiles"
	"weft/profiles/kube"
)

// A File belongs on a node. Exactly one of Data, Link and From says what it
// is.
type File struct {
	// Path is where it lies, from the root.
	Path string
	// Mode are its permissions.
	Mode fs.FileMode
	// Data is its content.
	Data []byte
	// Link is where it points, for a symbolic link.
	Link string
	// From is a file of the image that it is a copy of.
	From string
}

// Own begins the names of weft's files in folders that K3s and RKE2 write to
// themselves: those that are there and not among the files of this boot are
// left over, and init removes them.
const Own = "weft-"

// Where the builder puts what comes with the image; see package
// builder/payload.
const (
	// SeedImages holds archives of container images, SeedManifests
	// manifests.
	SeedImages    = "/usr/share/weft/images"
	SeedManifests = "/usr/share/weft/manifests"
	// TokenFile holds the cluster's token, once init has moved it there from
	// the node file.
	TokenFile = "/etc/rancher/token"
)

// Boot is what a node knows of itself when it has booted.
type Boot struct {
	// Name is its hostname.
	Name string
	// Arch is its Debian architecture; what the profile has for another is
	// left out. Empty for any.
	Arch string
	// Addresses are those its devices have, in a lasting order: temporary,
	// tentative and deprecated ones are left out.
	Addresses []Address
	// Token says that [TokenFile] is there.
	Token bool
}

// An Address is one that a device has.
type Address struct {
	// Interface is the name of the device.
	Interface string
	// Prefix is the address with the length of its network.
	Prefix netip.Prefix
	// Default says that the default route of its family leaves by the device.
	Default bool
}

// Render lists the files of a node as far as they are known before it boots:
// without the addresses that it finds for itself. p is the profile, with or
// without defaults; one without Kubernetes gives no files.
func Render(p profiles.Profile, n profiles.Node) []File {
	at := Boot{Name: n.Hostname, Token: n.Kubernetes.Token != ""}
	return render(p.WithDefaults(), n, at, n.Addresses, "")
}

// RenderAt lists the files of a node that has booted, sorted by path. Where
// neither the node file nor the settings say the node's addresses, they are
// chosen by the rule in network.underlay, of each family of the cluster in the
// cluster's order. When one is not there yet, the error is a [NoAddressError]:
// try again when the node has another address.
func RenderAt(p profiles.Profile, n profiles.Node, at Boot) ([]File, error) {
	p = p.WithDefaults()
	if !p.Kubernetes.On() || RoleOf(p, n) == 0 {
		return nil, nil
	}
	addresses, device := n.Addresses, ""
	if config := configOf(p, n, RoleOf(p, n), nil); len(addresses) == 0 && !config.Has("node-ip") {
		var err error
		if addresses, device, err = NodeAddresses(p.Network, at.Addresses); err != nil {
			return nil, err
		}
	}
	return render(p, n, at, addresses, device), nil
}

// RoleOf is what a node does in Kubernetes; 0 for nothing.
func RoleOf(p profiles.Profile, n profiles.Node) kube.Role {
	k := n.Kubernetes
	switch {
	case !p.Kubernetes.On() || k.Role == profiles.RoleNone:
		return 0
	case k.Role == profiles.RoleServer, k.Role == "" && k.Join == "":
		return kube.Server
	}
	return kube.Agent
}

// render puts the files together. addresses are the node's; device is the one
// they were found on, empty when nobody looked.
func render(p profiles.Profile, n profiles.Node, at Boot, addresses []netip.Addr, device string) []File {
	role := RoleOf(p, n)
	if role == 0 {
		return nil
	}
	k := p.Kubernetes
	place := &kube.Place{
		Name: cmp.Or(at.Name, n.Hostname), Addresses: addresses, External: n.ExternalAddresses,
		Labels: n.Kubernetes.Labels, Taints: n.Kubernetes.Taints, Config: n.Kubernetes.Config,
		Join: n.Kubernetes.Join, Others: n.Kubernetes.More,
	}
	if at.Token {
		place.TokenFile = TokenFile
	}
	files := configFiles(p, n, role, place, device)
	if registries := registriesFile(k); registries != nil {
		files = append(files, File{Path: confDir(k) + "/registries.yaml", Mode: 0o600, Data: registries})
	}
	files = append(files, pluginFiles(p, place.Name)...)
	if role == kube.Server {
		files = append(files, chartFiles(p)...)
		for _, m := range forArch(k.Manifests, at.Arch) {
			files = append(files, File{Path: dataDir(k) + "/server/manifests/" + Own + m.FileName(), Mode: 0o600, From: SeedManifests + "/" + m.FileName()})
		}
	}
	for _, m := range forArch(k.Images, at.Arch) {
		files = append(files, File{Path: dataDir(k) + "/agent/images/" + m.FileName(), Mode: 0o777, Link: SeedImages + "/" + m.FileName()})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files
}

// confDir and dataDir are where a distribution reads its settings and keeps
// its state.
func confDir(k profiles.Kubernetes) string { return "/etc/rancher/" + k.Distribution }
func dataDir(k profiles.Kubernetes) string { return "/var/lib/rancher/" + k.Distribution }

// forArch leaves out what is for another architecture.
func forArch(list []profiles.Payload, arch string) []profiles.Payload {
	return slices.DeleteFunc(slices.Clone(list), func(p profiles.Payload) bool {
		return arch != "" && p.Arch != "" && p.Arch != arch
	})
}

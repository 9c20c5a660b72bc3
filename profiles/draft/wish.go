package draft

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
)

// The address families of a wish.
const (
	IPv4Only  = "ipv4"
	DualStack = "dual-stack"
	IPv6Only  = "ipv6-only"
)

// Families lists them.
func Families() []string { return []string{IPv4Only, DualStack, IPv6Only} }

// Distributions lists what can run on the nodes.
func Distributions() []string { return []string{profiles.NoKubernetes, profiles.K3s, profiles.RKE2} }

// Backends lists the pod networks there are with a distribution; the first is
// what counts when none is wished for.
func Backends(distribution string) []string {
	switch distribution {
	case profiles.K3s:
		return []string{"vxlan", "host-gw", "wireguard-native", "canal", "calico", "cilium", "netd"}
	case profiles.RKE2:
		return []string{"canal", "calico", "cilium", "flannel", "netd"}
	}
	return []string{"vxlan", "host-gw", "wireguard"}
}

// A Wish is what a person wants of a new cluster.
type Wish struct {
	// Name is the cluster's and the profile's.
	Name string
	// Distribution is one of [Distributions], Version its release; the newest
	// when empty.
	Distribution, Version string
	// Backend is one of [Backends]; the first when empty.
	Backend string
	// Families is one of [Families].
	Families string
	// Nodes is how many there are, and Servers how many of them run the
	// control plane.
	Nodes, Servers int
	// First4 and First6 are the addresses of the first node; the others have
	// those that follow.
	First4, First6 netip.Addr
	// Board is the nodes' board; none when empty.
	Board string
	// Random is where the cluster's identity and its local IPv6 prefix come
	// from (RFC 9562, RFC 4193).
	Random [21]byte
}

// A WishError is a wish that cannot be met.
type WishError struct {
	// Flag is what it is about, by the name of weft new's flag; name is the
	// argument.
	Flag, Value string
	// Fix says what to wish for instead.
	Fix string
}

func (e *WishError) Error() string {
	if e.Flag == "name" {
		return fmt.Sprintf("the name %q: %s", e.Value, e.Fix)
	}
	return fmt.Sprintf("--%s %s: %s", e.Flag, e.Value, e.Fix)
}

// Filled is the wish with defaults for what it leaves open.
func (w Wish) Filled() Wish {
	if w.Name == "" {
		w.Name = "home"
	}
	if w.Distribution == "" {
		w.Distribution = profiles.NoKubernetes
	}
	if w.Backend == "" {
		w.Backend = Backends(w.Distribution)[0]
	}
	if w.Families == "" {
		w.Families = IPv4Only
	}
	if w.Nodes == 0 {
		w.Nodes = 1
	}
	if w.Servers == 0 {
		w.Servers = 1
	}
	if !w.First4.IsValid() {
		w.First4 = netip.AddrFrom4([4]byte{192, 168, 1, 11})
	}
	if !w.First6.IsValid() {
		w.First6 = w.local(0x0001, 0x11)
	}
	return w
}

// local is an address of the cluster's own prefix: subnet and host are its
// last numbers.
func (w Wish) local(subnet uint16, host byte) netip.Addr {
	a := [16]byte{0: 0xfd, 6: byte(subnet >> 8), 7: byte(subnet), 15: host}
	copy(a[1:6], w.Random[:5])
	return netip.AddrFrom16(a)
}

// Check says what cannot be met. The wish is [Wish.Filled].
func (w Wish) Check() error {
	of := func(flag, value string, known []string) error {
		if slices.Contains(known, value) {
			return nil
		}
		return &WishError{flag, value, document.DidYouMean(value, known)}
	}
	if err := of("distribution", w.Distribution, Distributions()); err != nil {
		return err
	}
	if err := of("backend", w.Backend, Backends(w.Distribution)); err != nil {
		return err
	}
	if err := of("families", w.Families, Families()); err != nil {
		return err
	}
	if !goodName(w.Name) {
		return &WishError{"name", w.Name, "use lower-case letters, digits and hyphens, at most 40"}
	}
	if _, err := profiles.ParseRelease(w.Version); err != nil {
		return &WishError{"version", w.Version, "write it like v1.33.1"}
	}
	return w.checkNodes()
}

// checkNodes checks the numbers and the addresses of the nodes.
func (w Wish) checkNodes() error {
	switch {
	case w.Nodes < 1 || w.Nodes > cluster.MaxNodes:
		return &WishError{"nodes", fmt.Sprint(w.Nodes), fmt.Sprintf("use 1 to %d", cluster.MaxNodes)}
	case w.Servers < 1 || w.Servers > w.Nodes:
		return &WishError{"servers", fmt.Sprint(w.Servers), fmt.Sprintf("use 1 to %d, the number of nodes", w.Nodes)}
	case !w.First4.Is4() || !w.First4.IsGlobalUnicast():
		return &WishError{"first", w.First4.String(), "use an address such as 192.168.1.11"}
	case !w.First6.Is6() || w.First6.Is4In6() || !w.First6.IsGlobalUnicast():
		return &WishError{"first6", w.First6.String(), "use an address such as fd00::11"}
	}
	last := w.First4
	for range w.Nodes - 1 {
		last = last.Next()
	}
	if !last.IsValid() || netip.PrefixFrom(w.First4, 16).Masked() != netip.PrefixFrom(last, 16).Masked() {
		return &WishError{"first", w.First4.String(), "there are not enough addresses behind it"}
	}
	return nil
}

// goodName tells whether a name can be a cluster's: a part of file names and
// of the names of nodes (RFC 1123).
func goodName(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		!strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-")
}

// Values are the profile and the cluster of a wish, which is [Wish.Filled] and
// met [Wish.Check].
func (w Wish) Values() (profiles.Profile, cluster.Cluster) {
	p := profiles.Profile{Weft: profiles.Version, Name: w.Name, Network: w.network(), Kubernetes: w.kubernetes()}
	p.Description = "the pod network of " + w.Name
	c := cluster.Cluster{Weft: cluster.Version, Name: w.Name, ID: w.id(), Board: w.Board, Profile: "./" + w.Name + ".yaml"}
	if w.Distribution != profiles.NoKubernetes && w.Nodes > 1 {
		c.Secrets = "./" + Secrets(w.Name)
	}
	four, six := w.First4, w.First6
	for i := range w.Nodes {
		n := cluster.Node{Name: fmt.Sprintf("%s-%d", w.Name, i+1)}
		if w.Families != IPv6Only {
			n.Addresses = append(n.Addresses, four)
		}
		if w.Families != IPv4Only {
			n.Addresses = append(n.Addresses, six)
		}
		four, six = four.Next(), six.Next()
		if w.Distribution != profiles.NoKubernetes {
			n.Role = cluster.Agent
			if i < w.Servers {
				n.Role = cluster.Server
			}
			n.Bootstrap = i == 0 && w.Servers > 1
		}
		c.Nodes = append(c.Nodes, n)
	}
	return p, c
}

// network is the network section.
func (w Wish) network() profiles.Network {
	pods, services := "10.42.0.0/16", "10.43.0.0/16"
	if w.Distribution == profiles.NoKubernetes {
		pods, services = "10.244.0.0/16", "10.96.0.0/16"
	}
	var n profiles.Network
	if w.Families != IPv6Only {
		n.Pods = append(n.Pods, netip.MustParsePrefix(pods))
		n.Services = append(n.Services, netip.MustParsePrefix(services))
	}
	if w.Families != IPv4Only {
		n.Pods = append(n.Pods, netip.PrefixFrom(w.local(0x4200, 0), 56))
		n.Services = append(n.Services, netip.PrefixFrom(w.local(0x4300, 0), 112))
		n.Masquerade.IPv6 = &yes
	}
	switch {
	case w.Distribution == profiles.NoKubernetes:
		n.Backend.Type = w.Backend
	case w.Backend == "netd":
		n.Backend.Type = profiles.BackendVXLAN
	}
	return n
}

var yes = true

// kubernetes is the section of what runs on the nodes.
func (w Wish) kubernetes() profiles.Kubernetes {
	k := profiles.Kubernetes{Distribution: w.Distribution, Version: w.Version}
	switch {
	case w.Distribution == profiles.NoKubernetes:
		return profiles.Kubernetes{}
	case w.Backend == "netd":
	case w.Distribution == profiles.RKE2:
		k.CNI = []string{w.Backend}
	case slices.Contains([]string{"canal", "calico", "cilium"}, w.Backend):
		k.CustomCNI = w.Backend
	default:
		k.Server = map[string]any{"flannel-backend": w.Backend}
	}
	return k
}

// id is the identity of the cluster, a random UUID (RFC 9562, section 5.4).
func (w Wish) id() string {
	b := [16]byte(w.Random[5:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

package profiles

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"weft/document"
)

// Stores lists the stores netd has.
var Stores = []string{StoreStatic, StoreEtcd, StoreKubernetes}

// storeRules are what the choice of the store must keep. netd's stores refuse
// the same when they are made; here it is known where it stands.
var storeRules = []document.Rule[Network]{
	{ID: "N46", Source: "stores of netd", Check: checkStore},
	{ID: "N47", Source: "etcd's client API: gRPC over http or https; flannel pkg/subnet/config.go: SubnetMin, SubnetMax", Check: checkEtcd},
	{ID: "N48", Source: "RFC 1123 names; flannel pkg/subnet/kube/annotations.go", Check: checkKubernetesStore},
	{ID: "N49", Source: "RFC 8446, section 4.4: who has a certificate proves its key; a daemon runs in no folder of its own", Check: checkCredentials},
}

// checkStore refuses a store that there is not, and warns of what is said of
// one that is not used.
func checkStore(n Network, d *document.Document) document.Problems {
	kind := n.Store.Type
	if kind == "" && !d.Has("network.store.type") {
		kind = StoreStatic
	}
	if !slices.Contains(Stores, kind) {
		return document.Problems{d.Problem("network.store.type", fmt.Sprintf("there is no store %q", kind)).
			WithFix(document.DidYouMean(kind, Stores))}
	}
	var found document.Problems
	for _, other := range []string{StoreEtcd, StoreKubernetes} {
		if at := "network.store." + other; other != kind && alike(d, at, "network.store.type") {
			found = append(found, d.KeyProblem(at, fmt.Sprintf("the store is %s, and what is said of %s has no effect", kind, other)).
				WithLevel(document.Warning).WithFix("write type: "+other+", or remove it"))
		}
	}
	return found
}

// alike reports whether a file says what is at path, and it is the same file
// that says what decides about it: what came with a profile that another
// extends was right there, and cannot be taken out.
func alike(d *document.Document, at, decides string) bool {
	return d.Has(at) && (!d.Has(decides) || d.Position(at).File == d.Position(decides).File)
}

// checkEtcd wants endpoints that a client can use, and bounds that are
// subnets of the network.
func checkEtcd(n Network, d *document.Document) document.Problems {
	if n.Store.Type != StoreEtcd {
		return nil
	}
	e := n.Store.Etcd
	var found document.Problems
	for i, text := range e.Endpoints {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
			found = append(found, d.Problem(document.Index("network.store.etcd.endpoints", i), fmt.Sprintf("%q is no endpoint of etcd", text)).
				WithFix("write a URL such as https://10.0.0.1:2379"))
		}
	}
	if len(n.Pods) == 0 || !n.Pods[0].IsValid() {
		return found // rule N3
	}
	n = n.WithDefaults()
	low := boundsOf(n, e.SubnetMin, "network.store.etcd.subnetMin", d, &found)
	high := boundsOf(n, e.SubnetMax, "network.store.etcd.subnetMax", d, &found)
	for i, l := range low {
		if h := high[i]; l.IsValid() && h.IsValid() && h.Less(l) {
			found = append(found, d.Problem("network.store.etcd.subnetMin", fmt.Sprintf("the lowest subnet %s is above the highest, %s", l, h)).
				WithFix("exchange them, or remove both to have the whole network"))
		}
	}
	return found
}

// The rule about subnets that are said of a node although its store gives them.
const (
	ruleGivenSubnets   = "N29"
	givenSubnetsSource = "Kubernetes API, Node: spec.podCIDRs; flannel pkg/subnet/kube/kube.go, nodeToLease"
)

// givenSubnets refuses subnets of a node at path of d where Kubernetes gives
// them: peers read them from the node's object, and one that the node believes
// to have besides reaches nobody.
func givenSubnets(d *document.Document, path string, list []netip.Prefix, n Network) document.Problems {
	if len(list) == 0 || n.Store.Type != StoreKubernetes {
		return nil
	}
	return document.Problems{d.Problem(path, "with store kubernetes a node's subnets are the spec.podCIDRs of its object").
		WithNote("peers go by those, whatever is said here").
		WithFix("remove subnets; kube-controller-manager gives each node its own (--allocate-node-cidrs, --cluster-cidr)")}
}

// boundsOf are the bounds for each range of pods; those that no subnet begins
// with are told of and left out.
func boundsOf(n Network, list []netip.Addr, at string, d *document.Document, found *document.Problems) []netip.Addr {
	all := make([]netip.Addr, len(n.Pods))
	*found = append(*found, onePerFamily(d, at, list)...)
	for i, a := range list {
		fits := false
		for j, pods := range n.Pods {
			length := n.SubnetLength.IPv4
			if a.Is6() {
				length = n.SubnetLength.IPv6
			}
			subnet := netip.PrefixFrom(a, length)
			if pods.IsValid() && pods.Contains(a) && subnet.Masked() == subnet {
				all[j], fits = a, true
			}
		}
		if a.IsValid() && !fits {
			*found = append(*found, d.Problem(document.Index(at, i), fmt.Sprintf("no subnet of the pods begins with %s", a)).
				WithFix("write the first address of one, such as that of "+nthSubnet(n.Pods[0], subnetLengthOf(n), 1).String()))
		}
	}
	return all
}

// subnetLengthOf is the length of subnets of the first range of pods, of a
// network with its defaults.
func subnetLengthOf(n Network) int {
	if n.Pods[0].Addr().Is4() {
		return n.SubnetLength.IPv4
	}
	return n.SubnetLength.IPv6
}

var (
	// annotationPrefix is what may stand before the names of annotations: a
	// domain, and after a slash the beginning of a name.
	annotationPrefix = lazily(`^([a-z0-9_-]+\.)+[a-z0-9_-]+(/([a-z0-9_-]*[a-z0-9_]|[a-z0-9_-]+-)?)?$`)
	// kubernetesNode is what a node is called there: a DNS subdomain.
	kubernetesNode = lazily(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
)

// checkKubernetesStore wants it to be said where the API server is, and under
// which names leases are there.
func checkKubernetesStore(n Network, d *document.Document) document.Problems {
	const at = "network.store.kubernetes"
	if n.Store.Type != StoreKubernetes {
		return nil
	}
	k := n.Store.Kubernetes
	var found document.Problems
	if k.Kubeconfig == "" && len(k.Servers) == 0 {
		found = append(found, d.Problem(at, "it is not said where the API server is").
			WithFix("add kubernetes: {kubeconfig: FILE} to network.store, or servers with caFile and a credential"))
	}
	for i, text := range k.Servers {
		if k.Kubeconfig == "" && !isServer(text) {
			found = append(found, d.Problem(document.Index(at+".servers", i), fmt.Sprintf("%q is no API server", text)).
				WithNote("plain http is for this host alone").
				WithFix("write https://HOST:PORT"))
		}
	}
	if p := k.AnnotationPrefix; p != "" && !annotationPrefix().MatchString(p) {
		found = append(found, d.Problem(at+".annotationPrefix", fmt.Sprintf("%q is no domain with an optional /name", p)).
			WithFix("remove it, or write one like flannel.alpha.coreos.com"))
	}
	if k.Node != "" && !kubernetesNode().MatchString(k.Node) {
		found = append(found, d.Problem(at+".node", fmt.Sprintf("%q is no name of a node", k.Node)).
			WithFix("write what kubectl get nodes says"))
	}
	return found
}

// isServer tells whether text is the URL of an API server: https, or http on
// this host.
func isServer(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	host, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && host.IsLoopback()
}

// A credential is a setting of a store that names a file or, where user is
// set, who logs in; it counts only with another.
type credential struct {
	key, value string
	user       bool
	with, and  string // the other's key and value; no other when with is empty
}

// credentials are those of the store in use, and where they stand.
func credentials(s Store) (at string, all []credential) {
	switch e, k := s.Etcd, s.Kubernetes; {
	case s.Type == StoreEtcd:
		return "network.store.etcd", []credential{
			{key: "caFile", value: e.CAFile},
			{key: "certFile", value: e.CertFile, with: "keyFile", and: e.KeyFile},
			{key: "keyFile", value: e.KeyFile, with: "certFile", and: e.CertFile},
			{key: "username", value: e.Username, user: true, with: "passwordFile", and: e.PasswordFile},
			{key: "passwordFile", value: e.PasswordFile, with: "username", and: e.Username},
		}
	case s.Type != StoreKubernetes:
		return "", nil
	case k.Kubeconfig != "": // the others do not count then
		return "network.store.kubernetes", []credential{{key: "kubeconfig", value: k.Kubeconfig}, {key: "ownKubeconfig", value: k.OwnKubeconfig}}
	default:
		return "network.store.kubernetes", []credential{
			{key: "caFile", value: k.CAFile},
			{key: "certFile", value: k.CertFile, with: "keyFile", and: k.KeyFile},
			{key: "keyFile", value: k.KeyFile, with: "certFile", and: k.CertFile},
			{key: "tokenFile", value: k.TokenFile},
			{key: "ownKubeconfig", value: k.OwnKubeconfig},
		}
	}
}

// checkCredentials wants files that netd finds wherever it runs, a key with
// each certificate and a user with each password.
func checkCredentials(n Network, d *document.Document) document.Problems {
	var found document.Problems
	at, all := credentials(n.Store)
	for _, c := range all {
		switch f := c.value; {
		case f == "":
		case !c.user && (!path.IsAbs(f) || path.Clean(f) != f || f == "/"):
			found = append(found, d.Problem(at+"."+c.key, fmt.Sprintf("%q is no absolute path of a file", f)).
				WithFix("write it in full, such as /etc/weft/"+c.key))
		case c.with != "" && c.and == "":
			found = append(found, d.Problem(at+"."+c.key, fmt.Sprintf("%s stands without %s", c.key, c.with)).
				WithFix("add "+c.with+", or remove "+c.key))
		}
	}
	return found
}

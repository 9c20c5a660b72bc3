package profiles

// The distributions of Kubernetes, by the names of [Kubernetes.Distribution].
const (
	// K3s is Rancher's small Kubernetes in one program.
	K3s = "k3s"
	// RKE2 is Rancher's hardened Kubernetes, made of static pods.
	RKE2 = "rke2"
	// NoKubernetes leaves the node to netd and to what the profile adds.
	NoKubernetes = "none"
)

// Kubernetes says which Kubernetes runs on the nodes and how it is configured.
//
// The pod and service ranges are those of the network section: they become
// cluster-cidr and service-cidr, and subnetLength becomes node-cidr-mask-size,
// unless the config maps say otherwise.
type Kubernetes struct {
	// Distribution is k3s, rke2 or none; none when empty.
	Distribution string `yaml:"distribution,omitempty"`
	// Version is the release, such as v1.33.1+k3s1. Rules that depend on the
	// version take the newest when it is empty.
	Version string `yaml:"version,omitempty"`
	// Config are settings of every node, by the distribution's own key names,
	// as in its config.yaml.
	Config map[string]any `yaml:"config,omitempty"`
	// Server are settings of servers, on top of Config.
	Server map[string]any `yaml:"server,omitempty"`
	// Agent are settings of agents, on top of Config.
	Agent map[string]any `yaml:"agent,omitempty"`
	// CNI are RKE2's network plugins: canal, calico, cilium, flannel or none,
	// with multus before it if it is wanted; canal when empty.
	CNI []string `yaml:"cni,omitempty"`
	// CustomCNI is a network plugin that is installed on K3s instead of its
	// own flannel: canal, calico or cilium; none when empty.
	CustomCNI string `yaml:"customCNI,omitempty"`
	// Charts are values of packaged Helm charts, by the name of the chart, such
	// as rke2-canal or traefik. Each becomes a HelmChartConfig.
	Charts map[string]map[string]any `yaml:"charts,omitempty"`
	// CoreDNS is the cluster's name server.
	CoreDNS CoreDNS `yaml:"coreDNS,omitempty"`
	// Traefik false leaves K3s's ingress controller out, or makes RKE2 have
	// none; the distribution's default when nil.
	Traefik *bool `yaml:"traefik,omitempty"`
	// ServiceLB false leaves out the load balancer for services (Klipper);
	// the distribution's default when nil.
	ServiceLB *bool `yaml:"serviceLB,omitempty"`
	// NetworkPolicy false leaves out K3s's enforcement of network policies;
	// true when nil.
	NetworkPolicy *bool `yaml:"networkPolicy,omitempty"`
	// KubeProxy false leaves out kube-proxy, for network plugins that do its
	// work; true when nil.
	KubeProxy *bool `yaml:"kubeProxy,omitempty"`
	// Registries is where images are pulled from.
	Registries Registries `yaml:"registries,omitempty"`
	// Images are archives of container images that are there at first start,
	// for nodes without a way to a registry.
	Images []Payload `yaml:"images,omitempty"`
	// Payload is the program itself, called k3s or rke2 or as the release
	// page calls it, and others beside it; they are put into /usr/local/bin.
	// An image cannot be built without the program.
	Payload []Payload `yaml:"payload,omitempty"`
	// Manifests are files that servers apply at start.
	Manifests []Payload `yaml:"manifests,omitempty"`
}

// CoreDNS is the name server of a cluster.
type CoreDNS struct {
	// Enabled false leaves it out; true when nil.
	Enabled *bool `yaml:"enabled,omitempty"`
	// Addresses are its service addresses (cluster-dns), one of each family;
	// the tenth of each service range when empty.
	Addresses []string `yaml:"addresses,omitempty"`
	// Domain is the name below which services are (cluster-domain);
	// cluster.local when empty.
	Domain string `yaml:"domain,omitempty"`
}

// Registries is what is written to registries.yaml.
type Registries struct {
	// Mirrors are the places asked instead of a registry, by the registry's
	// name; * is every registry.
	Mirrors map[string]Mirror `yaml:"mirrors,omitempty"`
	// Configs are TLS and other settings of a registry, as K3s takes them.
	Configs map[string]map[string]any `yaml:"configs,omitempty"`
}

// Mirror is what is asked instead of a registry.
type Mirror struct {
	// Endpoints are URLs, tried in turn.
	Endpoints []string `yaml:"endpoints"`
	// Rewrite maps expressions that match image names to what replaces them.
	Rewrite map[string]string `yaml:"rewrite,omitempty"`
}

// Payload is a file that is fetched, verified and put into the image.
type Payload struct {
	// Name is what the file is called on the node; the last part of Path or
	// URL when empty.
	Name string `yaml:"name,omitempty"`
	// Path is a file beside the profile. One of Path and URL is given.
	Path string `yaml:"path,omitempty"`
	// URL is where the file is fetched from, https.
	URL string `yaml:"url,omitempty"`
	// SHA256 is the digest of the file in hexadecimal; a URL needs it.
	SHA256 string `yaml:"sha256,omitempty"`
	// Arch is the Debian architecture it is for, such as arm64; every one
	// when empty.
	Arch string `yaml:"arch,omitempty"`
}

// On tells whether a Kubernetes runs on the nodes.
func (k Kubernetes) On() bool {
	return k.Distribution != "" && k.Distribution != NoKubernetes
}

// Override silences one rule.
type Override struct {
	// Rule is the id of the rule, such as B5.
	Rule string `yaml:"rule"`
	// Reason says why the rule does not hold here.
	Reason string `yaml:"reason"`
}

package profiles

import (
	"strings"
	"testing"
)

const (
	// storePlace is where the cases put a store into base.
	storePlace = "  masquerade: {ipv4: true, ipv6: true}"
	before     = storePlace + "\n  store: "
	kubeconfig = before + "{type: kubernetes, kubernetes: {kubeconfig: /etc/weft/kubeconfig}}"
)

// inEtcd and inKubernetes are stores with settings.
func inEtcd(settings string) string { return before + "{type: etcd, etcd: {" + settings + "}}" }

func inKubernetes(settings string) string {
	return before + "{type: kubernetes, kubernetes: {" + settings + "}}"
}

// storeCases are of profiles.
var storeCases = []ruleCase{
	{"N46", "a misspelt store", storePlace, before + "{type: etcdd}", before + "{type: etcd}"},
	{"N46", "no name of a store", storePlace, before + `{type: ""}`, before + "{}"},
	{"N46", "settings of another store", storePlace, before + `{type: static, etcd: {prefix: /a}}`, inEtcd("prefix: /a")},
	{"N46", "settings of a store that is not chosen", storePlace, before + `{kubernetes: {node: a}}`, kubeconfig},
	{"N47", "an endpoint by FTP", storePlace, inEtcd(`endpoints: ["ftp://x"]`), inEtcd(`endpoints: ["http://x"]`)},
	{"N47", "an endpoint without a scheme", storePlace, inEtcd(`endpoints: ["10.0.0.1:2379"]`), inEtcd(`endpoints: ["https://10.0.0.1:2379/"]`)},
	{"N47", "an endpoint with a path", storePlace, inEtcd(`endpoints: ["https://x/v3"]`), inEtcd(`endpoints: ["https://[fd00::1]"]`)},
	{"N47", "a lowest subnet elsewhere", storePlace, inEtcd("subnetMin: [10.245.1.0]"), inEtcd("subnetMin: [10.244.1.0]")},
	{"N47", "a highest subnet that is none", storePlace, inEtcd("subnetMax: [10.244.1.128]"), inEtcd("subnetMax: [10.244.255.0]")},
	{"N47", "two lowest subnets", storePlace, inEtcd("subnetMin: [10.244.1.0, 10.244.2.0]"), inEtcd(`subnetMin: [10.244.1.0, "fd42:0:0:1::"]`)},
	{"N47", "the lowest above the highest", storePlace, inEtcd("subnetMin: [10.244.2.0], subnetMax: [10.244.1.0]"), inEtcd("subnetMin: [10.244.1.0], subnetMax: [10.244.1.0]")},
	{"N48", "no API server", storePlace, before + "{type: kubernetes}", kubeconfig},
	{"N48", "a server without https", storePlace, inKubernetes(`servers: ["http://10.0.0.1:6443"]`), inKubernetes(`servers: ["http://127.0.0.1:8001", "https://10.0.0.1:6443"]`)},
	{"N48", "a server with a password", storePlace, inKubernetes(`servers: ["https://a:b@x"]`), inKubernetes(`servers: ["https://x"]`)},
	{"N48", "a prefix of three parts", storePlace, inKubernetes("kubeconfig: /k, annotationPrefix: a/b/c"), inKubernetes("kubeconfig: /k, annotationPrefix: a.b/c")},
	{"N48", "a node with an underscore", storePlace, inKubernetes("kubeconfig: /k, node: a_b"), inKubernetes("kubeconfig: /k, node: a.b")},
	{"N49", "a certificate without a key", storePlace, inEtcd("certFile: /c"), inEtcd("certFile: /c, keyFile: /k")},
	{"N49", "a key without a certificate", storePlace, inKubernetes(`servers: ["https://x"], keyFile: /k`), inKubernetes(`servers: ["https://x"], certFile: /c, keyFile: /k`)},
	{"N49", "a user without a password", storePlace, inEtcd("username: root"), inEtcd("username: root, passwordFile: /p")},
	{"N49", "a relative kubeconfig", storePlace, inKubernetes("kubeconfig: kube/config"), kubeconfig},
	{"N49", "a relative kubeconfig of the node", storePlace, inKubernetes("kubeconfig: /k, ownKubeconfig: k"), inKubernetes("kubeconfig: /k, ownKubeconfig: /o")},
	{"N49", "a relative authority", storePlace, inEtcd("caFile: ca.pem"), inEtcd("caFile: /ca.pem")},
}

func TestStoreRules(t *testing.T) { tryCases(t, base, storeCases, problemsOf(Read)) }

// What a person has not said is as on a node built by weft.
func TestPathsMayBeLeftOut(t *testing.T) {
	n, _, problems := ReadNetd("netd.yaml", []byte("weft: netd/v1\nnode: {name: node-1, uuid: 0b9f1c3e-0000-4000-8000-000000000001, subnets: [10.244.1.0/24]}\n"+
		"network: {pods: [10.244.0.0/16], backend: {type: vxlan}}\npaths: {state: /var/lib/weft}\n"))
	want := DefaultNetdPaths
	want.State = "/var/lib/weft"
	if len(problems) > 0 || n.Paths != want {
		t.Errorf("paths are %+v, problems %v", n.Paths, problems)
	}
}

// It is told where it stands, and the way out is what Kubernetes calls it.
func TestSubnetsBesideKubernetesAreRefusedWhereTheyStand(t *testing.T) {
	text := strings.Replace(baseNetd, "  peers:\n", "  store: {type: kubernetes, kubernetes: {kubeconfig: /k}}\n  peers:\n", 1)
	_, _, problems := ReadNetd("netd.yaml", []byte(text))
	if len(problems) != 1 || problems[0].Line != 6 || problems[0].Column != 3 || !strings.Contains(problems[0].Fix, "--allocate-node-cidrs") {
		t.Errorf("problems are\n%v", problems)
	}
	n := sound(t, ReadNode, baseNode)
	n.Peers = nil
	p := sound(t, Read, base)
	p.Network.Store = Store{Type: StoreKubernetes, Kubernetes: KubernetesStore{Kubeconfig: "/k"}}
	if _, err := NetdFor(p, n, "node-1", uuid1); err == nil || !strings.Contains(err.Error(), "spec.podCIDRs") {
		t.Errorf("a node file with subnets: %v", err)
	}
	n.Subnets = nil
	if got, err := NetdFor(p, n, "node-1", uuid1); err != nil || len(got.Node.Subnets) != 0 {
		t.Errorf("a list of peers with the node's own entry: %v, %v", got.Node.Subnets, err)
	}
}

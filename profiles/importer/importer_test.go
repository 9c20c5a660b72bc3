package importer

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// of makes sources of names and texts, in turn.
func of(parts ...string) []Source {
	var all []Source
	for i := 0; i+1 < len(parts); i += 2 {
		all = append(all, Source{parts[i], []byte(parts[i+1])})
	}
	return all
}

// sound imports sources that must not be refused.
func sound(t *testing.T, o Options, parts ...string) Result {
	t.Helper()
	r := Import(of(parts...), o)
	if err := r.Problems.Errors(); err != nil {
		t.Fatal(err)
	}
	return r
}

// told lists the rules of the problems, with ! for those that refuse.
func told(r Result) string {
	var all []string
	for _, p := range r.Problems {
		id := p.Rule
		if p.Level == document.Error {
			id += "!"
		}
		all = append(all, id)
	}
	return strings.Join(all, " ")
}

// wireguard is what all legacy backends become.
const wireguard = "flannel-backend: wireguard-native"

// TestExamplesOfTheDocumentation states what becomes of every configuration in
// four pages that people set their clusters up by: the K3s documentation's
// network options of today and of 2022, a K3s how-to of 2023, and the RKE2
// documentation's network options.
func TestExamplesOfTheDocumentation(t *testing.T) {
	const accepted, corrected, refused, inert = "accepted", "corrected", "refused", "nothing to carry"
	for _, c := range []struct{ file, outcome, rules, has string }{
		// K3s documentation, Basic network options.
		{"k3s-flannel-options-ipv6-masq.sh", refused, "D8!", "pods have no IPv6 addresses"},
		{"k3s-flannel-options-external-ip.sh", accepted, "D6", "externalIP: true"},
		{"k3s-flannel-options-vxlan.sh", accepted, "", "flannel-backend: vxlan"},
		{"k3s-flannel-options-host-gw.sh", accepted, "", "flannel-backend: host-gw"},
		{"k3s-flannel-options-wireguard-native.sh", accepted, "", wireguard},
		{"k3s-flannel-options-ipsec.sh", corrected, "D1", wireguard},
		{"k3s-flannel-options-none.sh", accepted, "D9", "flannel-backend: none"},
		{"k3s-migrating-from-wireguard.yaml", corrected, "D1", wireguard},
		{"k3s-migrating-from-ipsec.yaml", corrected, "D1", wireguard},
		{"k3s-migrating-to-wireguard-native.yaml", accepted, "", wireguard},
		{"k3s-custom-cni.sh", accepted, "D9", "networkPolicy: false"},
		{"k3s-custom-cni-canal.json", refused, "A1!", "part of a network plugin's configuration"},
		{"k3s-custom-cni-canal-check.sh", refused, "A1!", "no K3s or RKE2 in this"},
		{"k3s-egress-selector-disabled.sh", accepted, "", "egress-selector-mode: disabled"},
		{"k3s-egress-selector-agent.sh", accepted, "", "egress-selector-mode: agent"},
		{"k3s-egress-selector-pod.sh", accepted, "", "egress-selector-mode: pod"},
		{"k3s-egress-selector-cluster.sh", accepted, "", "egress-selector-mode: cluster"},
		{"k3s-dual-stack-known-issue-ipv4.sh", accepted, "", "node-ip=0.0.0.0"},
		{"k3s-dual-stack-known-issue-ipv6.sh", accepted, "", "node-ip=::"},
		{"k3s-dual-stack.sh", accepted, "B13", "pods: [10.42.0.0/16, '2001:cafe:42::/56']"},
		{"k3s-single-stack-ipv6-known-issue.conf", inert, "I3", "changes nothing on Linux"},
		{"k3s-single-stack-ipv6.sh", accepted, "B13", "services: ['2001:cafe:43::/112']"},
		{"k3s-nodes-without-a-hostname-flag.sh", accepted, "", "name: node-1"},
		{"k3s-nodes-without-a-hostname-variable.sh", accepted, "", "name: node-1"},
		// K3s documentation of 2022.
		{"k3s-old-flannel-options-vxlan.sh", accepted, "", "flannel-backend: vxlan"},
		{"k3s-old-flannel-options-ipsec.sh", corrected, "D1", wireguard},
		{"k3s-old-flannel-options-host-gw.sh", accepted, "", "flannel-backend: host-gw"},
		{"k3s-old-flannel-options-wireguard.sh", corrected, "D1", wireguard},
		{"k3s-old-flannel-options-ipv6-masq.sh", refused, "D8!", "pods have no IPv6 addresses"},
		{"k3s-old-custom-cni.sh", accepted, "D9", "networkPolicy: false"},
		{"k3s-old-custom-cni-canal.json", refused, "A1!", "weft sets allow_ip_forwarding itself"},
		{"k3s-old-custom-cni-canal-check.sh", refused, "A1!", "no K3s or RKE2 in this"},
		{"k3s-old-custom-cni-calico.json", refused, "A1!", "weft sets allow_ip_forwarding itself"},
		{"k3s-old-custom-cni-calico-check.sh", refused, "A1!", "no K3s or RKE2 in this"},
		// Its service range lies in its pod range.
		{"k3s-old-dual-stack.sh", accepted, "B13 B11", "addresses: [10.0.10.7, '2a05:d012:c6f:4611:5c2:5602:eed2:898c']"},
		// Its way to IPv6 only sets no range: it is a cluster of IPv4.
		{"k3s-old-ipv6-only.sh", accepted, "", "pods: [10.42.0.0/16]"},
		// The how-to of 2023.
		{"k3s-add-ons-cluster-cidr.sh", accepted, "", "pods: [10.42.0.0/16]"},
		{"k3s-add-ons-service-cidr.sh", accepted, "", "services: [10.43.0.0/16]"},
		{"k3s-add-ons-flannel-backend-none.sh", accepted, "D9", "flannel-backend: none"},
		{"k3s-add-ons-flannel-backend-vxlan.sh", accepted, "", "flannel-backend: vxlan"},
		{"k3s-add-ons-flannel-backend-ipsec.sh", corrected, "D1", wireguard},
		{"k3s-add-ons-flannel-backend-host-gw.sh", accepted, "", "flannel-backend: host-gw"},
		{"k3s-add-ons-flannel-backend-wireguard.sh", corrected, "D1", wireguard},
		{"k3s-add-ons-flannel-interfaces.sh", refused, "A1!", "no K3s or RKE2 in this"},
		{"k3s-add-ons-cluster-dns.sh", accepted, "", "addresses: [10.43.0.10]"},
		{"k3s-add-ons-cluster-domain.sh", accepted, "", "domain: cluster.local"},
		{"k3s-add-ons-traefik.sh", accepted, "", "traefik: false"},
		{"k3s-add-ons-klipper-lb.sh", accepted, "", "serviceLB: false"},
		// RKE2 documentation, Network options.
		{"rke2-canal-interface.yaml", accepted, "", "iface: eth1"},
		{"rke2-canal-wireguard.yaml", accepted, "", "backend: wireguard"},
		{"rke2-canal-restart.sh", refused, "A1!", "no K3s or RKE2 in this"},
		{"rke2-cilium.sh", accepted, "", "cni: [cilium]"},
		{"rke2-cilium-eni.yaml", accepted, "G6", "cni: [cilium]"},
		{"rke2-cilium-kube-proxy.sh", refused, "G2!", "nothing does kube-proxy's work"},
		{"rke2-cilium-kube-proxy.yaml", refused, "G6 G2! G2!", "<KUBE_API_SERVER_IP> stands for a value"},
		{"rke2-cilium-hubble.yaml", accepted, "G6", "relay:"},
		{"rke2-calico.sh", accepted, "", "cni: [calico]"},
		{"rke2-calico-mtu.yaml", accepted, "G6", "mtu: 9000"},
		{"rke2-flannel.sh", accepted, "G5", "cni: [flannel]"},
		{"rke2-dual-stack.yaml", accepted, "B13", "services: [10.43.0.0/16, '2001:cafe:43::/112']"},
		{"rke2-ipv6-setup.hosts", inert, "G7", "weft writes a hosts file"},
		{"rke2-nodes-without-a-hostname.yaml", accepted, "", "name: node-1"},
	} {
		t.Run(c.file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata/pages", c.file))
			if err != nil {
				t.Fatal(err)
			}
			dist, _, _ := strings.Cut(c.file, "-")
			r := Import([]Source{{c.file, text}}, Options{Distribution: dist})
			outcome := accepted
			switch {
			case r.Problems.Errors() != nil:
				outcome = refused
			case len(r.Steps) > 0:
				outcome = corrected
			case len(r.Files) == 0:
				outcome = inert
			}
			if outcome != c.outcome || told(r) != c.rules {
				t.Errorf("%s with %q, want %s with %q\n%v", outcome, told(r), c.outcome, c.rules, r.Problems)
			}
			all := r.Problems.Error()
			for _, f := range r.Files {
				all += string(f.Text)
			}
			if !strings.Contains(all, c.has) {
				t.Errorf("there is no %q in\n%s", c.has, all)
			}
		})
	}
	files, err := os.ReadDir("testdata/pages")
	if err != nil || len(files) != 62 {
		t.Errorf("%d examples, %v: state the outcome of each", len(files), err)
	}
}

const (
	server = "flannel-backend: wireguard-native\ntoken: K10secret\n"
	three  = "cluster-init: true\ntoken: K10secret\nnode-name: Pi-1\nnode-ip: 192.168.1.11,fd00::11\nnode-label: [disk=ssd]\n" +
		"cluster-cidr: 10.42.1.0/16,fd42:42::/56\nservice-cidr: [10.43.0.0/16, 'fd42:43::/112']\nflannel-ipv6-masq: \"true\"\n" +
		"kube-controller-manager-arg: [node-cidr-mask-size-ipv4=25, v=2]\nno-deploy: [traefik, local-storage]\n"
	unit = "[Unit]\nDescription=Don't care\n[Service]\nEnvironment=K3S_URL=https://192.168.1.11:6443\nExecStart=/usr/local/bin/k3s \\\n" +
		"    agent \\\n\t'--node-ip=192.168.1.12,fd00::12' \\\n\t--flannel-backend=host-gw\n"
	install = "curl -sfL https://get.k3s.io | INSTALL_K3S_VERSION=v1.30.2+k3s1 INSTALL_K3S_EXEC=\"agent --node-ip 192.168.1.13,fd00::13\" K3S_URL=https://192.168.1.11:6443 K3S_TOKEN=$TOKEN sh -s - --kubelet-arg=max-pods=100 --kubelet-arg v=2 # why\n"
)

func TestNodesBecomeACluster(t *testing.T) {
	r := sound(t, Options{Name: "home"}, "a/config.yaml", three, "a/config.yaml.d/20-x.yaml", "cluster-domain: b.lan\n",
		"a/config.yaml.d/10-x.yaml", "cluster-domain: a.lan\nnode-label+: [zone=a]\n", "b/k3s.service", unit, "c/install.sh", install)
	if got := told(r); got != "A1 A3 B1 F1 H7 H7" && got != "H7 F1 B1 A1 A3 H7" {
		t.Errorf("told %s\n%v", got, r.Problems)
	}
	c, p := r.Cluster, r.Profile
	if len(c.Nodes) != 3 || c.Nodes[0].Name != "pi-1" || c.Nodes[1].Role != "agent" || c.Nodes[2].Addresses[1] != netip.MustParseAddr("fd00::13") {
		t.Errorf("nodes %+v", c.Nodes)
	}
	if l := c.Nodes[0].Labels; len(l) != 2 || l["zone"] != "a" {
		t.Errorf("labels %v", l)
	}
	if args := kube.Words(c.Nodes[2].Config["kubelet-arg"]); !slices.Equal(args, []string{"max-pods=100", "v=2"}) {
		t.Errorf("arguments %v", args)
	}
	if c.Secrets == "" || c.Address != "" {
		t.Errorf("secrets %q, address %q", c.Secrets, c.Address)
	}
	if p.Network.Pods[0].String() != "10.42.0.0/16" || p.Network.SubnetLength.IPv4 != 25 || !*p.Network.Masquerade.IPv6 {
		t.Errorf("network %+v", p.Network)
	}
	k := p.Kubernetes
	if k.Version != "v1.30.2+k3s1" || *k.Traefik || k.CoreDNS.Domain != "b.lan" || kube.Words(k.Server["disable"])[0] != "local-storage" || k.Server["cluster-init"] != true {
		t.Errorf("kubernetes %+v", k)
	}
	for _, f := range r.Files {
		if strings.Contains(string(f.Text), "K10secret") {
			t.Errorf("%s has the token", f.Name)
		}
	}
	if strings.Contains(r.Problems.Error(), "K10secret") {
		t.Errorf("the token is printed:\n%v", r.Problems)
	}
}

func TestWhatIsRefusedSaysWhereAndWhy(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a misspelt key", server + "cluster-cidrs: 10.42.0.0/16\n", "c.yaml:3:1: unknown key cluster-cidrs; K3s skips it   [A1]"},
		{"a misspelt backend", "flannel-backend: vxlna\n", `c.yaml:1:18: there is no flannel backend "vxlna"   [D1]`},
		{"families that differ", "flannel-ipv6-masq: true\ncluster-cidr: 10.42.0.0/16,fd42::/56\nservice-cidr: 10.43.0.0/16\n", "[B3]"},
		{"no range", "cluster-cidr: many\ncluster-init: true\n", `c.yaml:1:15: "many" is no range   [B1]`},
		{"a range without a length", "cluster-cidr: 10.42.0.0\nflannel-backend: vxlan\n", "add its length"},
		{"a mask for both families", "cluster-cidr: 10.42.0.0/16,fd42::/56\nservice-cidr: 10.43.0.0/16,fd43::/112\nkube-controller-manager-arg: [node-cidr-mask-size=24]\nflannel-ipv6-masq: true\n", "[C5]"},
		{"a key of K3s on RKE2", "cni: canal\nprofile: cis\nflannel-backend: wireguard-native\n", "c.yaml:3:1: flannel-backend is a key of K3s; RKE2 skips it   [A2]"},
		{"multus last", "cni: [canal, multus]\n", "c.yaml:1:14: multus must come first   [G1]"},
		{"a name of everybody", "flannel-backend: vxlan\nnode-name: localhost\n", "c.yaml:2:12: "},
		{"a password in a URL", "flannel-backend: vxlan\ndatastore-endpoint: postgres://k3s:hunter2@db.lan/k3s\n", "c.yaml:2:1: the datastore's URL has a password"},
		{"a URL without brackets", "flannel-iface: eth0\nserver: https://fd00::1:6443\ntoken-file: /t\n", "c.yaml:2:9: an IPv6 address in a URL stands in brackets   [H4]"},
		{"a list for a switch", "flannel-ipv6-masq: [1, 2]\ncluster-init: true\n", "[A5]"},
		{"no YAML", "flannel-backend: [x\n", "[A7]"},
		{"a list", "- a\n", "[A5]"},
		{"something else", "a: 1\n", "whether this is for K3s or RKE2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Import(of("c.yaml", c.text), Options{})
			if r.Problems.Errors() == nil || !strings.Contains(r.Problems.Error(), c.want) || len(r.Files) > 0 {
				t.Errorf("want %s, got\n%v", c.want, r.Problems)
			}
			if strings.Contains(r.Problems.Error(), "hunter2") {
				t.Error("the password is printed")
			}
		})
	}
}

func TestCommandsAreRefusedWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an open quote", "k3s server \\\n --x='a\n", "i.sh:2:6: the quoted text that begins here never ends   [A7]"},
		{"a here-document", "cat <<EOF > config.yaml\na: b\nEOF\n", "i.sh:1:5: the text after << is not read"},
		{"a value made by the shell", "k3s server --node-ip=$(hostname -I)\n", "i.sh:1:22: the value of --node-ip is made by the shell"},
		{"an unknown flag", "k3s server --flanel-backend=vxlan\n", "i.sh:1:12: unknown key flanel-backend"},
		{"no value", "k3s server --cluster-cidr\n", "i.sh:1:12: --cluster-cidr has no value"},
		{"no flag", "k3s server vxlan\n", `i.sh:1:12: "vxlan" is no flag`},
		{"no text", "k3s\x00server", "this is no text"},
		{"another program", "docker run x\n", "there is no K3s or RKE2 in this"},
		{"inside quotes", "INSTALL_K3S_EXEC='server --cluster-cidr=10.42.0.0/33' sh -\n", `i.sh:1:41: "10.42.0.0/33" is no range`},
		{"two servers that differ", "k3s server --cluster-domain=a.lan\nk3s server --cluster-domain=b.lan --server https://10.0.0.1:6443\n", "i.sh:2:29: cluster-domain is a.lan on one server and b.lan on another   [A4]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Import(of("i.sh", c.text), Options{Distribution: profiles.K3s})
			if r.Problems.Errors() == nil || !strings.Contains(r.Problems.Error(), c.want) {
				t.Errorf("want %s, got\n%v", c.want, r.Problems)
			}
		})
	}
}

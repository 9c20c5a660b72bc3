package kube

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"weft/profiles"
)

// read reads a profile that is sound.
func read(t *testing.T, text string) (profiles.Profile, Config) {
	t.Helper()
	p, d, problems := profiles.Load("p.yaml", []byte("weft: profile/v1\nname: p\n"+text))
	if err := problems.Errors(); err != nil {
		t.Fatal(err)
	}
	return p, ConfigFor(p, d, Server, nil)
}

const k3s = "network:\n  pods: [10.42.0.0/16, \"fd42:42::/56\"]\n  services: [10.43.0.0/16, \"fd42:43::/112\"]\n  subnetLength: {ipv4: 25}\n  masquerade: {ipv6: true}\nkubernetes:\n  distribution: k3s\n"

func TestConfigFollowsFromTheProfile(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want map[string]any
	}{
		"the network section": {k3s, map[string]any{
			"cluster-cidr": []any{"10.42.0.0/16", "fd42:42::/56"}, "service-cidr": []any{"10.43.0.0/16", "fd42:43::/112"},
			"kube-controller-manager-arg": []any{"node-cidr-mask-size-ipv4=25"}, "flannel-ipv6-masq": true,
		}},
		"switches": {k3s + "  coreDNS: {addresses: [10.43.0.53], domain: home.lan}\n  traefik: false\n  serviceLB: false\n  networkPolicy: false\n  server: {disable: [metrics-server]}\n", map[string]any{
			"cluster-dns": []any{"10.43.0.53"}, "cluster-domain": "home.lan", "disable": []any{"metrics-server", "traefik", "servicelb"},
			"disable-network-policy": true,
		}},
		"a custom plugin": {k3s + "  customCNI: calico\n", map[string]any{"flannel-backend": "none", "disable-network-policy": true, "flannel-ipv6-masq": nil}},
		"what the file says counts most": {k3s + "  config: {cluster-domain: a.lan}\n  server: {cluster-domain: b.lan, flannel-ipv6-masq: false}\n", map[string]any{
			"cluster-domain": "b.lan", "flannel-ipv6-masq": false,
		}},
		"netd as the network of K3s":  {"network:\n  pods: [10.42.0.0/16]\n  backend: {type: vxlan}\nkubernetes: {distribution: k3s}\n", map[string]any{"flannel-backend": "none", "service-cidr": nil}},
		"netd as the network of RKE2": {"network:\n  pods: [10.42.0.0/16]\n  backend: {type: vxlan}\nkubernetes: {distribution: rke2}\n", map[string]any{"cni": []any{"none"}}},
		"RKE2": {"kubernetes:\n  distribution: rke2\n  cni: [multus, cilium]\n  traefik: false\n  serviceLB: true\n  kubeProxy: false\n", map[string]any{
			"cni": []any{"multus", "cilium"}, "ingress-controller": "none", "enable-servicelb": true, "disable-kube-proxy": true, "cluster-cidr": nil,
		}},
		"one family": {"network:\n  pods: [10.42.0.0/16]\n  subnetLength: {ipv4: 25}\nkubernetes: {distribution: k3s}\n", map[string]any{
			"kube-controller-manager-arg": []any{"node-cidr-mask-size=25"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := read(t, c.text)
			for key, want := range c.want {
				if got := config[key].Value; !reflect.DeepEqual(got, want) {
					t.Errorf("%s is %v, want %v", key, got, want)
				}
			}
		})
	}
}

func TestConfigOfANodeInACluster(t *testing.T) {
	p, d, _ := profiles.Load("p.yaml", []byte("weft: profile/v1\nname: p\n"+k3s+"  config: {tls-san: [k3s.lan], flannel-iface: eth0}\n"))
	place := &Place{
		Path: "nodes[1]", Name: "node-2", Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.12"), netip.MustParseAddr("fd00::12")},
		Labels: map[string]string{"disk": "ssd", "a": "b"}, Taints: []string{"x=y:NoSchedule"},
		Config: map[string]any{"flannel-iface": "eth1"}, Join: "https://192.168.1.11:6443", TokenFile: "/token",
	}
	agent := ConfigFor(p, d, Agent, place)
	for key, want := range map[string]string{
		"node-name": "node-2", "node-ip": "192.168.1.12,fd00::12", "node-label": "a=b,disk=ssd", "node-taint": "x=y:NoSchedule",
		"flannel-iface": "eth1", "server": "https://192.168.1.11:6443", "token-file": "/token",
		// Keys for servers that the profile gives all nodes are theirs alone.
		"tls-san": "", "cluster-cidr": "", "cluster-init": "",
	} {
		if got := agent.Text(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	first := ConfigFor(p, d, Server, &Place{Name: "node-1", Others: true})
	if !first.Bool("cluster-init") || first.Has("server") || first.Text("tls-san") != "k3s.lan" {
		t.Errorf("the first server: %v", first)
	}
}

func TestJoinURLs(t *testing.T) {
	if got := JoinURL(profiles.K3s, "fd00::1"); got != "https://[fd00::1]:6443" {
		t.Error(got)
	}
	if got := JoinURL(profiles.RKE2, "k.lan"); got != "https://k.lan:9345" {
		t.Error(got)
	}
}

func TestArgumentsAreFoundByName(t *testing.T) {
	_, c := read(t, k3s+"  config: {kubelet-arg: [max-pods=250, \"--v=2\", \"node-ip=0.0.0.0\"]}\n")
	if v, at, ok := c.Arg("kubelet-arg", "v"); !ok || v != "2" || at.Path != "kubernetes.config.kubelet-arg[1]" {
		t.Errorf("%q %v %v", v, at.Path, ok)
	}
	if _, _, ok := c.Arg("kubelet-arg", "node"); ok {
		t.Error("half a name is found")
	}
	if _, _, ok := c.Arg("kube-proxy-arg", "v"); ok {
		t.Error("an argument of nothing is found")
	}
}

func TestKeyTablesAreSound(t *testing.T) {
	for _, distribution := range []string{profiles.K3s, profiles.RKE2} {
		keys := Keys(distribution)
		if len(keys) < 100 {
			t.Errorf("%s has %d keys", distribution, len(keys))
		}
		for i, k := range keys {
			if i > 0 && keys[i-1].Name >= k.Name {
				t.Errorf("%s: %s after %s", distribution, k.Name, keys[i-1].Name)
			}
			for _, v := range []string{k.Since, k.Until} {
				if _, err := profiles.ParseRelease(v); err != nil {
					t.Errorf("%s: %v", k.Name, err)
				}
			}
			if k.Roles&Every == 0 || k.Critical && k.Roles != Server {
				t.Errorf("%s: roles %s", k.Name, k.Roles)
			}
		}
	}
	both := []string{"agent-token", "cluster-cidr", "cluster-dns", "cluster-domain", "disable-cloud-controller",
		"egress-selector-mode", "embedded-registry", "secrets-encryption", "secrets-encryption-provider", "service-cidr", "supervisor-metrics"}
	for distribution, own := range map[string][]string{
		profiles.K3s:  {"disable-helm-controller", "disable-network-policy", "flannel-backend", "flannel-external-ip", "flannel-ipv6-masq"},
		profiles.RKE2: {"disable-kube-proxy"},
	} {
		var critical []string
		for _, k := range Keys(distribution) {
			if k.Critical {
				critical = append(critical, k.Name)
			}
		}
		want := slices.Sorted(slices.Values(slices.Concat(both, own)))
		if !slices.Equal(critical, want) {
			t.Errorf("%s: critical are %q, want %q", distribution, critical, want)
		}
	}
	if Keys("none") != nil {
		t.Error("no distribution has keys")
	}
}

// TestKeysAreThoseOfTheDistributions holds the tables to what the sources say
// where the two distributions differ.
func TestKeysAreThoseOfTheDistributions(t *testing.T) {
	for name, want := range map[string][2]Role{ // of K3s, of RKE2
		"advertise-port":                      {Server, 0},
		"image-service-endpoint":              {Every, 0},
		"rootless":                            {Every, 0},
		"disable-apiserver-lb":                {Agent, 0},
		"kube-controller-arg":                 {Server, 0},
		"secrets-encryption":                  {Server, Server},
		"disable-agent":                       {Server, Server},
		"pause-image":                         {Every, Every},
		"cloud-controller-manager-image":      {0, Every},
		"kube-cloud-controller-manager-image": {0, 0},
		"audit-policy-file":                   {0, Every},
		"control-plane-resource-limits":       {0, Every},
		"cni":                                 {0, Server},
		"no-deploy":                           {0, 0},
	} {
		for i, distribution := range []string{profiles.K3s, profiles.RKE2} {
			if key, _ := Find(Keys(distribution), name); key.Roles != want[i] {
				t.Errorf("%s of %s is for %d, want %d", name, distribution, key.Roles, want[i])
			}
		}
	}
}

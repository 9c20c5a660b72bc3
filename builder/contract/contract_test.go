package contract_test

import (
	"strings"
	"testing"

	"weft/builder"
	"weft/builder/buildtest"
	"weft/builder/contract"
	"weft/builder/kmod"
	"weft/builder/plan"
	"weft/profiles"
)

// kernel opens Debian's kernel of a shipped board.
func kernel(t *testing.T, board string) *kmod.Kernel {
	t.Helper()
	o := buildtest.Options(t, buildtest.Plan(t, board, "vxlan"), buildtest.CacheDir(t), t.TempDir())
	k, done, err := builder.OpenKernel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return k
}

// withPayload is a profile with the program that its Kubernetes needs.
func withPayload(p profiles.Profile) profiles.Profile {
	if p.Kubernetes.On() {
		p.Kubernetes.Payload = []profiles.Payload{{Path: p.Kubernetes.Distribution}}
	}
	return p
}

func TestDebiansKernelMeetsEveryShippedProfile(t *testing.T) {
	for _, board := range []string{"x86-64-cloud", "x86-64"} {
		k := kernel(t, board)
		for _, name := range profiles.Names() {
			p := buildtest.Plan(t, board, name)
			for _, r := range contract.Rows(k, p.Contract, withPayload(p.Profile)) {
				if !r.Met && !r.Optional {
					t.Errorf("%s on %s: %s is missing: %s", name, board, r.Need, r.By)
				}
				if r.Need == "" || r.By == "" || r.Why == "" {
					t.Errorf("%s: incomplete row %+v", name, r)
				}
			}
		}
	}
}

func TestMissingProgramIsNamedWithTheWayOut(t *testing.T) {
	p := buildtest.Plan(t, "x86-64-cloud", "k3s-flannel-vxlan")
	rows := contract.Rows(kernel(t, "x86-64-cloud"), p.Contract, p.Profile)
	var missed []contract.Row
	for _, r := range rows {
		if !r.Met && !r.Optional {
			missed = append(missed, r)
		}
	}
	if len(missed) != 1 || contract.Unmet(rows) != 1 || missed[0].Need != "/usr/local/bin/k3s" || !strings.Contains(missed[0].Fix, "payload") {
		t.Errorf("missed are %+v", missed)
	}
}

// needs are the names of what a profile needs, by kind.
func needs(t *testing.T, text string) map[string]bool {
	t.Helper()
	p, d, problems := profiles.Load("case.yaml", []byte("weft: profile/v1\nname: case\ndescription: a case\n"+text))
	if problems.Errors() != nil {
		t.Fatalf("%s\n%v", text, problems)
	}
	pl := plan.New("test", buildtest.Plan(t, "x86-64-cloud", "vxlan").Board, nil, p, d)
	all := map[string]bool{}
	for _, m := range pl.Contract.Modules {
		all[m.Name] = true
	}
	for _, s := range pl.Contract.Symbols {
		all[s.Any[0]] = true
	}
	for _, f := range pl.Contract.Files {
		all[f.File] = true
	}
	return all
}

func TestNeedsFollowWhatIsUsed(t *testing.T) {
	for _, c := range []struct{ name, text, has, lacks string }{
		{"K3s", "kubernetes: {distribution: k3s}\n", "vxlan overlay br_netfilter nft_compat ip_set CONFIG_MEMCG /usr/local/bin/k3s", "wireguard nft_masq esp4"},
		{"K3s host-gw", "kubernetes: {distribution: k3s, server: {flannel-backend: host-gw}}\n", "overlay", "vxlan wireguard"},
		{"K3s WireGuard", "kubernetes: {distribution: k3s, server: {flannel-backend: wireguard-native}}\n", "wireguard", "vxlan"},
		{"K3s IPsec", "kubernetes: {distribution: k3s, version: v1.26.1+k3s1, server: {flannel-backend: ipsec}}\n", "xfrm_user esp4 gcm /usr/lib/ipsec/charon", "vxlan"},
		{"K3s without policies", "kubernetes: {distribution: k3s, networkPolicy: false}\n", "overlay", "ip_set"},
		{"K3s without kube-proxy", "kubernetes: {distribution: k3s, kubeProxy: false}\n", "overlay", "xt_statistic"},
		{"K3s with netd", "network: {backend: {type: vxlan}}\nkubernetes: {distribution: k3s, server: {flannel-backend: none}}\n", "vxlan nft_masq overlay", "wireguard"},
		{"K3s with IPVS", "kubernetes: {distribution: k3s, server: {kube-proxy-arg: [proxy-mode=ipvs]}}\n", "ip_vs xt_ipvs", "wireguard"},
		{"RKE2", "kubernetes: {distribution: rke2}\n", "vxlan ip_set_hash_net /usr/sbin/iptables", "wireguard CONFIG_BPF_SYSCALL /var/lib/rancher/k3s/data/current/bin/iptables"},
		{"RKE2 Canal WireGuard", "kubernetes: {distribution: rke2, charts: {rke2-canal: {flannel: {backend: wireguard}}}}\n", "wireguard", "vxlan"},
		{"RKE2 Cilium", "kubernetes: {distribution: rke2, cni: [cilium]}\n", "vxlan CONFIG_DEBUG_INFO_BTF cls_bpf sch_ingress xt_TPROXY", "ip_set /usr/sbin/iptables"},
		{"RKE2 Cilium ENI", "kubernetes: {distribution: rke2, cni: [cilium], charts: {rke2-cilium: {eni: {enabled: true}}}}\n", "CONFIG_BPF_SYSCALL", "vxlan"},
		{"RKE2 Calico", "kubernetes: {distribution: rke2, cni: [calico]}\n", "vxlan ip_set", "CONFIG_BPF_SYSCALL"},
		{"RKE2 Multus", "kubernetes: {distribution: rke2, cni: [multus, canal]}\n", "macvlan vxlan", "wireguard"},
		{"netd, no tunnel", "network: {pods: [10.244.0.0/16], backend: {type: host-gw}}\n", "nft_masq bridge", "vxlan overlay CONFIG_MEMCG"},
		{"netd, backend none", "network: {pods: [10.244.0.0/16], backend: {type: none}}\n", "bridge", "vxlan"},
		{"own service", "network: {pods: [10.244.0.0/16], backend: {type: vxlan}}\nservices: [{name: web, program: {path: web}}]\n", "/usr/local/bin/web", "overlay"},
	} {
		got := needs(t, c.text)
		for _, name := range strings.Fields(c.has) {
			if !got[name] {
				t.Errorf("%s: %s is not asked for", c.name, name)
			}
		}
		for _, name := range strings.Fields(c.lacks) {
			if got[name] {
				t.Errorf("%s: %s is asked for", c.name, name)
			}
		}
	}
}

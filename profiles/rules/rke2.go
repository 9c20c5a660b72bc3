package rules

import (
	"fmt"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
)

// rke2Rules are the rules about RKE2 alone.
func rke2Rules() []Rule {
	return []Rule{
		{
			ID: "G4", Title: "Canal and Calico on RKE2 have iptables in the image",
			Why:    "The portmap plugin runs it for host ports; without it pods fail, and their addresses are never given back.",
			Source: "RKE2 documentation, requirements and known issues",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n", Facts: Facts{Programs: []string{"ip"}}},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n", Facts: Facts{Programs: []string{"ip", "iptables"}}},
			node:   hostIPTables,
		},
		{
			ID: "G5", Title: "RKE2's flannel is used for what it can", Severity: "error with profile cis or another backend; warning for the missing network policies",
			Why:    "It has VXLAN alone and enforces no network policy, which the CIS profile needs.",
			Source: "RKE2 documentation, Basic network options (Flannel)",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [flannel]\n  config: {profile: cis}\n"},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n  cni: [canal]\n  config: {profile: cis}\n"},
			node:   rke2Flannel,
		},
		{
			ID: "G7", Title: "the hosts file of an IPv6-only node has ::1 localhost",
			Why:    "Parts of RKE2 reach one another at localhost, which would lead to an IPv4 address.",
			Source: "RKE2 documentation, IPv6-only; init writes the line",
			Bad:    Example{Profile: "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\nkubernetes:\n  distribution: rke2\n", Facts: Facts{Hosts: "127.0.0.1 localhost\n"}},
			Good:   Example{Profile: "network:\n  pods: [\"fd42:42::/56\"]\n  services: [\"fd42:43::/112\"]\n  masquerade: {ipv6: true}\nkubernetes:\n  distribution: rke2\n", Facts: Facts{Hosts: "127.0.0.1 localhost\n::1 localhost\n"}},
			node:   localhost6,
		},
		{
			ID: "G10", Title: "the CIS profile finds the settings and the user it demands",
			Why:    "RKE2 exits when a kernel setting differs, when there is no user etcd, or when protect-kernel-defaults is false.",
			Source: "rke2 pkg/cli/cmds/profile_linux.go",
			Bad:    Example{Profile: "kubernetes:\n  distribution: rke2\n  config: {profile: cis, protect-kernel-defaults: false}\n"},
			Good:   Example{Profile: "kubernetes:\n  distribution: rke2\n  config: {profile: cis}\n"},
			node:   cis,
		},
		{
			ID: "G11", Title: "the kernel is new enough for the tunnel", Severity: "error for WireGuard before 5.6; warning for checksum offload before 5.7",
			Why:    "WireGuard is in Linux from 5.6 on; before 5.7 VXLAN packets can leave with wrong checksums.",
			Source: "Linux 5.6 release; k3s#2013, flannel#1279; RKE2 documentation (Calico checksum offload)",
			Bad:    Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native}\n", Facts: Facts{Kernel: "5.4.0"}},
			Good:   Example{Profile: "kubernetes:\n  server: {flannel-backend: wireguard-native}\n", Facts: Facts{Kernel: "5.7.1"}},
			node:   tunnelKernel,
		},
	}
}

func hostIPTables(n *Node) document.Problems {
	plugin := n.plugin()
	if !n.rke2() || plugin != "canal" && plugin != "calico" {
		return nil
	}
	if there, known := n.has("iptables"); there || !known {
		return nil
	}
	return one(n.at("cni", fmt.Sprintf("%s needs iptables in the image", plugin), "kubernetes.distribution").
		WithFix("add iptables to kubernetes.payload, or use cilium"))
}

func rke2Flannel(n *Node) document.Problems {
	if !n.rke2() || !n.server() || n.plugin() != "flannel" {
		return nil
	}
	if strings.HasPrefix(n.Config.Text("profile"), "cis") {
		return one(n.at("cni", "RKE2's flannel enforces no network policy, which profile cis needs").WithFix("use canal"))
	}
	if flannel, ok := n.Profile.Kubernetes.Charts["rke2-flannel"]["flannel"].(map[string]any); ok && flannel["backend"] != nil && flannel["backend"] != "vxlan" {
		return one(n.Doc.Problem("kubernetes.charts.rke2-flannel.flannel.backend", "RKE2's flannel has VXLAN alone").
			WithFix("use canal, which has wireguard and host-gw too"))
	}
	return one(warning(n.at("cni", "RKE2's flannel enforces no network policy").WithFix("use canal where policies count")))
}

func localhost6(n *Node) document.Problems {
	if !n.rke2() || !n.only6() || n.Facts.Hosts == "" {
		return nil
	}
	for line := range strings.Lines(n.Facts.Hosts) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "::1" && slices.Contains(words[1:], "localhost") {
			return nil
		}
	}
	return one(n.inProfile("the image's hosts file has no line ::1 localhost", "network.pods").
		WithFix("remove the file of your own; init writes one with it"))
}

// cisSysctls are what the CIS profile demands.
var cisSysctls = []struct{ name, value string }{
	{"vm.panic_on_oom", "0"}, {"vm.overcommit_memory", "1"}, {"kernel.panic", "10"}, {"kernel.panic_on_oops", "1"},
}

// cisProfiles are the values of RKE2's key profile, with the version each is
// gone in.
var cisProfiles = []string{"cis", "etcd", "cis-1.23", "cis-1.6", "cis-1.5"}

func cis(n *Node) document.Problems {
	if !n.rke2() || !n.Config.Has("profile") {
		return nil
	}
	name := n.Config.Text("profile")
	if !slices.Contains(cisProfiles, name) {
		return one(n.Config["profile"].Problem(fmt.Sprintf("there is no RKE2 profile %q", name)).
			WithFix(document.DidYouMean(name, cisProfiles[:2])))
	}
	var found document.Problems
	if s, said := n.Config["protect-kernel-defaults"]; said && !n.Config.Bool("protect-kernel-defaults") && strings.HasPrefix(name, "cis") {
		found = append(found, s.Problem("profile cis does not go with protect-kernel-defaults: false").WithFix("remove it"))
	}
	for _, want := range cisSysctls {
		if have, said := n.Profile.Sysctls[want.name]; said && strings.TrimSpace(have) != want.value {
			found = append(found, n.Doc.Problem(document.Key("sysctls", want.name), fmt.Sprintf("profile cis demands %s = %s", want.name, want.value)).
				WithFix("remove it; weft sets what the profile demands"))
		}
	}
	if n.Facts.Users != nil && !slices.Contains(n.Facts.Users, "etcd") && n.server() {
		found = append(found, n.Config["profile"].Problem(fmt.Sprintf("profile %s needs a user and group etcd in the image", name)).
			WithFix("use an image made by weft, which has them"))
	}
	return found
}

func tunnelKernel(n *Node) document.Problems {
	if n.Facts.Kernel == "" {
		return nil
	}
	kernel, err := profiles.ParseRelease(n.Facts.Kernel)
	if err != nil {
		return nil
	}
	backend, on := n.flannel()
	key := "flannel-backend"
	if !on {
		key = ""
		backend = n.Network.Backend.Canonical()
		if n.rke2() && n.plugin() == "canal" {
			backend = canalBackend(n)
		}
	}
	paths := []string{"kubernetes.charts.rke2-canal.flannel.backend", "network.backend.type", "kubernetes.distribution"}
	switch {
	case strings.HasPrefix(backend, "wireguard") && kernel.Before("5.6"):
		return one(n.at(key, fmt.Sprintf("kernel %s has no WireGuard", n.Facts.Kernel), paths...).
			WithNote("it came with 5.6").WithFix("use a newer kernel, or another backend"))
	case (backend == "vxlan" || n.plugin() == "calico") && kernel.Before("5.7"):
		return one(warning(n.at(key, fmt.Sprintf("kernel %s can send VXLAN packets with wrong checksums", n.Facts.Kernel), paths...).
			WithNote("mended in 5.7").WithFix("use a newer kernel, or turn checksum offload off")))
	}
	return nil
}

package kube

// k3sServer lists the keys that only servers of K3s take: those that RKE2
// drops, so that it skips them with one line in its log (k3s-io/k3s
// pkg/cli/cmds/server.go at 005499a9 and in a version with urfave/cli v1;
// rancher/rke2 pkg/cli/cmds/server.go at 740a5b12, dropFlag).
func k3sServer() []Key {
	return []Key{
		{Name: "advertise-port", Roles: Server, Kind: Int},
		{Name: "apiserver-bind-address", Roles: Server, Kind: Text},
		{Name: "apiserver-port", Roles: Server, Kind: Int},
		{Name: "cluster-init", Roles: Server, Kind: Bool},
		{Name: "default-local-storage-path", Roles: Server, Kind: Text},
		{Name: "disable-helm-controller", Roles: Server, Kind: Bool, Critical: true},
		{Name: "disable-network-policy", Roles: Server, Kind: Bool, Critical: true},
		{Name: "flannel-backend", Roles: Server, Kind: Text, Critical: true, Default: "vxlan"},
		{Name: "flannel-external-ip", Roles: Server, Kind: Bool, Critical: true},
		{Name: "flannel-ipv6-masq", Roles: Server, Kind: Bool, Critical: true},
		{Name: "https-listen-port", Roles: Server, Kind: Int, Default: "6443"},
		{Name: "kine-tls", Roles: Server, Kind: Bool},
		// The older names of kube-cloud-controller-manager-arg and
		// kube-controller-manager-arg, which K3s still takes.
		{Name: "kube-cloud-controller-arg", Roles: Server, Kind: Args},
		{Name: "kube-controller-arg", Roles: Server, Kind: Args},
		{Name: "supervisor-port", Roles: Server, Kind: Int},
	}
}

// k3sAgent lists the keys that nodes of K3s take and none of RKE2 (k3s-io/k3s
// pkg/cli/cmds/agent.go at 00cc29ba; k3s-io/docs docs/cli/agent.md at
// 1f023c05; rancher/rke2 pkg/cli/cmds/agent.go at d3ebc9c5, dropFlag).
func k3sAgent() []Key {
	return []Key{
		{Name: "disable-apiserver-lb", Roles: Agent, Kind: Bool},
		{Name: "docker", Roles: Every, Kind: Bool},
		{Name: "flannel-cni-conf", Roles: Every, Kind: Text},
		{Name: "flannel-conf", Roles: Every, Kind: Text},
		{Name: "flannel-iface", Roles: Every, Kind: Text},
		{Name: "image-service-endpoint", Roles: Every, Kind: Text},
		{Name: "prefer-bundled-bin", Roles: Every, Kind: Bool},
		{Name: "rootless", Roles: Every, Kind: Bool},
		{Name: "vpn-auth", Roles: Every, Kind: Text, Secret: true},
		{Name: "vpn-auth-file", Roles: Every, Kind: Text},
	}
}

// rke2Server lists the keys that only servers of RKE2 take (rancher/rke2
// pkg/cli/cmds/server.go in the version with urfave/cli v2). The key of ingress
// controllers was decided on in May 2024 and first seen in v1.30.3
// (rancher/rke2 docs/adrs/008-traefik-ingress.md; issue 5928); 1.27 was the
// oldest line with releases after that.
func rke2Server() []Key {
	return []Key{
		{Name: "cni", Roles: Server, Kind: List, Default: "canal"},
		{Name: "enable-servicelb", Roles: Server, Kind: Bool},
		{Name: "ingress-controller", Roles: Server, Kind: List, Since: "1.27"},
	}
}

// rke2Every lists the keys that every node of RKE2 takes and none of K3s
// (rancher/rke2 pkg/cli/cmds/root.go at de8240ab, commonFlag). Those about the
// control plane do nothing on an agent.
func rke2Every() []Key {
	return []Key{
		{Name: "audit-policy-file", Roles: Every, Kind: Text},
		{Name: "cloud-controller-manager-extra-env", Roles: Every, Kind: List},
		{Name: "cloud-controller-manager-extra-mount", Roles: Every, Kind: List},
		{Name: "cloud-controller-manager-image", Roles: Every, Kind: Text},
		{Name: "cloud-provider-config", Roles: Every, Kind: Text},
		{Name: "cloud-provider-name", Roles: Every, Kind: Text},
		{Name: "control-plane-probe-configuration", Roles: Every, Kind: List},
		{Name: "control-plane-resource-limits", Roles: Every, Kind: List},
		{Name: "control-plane-resource-requests", Roles: Every, Kind: List},
		{Name: "etcd-extra-env", Roles: Every, Kind: List},
		{Name: "etcd-extra-mount", Roles: Every, Kind: List},
		{Name: "etcd-image", Roles: Every, Kind: Text},
		{Name: "kube-apiserver-extra-env", Roles: Every, Kind: List},
		{Name: "kube-apiserver-extra-mount", Roles: Every, Kind: List},
		{Name: "kube-apiserver-image", Roles: Every, Kind: Text},
		{Name: "kube-controller-manager-extra-env", Roles: Every, Kind: List},
		{Name: "kube-controller-manager-extra-mount", Roles: Every, Kind: List},
		{Name: "kube-controller-manager-image", Roles: Every, Kind: Text},
		{Name: "kube-proxy-extra-env", Roles: Every, Kind: List},
		{Name: "kube-proxy-extra-mount", Roles: Every, Kind: List},
		{Name: "kube-proxy-image", Roles: Every, Kind: Text},
		{Name: "kube-scheduler-extra-env", Roles: Every, Kind: List},
		{Name: "kube-scheduler-extra-mount", Roles: Every, Kind: List},
		{Name: "kube-scheduler-image", Roles: Every, Kind: Text},
		{Name: "kubelet-path", Roles: Every, Kind: Text},
		{Name: "node-name-from-cloud-provider-metadata", Roles: Every, Kind: Bool},
		{Name: "pod-security-admission-config-file", Roles: Every, Kind: Text},
		{Name: "profile", Roles: Every, Kind: Text},
		{Name: "runtime-image", Roles: Every, Kind: Text},
	}
}

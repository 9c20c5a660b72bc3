package importer

import (
	"fmt"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/draft"
)

// profileComments are the comments of the profile that is written.
func (t *translator) profileComments() draft.Comments {
	c := draft.Comments{
		Head: "What weft import made of the cluster's configuration. Behind each value stands\n" +
			"where it comes from. After a change: weft check FILE",
		Above: map[string]string{
			"network":               "Where pods and services have their addresses. A running cluster cannot\nchange them.",
			"network.subnetLength":  "The length of each node's part of the pod ranges.",
			"kubernetes":            "What runs on the nodes.",
			"kubernetes.config":     "Settings of every node, by the names of config.yaml.",
			"kubernetes.server":     "Settings of servers.",
			"kubernetes.agent":      "Settings of agents.",
			"kubernetes.charts":     "Values of packaged charts; each becomes a HelmChartConfig.",
			"kubernetes.coreDNS":    "The cluster's name server.",
			"kubernetes.registries": "Where images are pulled from (registries.yaml).",
			"kubernetes.cni":        "The network plugin.",
			"sysctls":               "Settings of the kernel.",
			"network.masquerade":    "Pods of these families reach the outside with the node's address.",
		},
		Beside: map[string]string{},
	}
	for path, o := range t.where {
		c.Beside[path] = beside(o)
	}
	// Elements of lists stand with their list.
	for path := range c.Beside {
		if path[len(path)-1] == ']' && path[0] != 's' {
			delete(c.Beside, path)
		}
	}
	if t.legacy != "" {
		c.Beside["kubernetes.server.flannel-backend"] += ", was " + t.legacy
	}
	return c
}

// beside says where a value comes from.
func beside(o origin) string {
	if o.place.File == "" || o.place.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", o.place.File, o.place.Line)
}

// clusterComments are the comments of the cluster file that is written.
func (t *translator) clusterComments(c cluster.Cluster) draft.Comments {
	comments := draft.Comments{
		Head: "The nodes that weft import found. After a change: weft check FILE",
		Above: map[string]string{
			"profile": "What all nodes have in common.",
			"address": "Where nodes join: a server outside this file, or a name for all of them.",
			"nodes":   "What each node has of its own. Names such as server-1 stand for nodes whose\nfiles give none.",
			"secrets": "The token that nodes join with. The file is yours to fill in; it is no part of\nan image.",
		},
		Beside: map[string]string{},
	}
	for i := range c.Nodes {
		path := document.Index("nodes", i)
		comments.Beside[path+".name"] = beside(t.in[path])
		if o, said := t.in[path+".name"]; said {
			comments.Beside[path+".name"] = beside(o)
		}
	}
	return comments
}

// steps are what is left for a person to do.
func (t *translator) steps(c *cluster.Cluster) []string {
	var all []string
	if t.tokenLeft {
		where := "the secrets file of the cluster"
		if c != nil && c.Secrets != "" {
			where = c.Secrets[2:]
		}
		all = append(all, "Write the cluster's token into "+where+"; a running server has it in "+
			"/var/lib/rancher/"+t.dist+"/server/token.")
	}
	if t.legacy == "" || t.dist != profiles.K3s {
		return all
	}
	return append(all,
		fmt.Sprintf("Plan a short downtime: while some nodes have %s and others wireguard-native, pods on them cannot reach each other.", t.legacy),
		"See that every node, servers and agents, has WireGuard in its kernel (Linux 5.6 and newer have it): weft contract says so of a board.",
		"Set flannel-backend: wireguard-native on all servers, in /etc/rancher/k3s/config.yaml or in the flags of the systemd unit; the profile written here has it.",
		"Reboot all nodes, starting with the servers; or start their images made from this profile, servers first.",
		"Open UDP ports 51820 (IPv4) and 51821 (IPv6) between the nodes, and close what "+t.legacy+" used.",
	)
}

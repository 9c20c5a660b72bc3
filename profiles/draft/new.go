package draft

import (
	"weft/profiles"
	"weft/profiles/cluster"
)

// Profile and Cluster are the names of the files of a cluster.
func Profile(name string) string { return name + ".yaml" }

// Cluster is the name of the cluster file of a cluster.
func Cluster(name string) string { return name + "-cluster.yaml" }

// Secrets is the name of the file with the secrets of a cluster.
func Secrets(name string) string { return name + "-secrets.yaml" }

// SecretsText is a secrets file with a token; one to fill in when it is empty.
func SecretsText(token string) []byte {
	text := "# The secrets of the cluster, for nobody else to read (chmod 600). They are no\n" +
		"# part of an image.\n#\n# token is what nodes join with.\nweft: " + cluster.SecretsVersion + "\n"
	if token == "" {
		return []byte(text + "# token: K10...\n")
	}
	return []byte(text + "token: " + token + "\n")
}

// Texts are the profile and the cluster of a wish as commented YAML.
func (w Wish) Texts() (profile, cluster []byte, err error) {
	p, c := w.Values()
	if profile, err = Text(p, w.profileComments()); err != nil {
		return nil, nil, err
	}
	cluster, err = Text(c, w.clusterComments())
	return profile, cluster, err
}

// profileComments are the comments of a new profile.
func (w Wish) profileComments() Comments {
	c := Comments{
		Head: "What the nodes of " + w.Name + " have in common: the network, and what runs on them.\n" +
			"After a change: weft check " + Profile(w.Name) + ". Every key: docs/reference/profile.md",
		Above: map[string]string{
			"network": "The pod network.",
			"network.pods": "Where pods have their addresses: each node takes a /24 of an IPv4 range and\n" +
				"a /64 of an IPv6 one. Choose ranges that neither your LAN nor a VPN uses.\n" +
				"They cannot change once the cluster runs, and no family can be added.",
			"network.services":   "Where services have theirs; the same families in the same order.",
			"network.backend":    "How packets travel between nodes. Also: " + others(Backends(profiles.NoKubernetes), w.Backend) + ".",
			"network.masquerade": "Local IPv6 addresses are not routed in the Internet, so pods leave with the\naddress of their node.",
			"kubernetes":         "What runs on the nodes.",
			"kubernetes.server": "Settings of servers, by the names of config.yaml. Other backends of flannel:\n" +
				others([]string{"vxlan", "host-gw", "wireguard-native"}, w.Backend) + ".",
			"kubernetes.cni":       "The network plugin. Also: " + others([]string{"canal", "calico", "cilium", "flannel"}, w.Backend) + ".",
			"kubernetes.customCNI": "The network plugin, in place of K3s's own. Also: " + others([]string{"canal", "calico", "cilium"}, w.Backend) + ".",
		},
	}
	if w.Backend == "netd" {
		c.Above["network.backend"] = "netd is the network, and the distribution's own stays off. Also: host-gw,\nwireguard."
	}
	return c
}

// clusterComments are the comments of a new cluster file.
func (w Wish) clusterComments() Comments {
	return Comments{
		Head: "The nodes of " + w.Name + ". After a change: weft check " + Cluster(w.Name) + ".\n" +
			"Every key: docs/reference/cluster.md",
		Above: map[string]string{
			"id":      "The cluster's identity: as long as it stays, the ranges may not change.",
			"board":   "What the nodes are.",
			"profile": "What they have in common.",
			"nodes":   "What each has of its own. The addresses are where the others reach it: give it\nthe same in your DHCP server, or with links: here.",
			"secrets": "The token that nodes join with, drawn at random. It is no part of an image.",
		},
	}
}

// others are the words that were not chosen.
func others(all []string, chosen string) string {
	text := ""
	for _, w := range all {
		if w == chosen {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += w
	}
	return text
}

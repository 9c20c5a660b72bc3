package rules

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// serverRules are the rules about servers and how nodes join them.
func serverRules() []Rule {
	return []Rule{
		{
			ID: "H1", Title: "one server begins the cluster, and the others have where and with what to join",
			Why:    "Two that begin are two clusters; a node without a token or a server to join waits for ever.",
			Source: "K3s documentation, Cluster access and High availability",
			Bad:    Example{Cluster: "nodes:\n  - {name: node-1, role: server, bootstrap: true, addresses: [192.168.1.11]}\n  - {name: node-2, role: server, bootstrap: true, addresses: [192.168.1.12]}\n  - {name: node-3, role: server, addresses: [192.168.1.13]}\n"},
			Good:   Example{Cluster: "nodes:\n  - {name: node-1, role: server, bootstrap: true, addresses: [192.168.1.11]}\n  - {name: node-2, role: server, addresses: [192.168.1.12]}\n  - {name: node-3, role: server, addresses: [192.168.1.13]}\n"},
			whole:  bootstrap,
		},
		{
			ID: "H2", Title: "several K3s servers have a datastore they share",
			Why:    "Without cluster-init or datastore-endpoint, K3s keeps its state in sqlite, which one server has alone.",
			Source: "K3s documentation, High availability embedded etcd",
			Bad:    Example{Profile: "kubernetes:\n  server: {cluster-init: false}\n", Cluster: threeServers("")},
			Good:   Example{Profile: "kubernetes:\n  server: {datastore-endpoint: \"postgres://db.lan/k3s\"}\n", Cluster: threeServers("")},
			whole:  sharedStore,
		},
		{
			ID: "H3", Level: document.Warning, Title: "etcd has an odd number of servers",
			Why:    "Two servers stand still when either fails; an even number never bears more failures than one less.",
			Source: "etcd documentation, fault tolerance",
			Bad:    Example{Cluster: "nodes:\n  - {name: node-1, role: server, bootstrap: true, addresses: [192.168.1.11]}\n  - {name: node-2, role: server, addresses: [192.168.1.12]}\n"},
			Good:   Example{Cluster: threeServers("")},
			whole:  oddServers,
		},
		{
			ID: "H4", Title: "the server's URL is https, with the distribution's port, and IPv6 in brackets",
			Why:    "Nodes join K3s at 6443 and RKE2 at 9345; without brackets an IPv6 address is no URL.",
			Source: "K3s and RKE2 documentation; RFC 3986, section 3.2.2",
			Bad:    Example{Profile: "kubernetes:\n  agent: {server: \"https://fd00::1:6443\"}\n"},
			Good:   Example{Profile: "kubernetes:\n  agent: {server: \"https://[fd00::1]:6443\"}\n"},
			node:   serverURL,
		},
	}
}

func bootstrap(s *Subject) document.Problems {
	if s.Cluster == nil {
		return nil
	}
	var found document.Problems
	servers, first := s.servers()
	agents := 0
	for _, n := range s.Nodes {
		if n.agent() {
			agents++
		}
		if !n.on() && (n.Entry.Role == "server" || n.Entry.Role == "agent") {
			found = append(found, n.inCluster("role", fmt.Sprintf("%s is a %s of a Kubernetes that its profile does not have", n.label(), n.Entry.Role)).
				WithFix("set role: node, or kubernetes.distribution in the profile"))
		}
	}
	if len(servers)+agents == 0 {
		return found
	}
	if len(servers) == 0 {
		n := s.Nodes[0]
		if slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Entry.Role != "" && !slices.Contains(roles, n.Entry.Role) }) {
			return found // one of them may be meant to be a server
		}
		if n.Config.Has("server") {
			return append(found, tokens(s, nil)...)
		}
		return append(found, s.Doc.KeyProblem("nodes", "no node is a server").WithFix("set role: server on one node"))
	}
	for _, n := range servers {
		if n.said("server") {
			if n.Entry.Bootstrap {
				found = append(found, n.Config["server"].Problem("the server that begins the cluster joins another").WithFix("remove server, or bootstrap"))
			}
			continue
		}
		if n.Entry.Bootstrap && n != first {
			found = append(found, n.inCluster("bootstrap", "two servers begin the cluster").
				WithNote("the first is "+first.label()).WithFix("keep bootstrap: true on one of them"))
		}
	}
	if first == nil && s.Cluster.Address == "" {
		found = append(found, servers[0].inCluster("role", "no server begins the cluster").
			WithFix("write bootstrap: true on one server"))
	}
	for _, n := range s.Nodes {
		if n.on() && n != first && first != nil && !n.Config.Has("server") {
			found = append(found, n.inCluster("role", fmt.Sprintf("%s knows no server to join", n.label())).
				WithFix("give the bootstrap server an address, or the cluster an address"))
		}
	}
	return append(found, tokens(s, first)...)
}

// tokens wants every node that joins to have a token.
func tokens(s *Subject, first *Node) document.Problems {
	for _, n := range s.Nodes {
		if n.on() && n != first && !n.Config.Has("token") && !n.Config.Has("token-file") {
			return document.Problems{n.inCluster("role", fmt.Sprintf("%s has no token to join with", n.label())).WithRule("H1").
				WithFix("write secrets: and a file with the cluster's token")}
		}
	}
	return nil
}

func sharedStore(s *Subject) document.Problems {
	servers, first := s.servers()
	if s.Cluster == nil || len(servers) < 2 || first == nil || !first.k3s() {
		return nil
	}
	if first.Config.Has("datastore-endpoint") || first.Config.Bool("cluster-init") {
		return nil
	}
	return one(first.at("cluster-init", fmt.Sprintf("%d servers cannot share K3s's sqlite", len(servers))).
		WithFix("remove cluster-init: false, or set datastore-endpoint"))
}

func oddServers(s *Subject) document.Problems {
	servers, first := s.servers()
	if s.Cluster == nil || len(servers) < 2 || len(servers)%2 == 1 || first != nil && first.Config.Has("datastore-endpoint") {
		return nil
	}
	last := servers[len(servers)-1]
	return one(last.inCluster("role", fmt.Sprintf("%d servers bear no more failures than %d", len(servers), len(servers)-1)).
		WithFix("use an odd number of servers; make this one an agent"))
}

func serverURL(n *Node) document.Problems {
	s, said := n.Config["server"]
	if !n.on() || !said || s.Derived {
		return nil
	}
	text := n.Config.Text("server")
	dist := n.Profile.Kubernetes.Distribution
	port := kube.JoinPort(dist)
	say := func(message, fix string) document.Problems {
		return one(s.Problem(message).WithFix(fix))
	}
	u, err := url.Parse(text)
	switch {
	case strings.HasPrefix(text, "http://"):
		return say("servers are joined with https", "write https"+strings.TrimPrefix(text, "http"))
	case !strings.HasPrefix(text, "https://"):
		return say(fmt.Sprintf("%q is no URL of a server", text), "write "+kube.JoinURL(dist, "NAME-OR-ADDRESS"))
	case bareIPv6(strings.TrimPrefix(text, "https://")) != "":
		return say("an IPv6 address in a URL stands in brackets", "write "+kube.JoinURL(dist, bareIPv6(strings.TrimPrefix(text, "https://"))))
	case err != nil || u.Hostname() == "":
		return say(fmt.Sprintf("%q is no URL of a server", text), "write "+kube.JoinURL(dist, "NAME-OR-ADDRESS"))
	case u.Port() == "":
		return say("the URL has no port", "write "+kube.JoinURL(dist, u.Hostname()))
	case u.Port() != strconv.Itoa(port) && !customPort(n):
		return say(fmt.Sprintf("nodes join %s at port %d, not %s", distName(n), port, u.Port()), "write "+kube.JoinURL(dist, u.Hostname()))
	}
	return nil
}

// customPort tells whether the profile moves K3s's port.
func customPort(n *Node) bool {
	return n.Servers.Has("https-listen-port") || n.Servers.Has("advertise-port") || n.Config.Has("https-listen-port")
}

// bareIPv6 is the IPv6 address at the front of a URL's host that is not in
// brackets; "" when there is none.
func bareIPv6(rest string) string {
	host, _, _ := strings.Cut(rest, "/")
	if strings.HasPrefix(host, "[") || strings.Count(host, ":") < 2 {
		return ""
	}
	// The last colon may part a port from the address.
	if i := strings.LastIndexByte(host, ':'); len(host)-i > 4 {
		if a, err := netip.ParseAddr(host[:i]); err == nil {
			return a.String()
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	return ""
}

// hardwareRules are the rules about what nodes run on.
func hardwareRules() []Rule {
	return []Rule{
		{
			ID: "H5", Level: document.Warning, Title: "etcd is not kept on an SD card or eMMC",
			Why:    "Its writes wait for the card: leaders are lost, servers restart, and the card wears out.",
			Source: "K3s documentation, requirements; k3s#1850, k3s#2353, k3s#6654",
			Bad:    Example{Profile: "kubernetes:\n  server: {cluster-init: true}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], storage: sd}\n"},
			Good:   Example{Profile: "kubernetes:\n  server: {cluster-init: true}\n", Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], storage: ssd}\n"},
			node:   etcdOnCard,
		},
		{
			ID: "H6", Level: document.Warning, Title: "a node has the memory its role needs",
			Why:    "A server of K3s needs 2 GB and one of RKE2 4 GB, an agent 512 MB; with less, parts are killed under load.",
			Source: "K3s and RKE2 documentation, requirements; measured: 443 MB to 689 MB for an idle K3s server",
			Bad:    Example{Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], memory: 512}\n"},
			Good:   Example{Cluster: "nodes:\n  - {name: node-1, role: server, addresses: [192.168.1.11], memory: 2048}\n"},
			node:   memory,
		},
		{
			ID: "H7", Level: document.Warning, Title: "a token is not where others may read it: in an image, or in a secrets file that is not its owner's alone",
			Severity: "warning for a token in a profile, error for the mode of a secrets file",
			Why:      "Whoever has it can join the cluster as a server.",
			Source:   "K3s documentation, token",
			Bad:      Example{Profile: "kubernetes:\n  config: {token: K10secret}\n"},
			Good:     Example{Profile: "kubernetes:\n  config: {token-file: /data/weft/token}\n"},
			node:     tokenInImage,
		},
		{
			ID: "H8", Title: "the distribution is there for the board's architecture",
			Why:    "RKE2 has no program for 32-bit boards; K3s has one for armhf (v7), but none for v6 or 32-bit x86.",
			Source: "K3s and RKE2 documentation, requirements",
			Bad:    Example{Profile: "kubernetes: {distribution: rke2}\n", Facts: Facts{Arch: "armhf"}},
			Good:   Example{Profile: "kubernetes: {distribution: k3s}\n", Facts: Facts{Arch: "armhf"}},
			node:   architecture,
		},
		{
			ID: "N30", Title: "what is put into the image is named, found and verified",
			Why:    "A file from the net without its digest is whatever the net says it is.",
			Source: "weft's own format",
			Bad:    Example{Profile: "kubernetes:\n  payload:\n    - {url: \"https://example.org/k3s\"}\n"},
			Good:   Example{Profile: "kubernetes:\n  payload:\n    - {url: \"https://example.org/k3s\", sha256: " + strings.Repeat("0a", 32) + "}\n"},
			node:   payloads,
		},
	}
}

func etcdOnCard(n *Node) document.Problems {
	if !n.server() || n.Facts.Storage != "sd" && n.Facts.Storage != "emmc" {
		return nil
	}
	if n.k3s() && !n.Config.Bool("cluster-init") && !(n.Config.Has("server")) || n.Config.Has("datastore-endpoint") {
		return nil
	}
	return one(n.inCluster("storage", fmt.Sprintf("%s would keep etcd on %s", n.label(), n.Facts.Storage)).
		WithFix("put the data partition on an SSD, or use one K3s server, which keeps its state in sqlite"))
}

func memory(n *Node) document.Problems {
	if n.Facts.Memory == 0 || !n.on() || n.Entry == nil {
		return nil
	}
	// A little less than the round number is what such machines report.
	need := 480
	switch {
	case n.server() && n.rke2():
		need = 3800
	case n.server():
		need = 1900
	}
	if n.Facts.Memory >= need {
		return nil
	}
	return one(n.inCluster("memory", fmt.Sprintf("%s has %d MiB; %s %s needs %d", n.label(), n.Facts.Memory, article(n), n.Role, need)).
		WithFix("use a board with more memory, or give it a smaller role"))
}

func article(n *Node) string {
	if n.rke2() {
		return "an RKE2"
	}
	return "a K3s"
}

func tokenInImage(n *Node) document.Problems {
	var found document.Problems
	for _, key := range []string{"token", "agent-token"} {
		if s, said := n.Config[key]; said && s.Doc == n.Doc && !s.Derived {
			found = append(found, keyProblem(s, fmt.Sprintf("the %s would be in every image of this profile", key)).
				WithFix("put it into the cluster's secrets file; it is handed over at first boot"))
		}
	}
	return found
}

// architectures are what the distributions have programs for.
var architectures = map[string][]string{
	profiles.K3s:  {"amd64", "arm64", "armhf"},
	profiles.RKE2: {"amd64", "arm64"},
}

func architecture(n *Node) document.Problems {
	known := architectures[n.Profile.Kubernetes.Distribution]
	if n.Facts.Arch == "" || known == nil || slices.Contains(known, n.Facts.Arch) {
		return nil
	}
	return one(n.inProfile(fmt.Sprintf("there is no %s for %s", distName(n), n.Facts.Arch), "kubernetes.distribution").
		WithFix(fmt.Sprintf("use a board of %s", strings.Join(known, " or "))))
}

func payloads(n *Node) document.Problems {
	k := n.Profile.Kubernetes
	var found document.Problems
	for _, l := range []struct {
		path string
		list []profiles.Payload
	}{{"kubernetes.payload", k.Payload}, {"kubernetes.images", k.Images}, {"kubernetes.manifests", k.Manifests}} {
		for i, p := range l.list {
			at := document.Index(l.path, i)
			switch {
			case p.Path == "" && p.URL == "" || p.Path != "" && p.URL != "":
				found = append(found, n.Doc.Problem(at, "a payload has either path or url").WithFix("give one of the two"))
			case p.URL != "" && !strings.HasPrefix(p.URL, "https://"):
				found = append(found, n.Doc.Problem(at+".url", "payloads are fetched with https").WithFix("write https://"))
			case p.URL != "" && p.SHA256 == "":
				found = append(found, n.Doc.Problem(at+".url", "a payload from the net needs its digest").
					WithFix("add sha256: and the 64 digits that sha256sum prints"))
			case p.SHA256 != "" && (len(p.SHA256) != 64 || strings.Trim(p.SHA256, "0123456789abcdef") != ""):
				found = append(found, n.Doc.Problem(at+".sha256", "this is no SHA-256").
					WithFix("write the 64 lower-case digits that sha256sum prints"))
			case strings.ContainsAny(p.Name, "/\\\x00") || p.Name == "." || p.Name == "..":
				found = append(found, n.Doc.Problem(at+".name", fmt.Sprintf("%q is no file name", p.Name)).
					WithFix("write a name without a slash"))
			case l.path == "kubernetes.manifests" && strings.Contains(payloadName(p), "_"):
				found = append(found, n.Doc.Problem(at, fmt.Sprintf("%s is no name for a manifest", payloadName(p))).
					WithNote("an underscore is not allowed").WithFix("name: "+strings.ReplaceAll(payloadName(p), "_", "-")))
			}
		}
	}
	return found
}

package profiles

import (
	"fmt"
	"slices"
	"strings"

	"weft/document"
)

// placeRules are what a node's place in a Kubernetes cluster must keep.
var placeRules = []document.Rule[Node]{
	{ID: "N81", Source: "roles and URLs that K3s and RKE2 take", Check: checkPlace},
}

func checkPlace(n Node, d *document.Document) document.Problems {
	k := n.Kubernetes
	var found document.Problems
	known := []string{RoleServer, RoleAgent, RoleNone}
	if k.Role != "" && !slices.Contains(known, k.Role) {
		found = append(found, d.Problem("kubernetes.role", fmt.Sprintf("there is no role %q", k.Role)).WithFix(document.DidYouMean(k.Role, known)))
	}
	if k.Role == RoleAgent && k.Join == "" {
		found = append(found, d.Problem("kubernetes.role", "an agent joins a server, and none is named").WithFix("add join: https://SERVER:6443, or :9345 for RKE2"))
	}
	if k.Join != "" && !strings.HasPrefix(k.Join, "https://") {
		found = append(found, d.Problem("kubernetes.join", "nodes join by https").WithFix("write https:// before it"))
	}
	if k.Join != "" && k.More {
		found = append(found, d.Problem("kubernetes.more", "more is said on the server that begins the cluster, and this one joins another").WithFix("remove it"))
	}
	return found
}

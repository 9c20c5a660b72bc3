package kubernetes

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// defaultPrefix is flannel's (--kube-annotation-prefix).
const defaultPrefix = "flannel.alpha.coreos.com"

// names are the names of the annotations that hold a lease
// (flannel: pkg/subnet/kube/annotations.go).
type names struct {
	managed, backend, extra string
	ipv4, ipv6              familyNames
}

// familyNames are those of one address family.
type familyNames struct {
	data, address, overwrite, node string
}

var prefixForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z0-9_-]+\.)+[a-z0-9_-]+/([a-z0-9_-]+-)?$`) })

// newNames makes the names from what they begin with, by flannel's rule: a
// domain, and after a slash what may come before each name.
func newNames(prefix string) (names, error) {
	if prefix == "" {
		prefix = defaultPrefix
	}
	p := prefix
	if !strings.Contains(p, "/") {
		p += "/"
	}
	if !strings.HasSuffix(p, "/") && !strings.HasSuffix(p, "-") {
		p += "-"
	}
	if !prefixForm().MatchString(p) {
		return names{}, fmt.Errorf("kubernetes store: annotation prefix %q is no domain with an optional /name; fix: leave annotationPrefix out, or write one like %s", prefix, defaultPrefix)
	}
	return names{
		managed: p + "kube-subnet-manager",
		backend: p + "backend-type",
		// Ours; flanneld reads and writes the others only.
		extra: p + "weft",
		ipv4: familyNames{
			data: p + "backend-data", address: p + "public-ip",
			overwrite: p + "public-ip-overwrite", node: p + "node-public-ip",
		},
		ipv6: familyNames{
			data: p + "backend-v6-data", address: p + "public-ipv6",
			overwrite: p + "public-ipv6-overwrite", node: p + "node-public-ipv6",
		},
	}, nil
}

// family are the names of one family.
func (n names) family(ipv6 bool) familyNames {
	if ipv6 {
		return n.ipv6
	}
	return n.ipv4
}

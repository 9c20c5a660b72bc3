// Package kubernetes is the store whose leases are annotations of the nodes
// of a Kubernetes cluster, in the form flannel's kube subnet manager keeps
// there, so that nodes with flanneld and nodes with netd make one network.
//
// It is a small client of its own on net/http and encoding/json: it lists and
// watches nodes, and patches the status of one. It knows client certificates,
// bearer tokens and the part of kubeconfig files that carries those; it is no
// general client, runs no credential plugins and speaks no protobuf.
//
// The names of annotations, and what is in them, follow flannel v0.28.9
// (pkg/subnet/kube); what a client has to expect of an API server follows
// "Kubernetes API Concepts" of the Kubernetes documentation, cited as [API].
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/profiles"
)

// Config is what a store needs to know.
type Config struct {
	// KubernetesStore says where the API server is and who we are there.
	profiles.KubernetesStore
	// Hostname stands in for the name of the node's object when Node is
	// empty; in lower case, as kubelet does it.
	Hostname string
	// Networks are the pod ranges of the network, at most one of each family.
	// The families here are those that leases are read and written for.
	Networks []netip.Prefix
	// AllowInsecure lets a kubeconfig turn the check of the server's
	// certificate off; without it such a file is refused.
	AllowInsecure bool
	// Log is where what passes by itself is told.
	Log *slog.Logger

	// Dial opens connections; a net.Dialer's DialContext when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Random gives numbers in [0, 1), for what must not happen on all nodes
	// at once; math/rand/v2's when nil.
	Random func() float64
}

// A Store is the nodes of one cluster, as one of them sees them.
type Store struct {
	client *client
	// own is the client for this node's object: another one than client when
	// it has credentials of its own.
	own      *client
	names    names
	node     string
	networks []netip.Prefix
	log      *slog.Logger
	// condition says that NetworkUnavailable is ours to set.
	condition bool
}

var _ store.Store = (*Store)(nil)

// nodeName is what Kubernetes lets a node be called: a DNS subdomain (RFC
// 1123), which also keeps it harmless in a path and a selector.
var nodeName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`) })

// New returns the store that c describes. It opens no connection, and reads
// files only to refuse what can never work: files that are not there yet are
// waited for.
func New(c Config) (*Store, error) {
	names, err := newNames(c.AnnotationPrefix)
	if err != nil {
		return nil, err
	}
	node := c.Node
	if node == "" {
		node = strings.ToLower(c.Hostname)
	}
	if !nodeName().MatchString(node) {
		return nil, fmt.Errorf("kubernetes store: %q is no name of a node; fix: set store.kubernetes.node to what kubectl get nodes says", node)
	}
	if c.Kubeconfig == "" && len(c.Servers) == 0 {
		return nil, errors.New("kubernetes store: it is not said where the API server is; fix: set store.kubernetes.kubeconfig, or servers with caFile and a credential")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if _, err := readAccess(c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kubernetes store: %w", err)
	}
	client := newClient(c)
	own := client
	if c.OwnKubeconfig != "" {
		c.Kubeconfig = c.OwnKubeconfig
		if _, err := readAccess(c); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("kubernetes store: ownKubeconfig: %w", err)
		}
		own = newClient(c)
	}
	return &Store{
		client: client, own: own, names: names, node: node, networks: c.Networks, log: c.Log,
		condition: c.NetworkUnavailable == nil || *c.NetworkUnavailable,
	}, nil
}

// Watch delivers the leases of the other nodes, by the names of their objects.
//
// An update that is empty says that what the error before it told of is over.
// A node whose annotations cannot be read is reported as a [*store.Problem]
// once for each version of its object, and what it said before still counts;
// so is this node when its pod subnets cannot be used.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Update, error] {
	return func(yield func(store.Update, error) bool) {
		p := peers{self: s.node}
		for c, err := range follow(ctx, s.client, "", s.read) {
			if err != nil {
				if !yield(store.Update{}, err) {
					return
				}
				continue
			}
			update, problems, news := p.apply(c)
			if news && !yield(update, nil) {
				return
			}
			for _, problem := range problems {
				if !yield(store.Update{}, problem) {
					return
				}
			}
		}
	}
}

// read turns a node's object into what is kept of it.
func (s *Store) read(o object) entry {
	e := entry{name: o.Metadata.Name, uid: o.Metadata.UID, version: o.Metadata.ResourceVersion}
	var err error
	if e.name == s.node {
		_, err = podSubnets(o.Spec, s.networks)
		if errors.Is(err, errNoSubnets) {
			err = nil
		}
	} else {
		e.lease, err = s.names.lease(o, s.networks)
	}
	if err != nil {
		e.problem = &store.Problem{Key: "node " + e.name, Reason: err.Error(), Fix: fixOf(err)}
	}
	return e
}

// Publish writes this node's lease into the annotations of its object: it
// waits for the object and for its pod subnets, which are the subnets of the
// lease whatever own says of them, writes what differs, and says that the
// network is available.
//
// The addresses of the lease granted are those peers use: what the
// annotations public-ip-overwrite or else node-public-ip of the object say,
// in each family, or else the addresses of own.
//
// What stands against the lease is told to granted; that the server cannot be
// reached is not, which [Store.Watch] tells and which ends no lease, unless
// this node has credentials of its own and no lease yet.
func (s *Store) Publish(ctx context.Context, own lease.Lease, granted func(lease.Lease, error)) error {
	p, err := newPublisher(s, own, granted)
	if err != nil {
		return err
	}
	for c, err := range follow(ctx, s.own, "metadata.name="+s.node, func(o object) object { return o }) {
		if err != nil {
			p.cutOff(err)
			continue
		}
		if c.restored {
			p.goesOn()
		}
		p.take(ctx, c)
	}
	return nil
}

package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"weft/netd/lease"
)

// strategic merges lists of conditions by their type. A JSON merge patch
// would put the one it has in place of all, the node's Ready among them
// ([API], "Strategic merge patch").
const strategic = "application/strategic-merge-patch+json"

// The condition that says the node's network is there, in the words of
// flannel (pkg/subnet/kube/kube.go, SetNodeNetworkUnavailable).
const (
	networkUnavailable = "NetworkUnavailable"
	isFalse            = "False"
	upReason           = "FlannelIsUp"
	upMessage          = "weft netd is running on this node"
)

// quarrel is how long annotations that somebody else has changed are left at
// that, so that two daemons on one node do not write as fast as they can.
const quarrel = 10 * time.Second

// patchTimeout is how long a patch may take, its answer included.
const patchTimeout = time.Minute

// A publisher writes one lease into one object and keeps it there.
type publisher struct {
	store   *Store
	log     *slog.Logger
	own     lease.Lease
	granted func(lease.Lease, error)

	// version is that of our last patch as long as the watch has not shown
	// it: what comes before it is old news.
	version string
	// last is what was written last, and when.
	last   written
	lastAt time.Time
	// grants is what was granted last; nil before that, and after an error was
	// told.
	grants *lease.Lease
	// up is the UID of the object whose condition was seen to last.
	up string
	// told is what was logged last.
	told string
	// why is what was last told against the lease; nil when it was granted.
	// away says that the consumer was told of something else meanwhile.
	why  error
	away bool
}

// newPublisher refuses a lease that can never be written.
func newPublisher(s *Store, own lease.Lease, granted func(lease.Lease, error)) (*publisher, error) {
	if own.Backend == "" {
		return nil, errors.New("own lease: it has no backend")
	}
	if _, err := own.Extra(); err != nil {
		return nil, fmt.Errorf("own lease: %w", err)
	}
	return &publisher{store: s, log: s.log.With("node", s.node), own: own, granted: granted}, nil
}

// take acts on news of the object.
func (p *publisher) take(ctx context.Context, c change[object]) {
	if c.full {
		p.version = ""
		if len(c.set) == 0 {
			p.wait(notRegistered)
		}
	}
	if slices.ContainsFunc(c.gone, func(o object) bool { return o.Metadata.Name == p.store.node }) {
		p.version, p.last = "", nil
		p.wait("its object was deleted; fix: start its kubelet (K3s, RKE2) again, which registers it")
	}
	for _, o := range c.set {
		if o.Metadata.Name != p.store.node {
			continue // a server that ignores the selector
		}
		if p.version != "" && o.Metadata.ResourceVersion != p.version {
			continue
		}
		p.version = ""
		p.see(ctx, o, c.full)
	}
}

// see makes the object say what it should.
func (p *publisher) see(ctx context.Context, o object, full bool) {
	want, granted, ok := p.want(o)
	if !ok {
		return
	}
	if difference := want.difference(o.Metadata.Annotations); len(difference) > 0 {
		if o, ok = p.write(ctx, o, want, difference); !ok {
			return
		}
		if _, granted, ok = p.want(o); !ok {
			return
		}
	}
	p.grant(granted)
	// Whoever says otherwise later has it until the next list: the route
	// controller of a cloud sets the condition too.
	if p.store.condition && (full || p.up != o.Metadata.UID) {
		p.up = o.Metadata.UID
		if !o.networkAvailable() {
			if p.setCondition(ctx) {
				p.grant(granted)
			}
		}
	}
}

// want is what the annotations of o should say, and the lease that makes.
func (p *publisher) want(o object) (written, lease.Lease, bool) {
	subnets, err := podSubnets(o.Spec, p.store.networks)
	if errors.Is(err, errNoSubnets) {
		p.wait("it has no pod subnet yet (spec.podCIDRs); fix: none if it is new; kube-controller-manager gives it one when it runs with --allocate-node-cidrs")
		return nil, lease.Lease{}, false
	}
	if err == nil {
		var w written
		var granted lease.Lease
		if w, granted, err = p.store.names.annotations(p.own, o, subnets); err == nil {
			return w, granted, true
		}
	}
	p.refuse(fmt.Errorf("node %s: %w; fix: %s", p.store.node, err, fixOf(err)))
	return nil, lease.Lease{}, false
}

// write patches the annotations and returns the object as it then is.
func (p *publisher) write(ctx context.Context, o object, want written, difference map[string]*string) (object, bool) {
	if maps.Equal(want, p.last) {
		if wait := time.Until(p.lastAt.Add(quarrel)); wait > 0 {
			p.refuse(fmt.Errorf("somebody else changes the annotations of node %s; fix: stop flanneld, or the other netd, on this node", p.store.node))
			if !pause(ctx, wait) {
				return o, false
			}
		}
	}
	body, err := annotationsPatch(difference)
	if err != nil {
		p.refuse(err)
		return o, false
	}
	updated, ok := p.patch(ctx, "annotations", body)
	if !ok {
		return o, false
	}
	p.last, p.lastAt = want, time.Now()
	if updated.Metadata.ResourceVersion != o.Metadata.ResourceVersion {
		p.version = updated.Metadata.ResourceVersion
	}
	p.log.Info("lease published", "annotations", len(difference))
	return updated, true
}

// grant tells of the lease if it is news.
func (p *publisher) grant(l lease.Lease) {
	p.told, p.why, p.away = "", nil, false
	if p.grants == nil || !p.grants.Equal(l) {
		p.grants = &l
		p.granted(l, nil)
	}
}

// networkAvailable reports whether the object says that its network is there.
func (o object) networkAvailable() bool {
	for _, c := range o.Status.Conditions {
		if c.Type == networkUnavailable {
			return c.Status == isFalse
		}
	}
	return false
}

// setCondition says that the node's network is there. It is false when that
// could not be said.
func (p *publisher) setCondition(ctx context.Context) bool {
	now := time.Now().UTC().Format(time.RFC3339)
	body, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []map[string]string{{
		"type": networkUnavailable, "status": isFalse, "reason": upReason, "message": upMessage,
		"lastHeartbeatTime": now, "lastTransitionTime": now,
	}}}})
	if err != nil {
		p.refuse(err)
		return false
	}
	_, ok := p.patch(ctx, "condition "+networkUnavailable, body)
	return ok
}

// patch patches the object's status, which takes annotations too but leaves
// spec alone, until that succeeds. It is false when there is no object or ctx
// ended.
func (p *publisher) patch(ctx context.Context, what string, body []byte) (object, bool) {
	for failures := 1; ; failures++ {
		o, err := p.store.own.patch(ctx, request{
			what:   "patch " + what + " of node " + p.store.node,
			method: http.MethodPatch, path: "/api/v1/nodes/" + p.store.node + "/status",
			contentType: strategic, body: body,
		})
		switch {
		case err == nil:
			return o, true
		case ctx.Err() != nil:
			return o, false
		case hasCode(err, http.StatusNotFound):
			p.wait(notRegistered)
			return o, false
		}
		p.refuse(err)
		wait := backoff(failures, p.store.own.config.Random())
		if s := (*statusError)(nil); errors.As(err, &s) {
			wait = max(wait, s.retryAfter)
		}
		if !pause(ctx, wait) {
			return o, false
		}
	}
}

// patch asks for a change of a node's object and returns it as it then is.
func (c *client) patch(ctx context.Context, r request) (o object, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patchTimeout, fmt.Errorf("%s: the answer takes too long", r.what))
	defer cancel()
	response, err := c.do(ctx, r)
	if err != nil {
		return o, err
	}
	defer response.Body.Close()
	m := &meter{r: response.Body, left: maxObject, all: maxObject}
	err = json.NewDecoder(m).Decode(&o)
	finish(response)
	switch {
	case ctx.Err() != nil:
		return o, context.Cause(ctx)
	case err != nil:
		return o, fmt.Errorf("%s: %w", r.what, err)
	case o.Metadata.ResourceVersion == "":
		return o, fmt.Errorf("%s: the answer is no node", r.what)
	}
	return o, nil
}

// notRegistered is said of a node without an object.
const notRegistered = "it is not registered; fix: start its kubelet (K3s, RKE2); if kubectl get nodes lists it by another name, set store.kubernetes.node to that"

// wait tells what is waited for, once: the reason, with its fix, is about the
// node.
func (p *publisher) wait(reason string) {
	if p.told != reason {
		p.told = reason
		p.log.Info("publish: waiting", "reason", reason)
		p.tell(fmt.Errorf("node %s: %s", p.store.node, reason))
	}
}

// refuse tells what stands against the lease, once as long as that stays the
// same.
func (p *publisher) refuse(err error) {
	if p.warn(err) {
		p.tell(err)
	}
}

// tell hands an error to the consumer, who is told of the lease again when it
// is over.
func (p *publisher) tell(err error) {
	p.grants, p.why, p.away = nil, err, false
	p.granted(lease.Lease{}, err)
}

// cutOff tells that the object cannot be followed. With the credentials that
// all nodes are read with that is the watch's to tell, and a lease that was
// granted stands whoever can be reached.
func (p *publisher) cutOff(err error) {
	if p.warn(err) && p.store.own != p.store.client && p.grants == nil {
		p.away = true
		p.granted(lease.Lease{}, err)
	}
}

// goesOn tells again what stood against the lease before the object could not
// be followed.
func (p *publisher) goesOn() {
	if p.away && p.why != nil {
		p.away = false
		p.granted(lease.Lease{}, p.why)
	}
}

// warn logs an error, once as long as it stays the same, and reports whether
// it did.
func (p *publisher) warn(err error) bool {
	if p.told == err.Error() {
		return false
	}
	p.told = err.Error()
	p.log.Warn("publish", "error", err)
	return true
}

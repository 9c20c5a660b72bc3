package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/nstest"
	"weft/netd/status"
	"weft/netd/store/kubernetes/kubernetestest"
	"weft/profiles"
)

// annotation is what flannel's annotations begin with.
const annotation = "flannel.alpha.coreos.com/"

// An apiServer is an API server on the LAN of a cluster.
type apiServer struct {
	*kubernetestest.Server
	host *nstest.Node
	dir  string
}

// onKubernetes makes n nodes on an API server of their own, which has no
// objects yet; no netd is started.
func onKubernetes(t testing.TB, f families, n int, change ...func(*profiles.Netd)) (*cluster, *apiServer) {
	t.Helper()
	a := &apiServer{host: nstest.New(t, "api"), dir: t.TempDir()}
	var listener net.Listener
	if err := a.host.Do(func() (err error) { listener, err = net.Listen("tcp", ":6443"); return err }); err != nil {
		t.Fatal(err)
	}
	a.Server = kubernetestest.New(kubernetestest.Options{Listener: listener, BookmarkEvery: time.Second})
	t.Cleanup(a.Close)
	kubeconfig := a.kubeconfig(t, kubernetestest.Netd)
	onIt := func(c *profiles.Netd) {
		c.Node.Subnets, c.Network.Peers = nil, nil
		c.Paths.State = filepath.Join(filepath.Dir(c.Paths.Socket), "state")
		c.Network.Store = profiles.Store{Type: profiles.StoreKubernetes, Kubernetes: profiles.KubernetesStore{Kubeconfig: kubeconfig}}
	}
	c := newCluster(t, f, n, append([]func(*profiles.Netd){onIt}, change...)...)
	c.lan.Attach(t, a.host, "eth0", "10.0.0.250/24", "fd00:10::250/64")
	return c, a
}

// kubeconfig writes a kubeconfig of an identity and returns its path.
func (a *apiServer) kubeconfig(t testing.TB, identity string) string {
	t.Helper()
	text := fmt.Sprintf(`{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],
clusters: [{name: a, cluster: {server: "https://10.0.0.250:6443", tls-server-name: %q, certificate-authority-data: %s}}],
users: [{name: a, user: {token: %q}}]}`, kubernetestest.Host, base64.StdEncoding.EncodeToString(a.CA()), a.Token(identity))
	file := filepath.Join(a.dir, strings.ReplaceAll(identity, ":", "-"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// register makes the object of node number n, with its pod subnets, as a
// kubelet and kube-controller-manager do.
func (a *apiServer) register(f families, n int) {
	var subnets []string
	if f.v4 {
		subnets = append(subnets, subnet4(n))
	}
	if f.v6 {
		subnets = append(subnets, subnet6(n))
	}
	a.Put(kubernetestest.Node(fmt.Sprintf("node-%d", n), subnets...))
}

// flannel makes the object of a node that runs flanneld.
func flannel(n int) kubernetestest.Object {
	return kubernetestest.Annotate(kubernetestest.Node(fmt.Sprintf("node-%d", n), subnet4(n)),
		annotation+"kube-subnet-manager", "true", annotation+"backend-type", "vxlan",
		annotation+"backend-data", fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:00:%02x"}`, n),
		annotation+"public-ip", fmt.Sprintf("10.0.0.%d", n))
}

// reboots takes from a node what a reboot takes.
func (x *node) reboots(t testing.TB) {
	t.Helper()
	x.stop(t, unix.SIGTERM)
	for _, device := range x.devices() {
		x.Run(t, "ip", "link", "del", device)
	}
	x.Run(t, "nft", "flush", "ruleset")
	if err := os.Remove(x.config.Paths.SubnetEnv); err != nil {
		t.Fatal(err)
	}
}

// stands waits until a report of the node is as it should be.
func (x *node) stands(t testing.TB, what string, check func(status.Report) error) {
	t.Helper()
	// Less than the 30 s after which netd looks at everything again: what is
	// awaited has to be told when it happens.
	nstest.Eventually(t, 25*time.Second, x.Name+": "+what, func() error { return check(x.report(t)) })
}

// ready is a check for [node.stands]: all is well, with so many peers.
func ready(peers int) func(status.Report) error {
	return func(r status.Report) error {
		if !r.Ready || len(r.Peers) != peers {
			return fmt.Errorf("ready %t with %d peers of %d: %s", r.Ready, len(r.Peers), peers, r.Reason)
		}
		return nil
	}
}

func TestNetworkOnKubernetesIsTheOneOfItsAnnotations(t *testing.T) {
	c, api := onKubernetes(t, dual, 2)
	api.register(dual, 1)
	api.register(dual, 2)
	api.Put(flannel(3))
	c.startAll(t)
	x := c.nodes[0]
	// Two families of node-2, one of node-3.
	for _, x := range c.nodes {
		x.stands(t, "all peers", ready(3))
	}
	notes := api.Annotations("node-1")
	mac := profiles.VTEPMAC("node-1").String()
	for name, want := range map[string]string{
		"kube-subnet-manager": "true", "backend-type": "vxlan", "public-ip": "10.0.0.1", "public-ipv6": "fd00:10::1",
		"backend-data":    fmt.Sprintf(`{"VNI":1,"VtepMAC":%q}`, mac),
		"backend-v6-data": fmt.Sprintf(`{"VNI":1,"VtepMAC":%q}`, mac),
	} {
		if got := notes[annotation+name]; got != want {
			t.Errorf("annotation %s is %q, want %q", name, got, want)
		}
	}
	nstest.Eventually(t, 10*time.Second, "the condition", func() error {
		if got := api.Conditions("node-1"); got["NetworkUnavailable"] != "False FlannelIsUp" || got["Ready"] != "True KubeletReady" {
			return fmt.Errorf("conditions are %v", got)
		}
		return nil
	})
	env, err := os.ReadFile(x.config.Paths.SubnetEnv)
	if err != nil || !strings.Contains(string(env), "FLANNEL_SUBNET=10.244.1.1/24\n") || !strings.Contains(string(env), "FLANNEL_IPV6_SUBNET=fd42:0:0:1::1/64\n") {
		t.Errorf("subnet.env is %v\n%s", err, env)
	}
	routes := x.Run(t, "ip", "-4", "route", "show", "dev", "flannel.1") + x.Run(t, "ip", "-6", "route", "show", "dev", "flannel-v6.1")
	for _, want := range []string{"10.244.2.0/24 via 10.244.2.0 ", "10.244.3.0/24 via 10.244.3.0 ", "fd42:0:0:2::/64 via fd42:0:0:2:: "} {
		if !strings.Contains(routes, want) {
			t.Errorf("no %q in\n%s", want, routes)
		}
	}
	if fdb := x.Run(t, "bridge", "fdb", "show", "dev", "flannel.1"); !strings.Contains(fdb, "0e:00:00:00:00:03 dst 10.0.0.3 ") {
		t.Errorf("the flannel node is not in\n%s", fdb)
	}
	a, _ := x.addPod(t, 10), c.nodes[1].addPod(t, 10)
	pings(t, a, "10.244.2.10")
	pings(t, a, "fd42:0:0:2::a")

	api.Delete("node-3")
	api.Put(flannel(4))
	x.stands(t, "node-4 in the place of node-3", func(r status.Report) error {
		if out := x.Run(t, "ip", "-4", "route", "show", "dev", "flannel.1"); strings.Contains(out, "10.244.3.0/24") || !strings.Contains(out, "10.244.4.0/24") {
			return fmt.Errorf("routes are\n%s", out)
		}
		return ready(3)(r)
	})
}

func TestNodeOnKubernetesBootsFromWhatItKeptWithTheAPIGone(t *testing.T) {
	c, api := onKubernetes(t, onlyIPv4, 2)
	api.register(onlyIPv4, 1)
	api.register(onlyIPv4, 2)
	c.startAll(t)
	for _, x := range c.nodes {
		x.stands(t, "its peer", ready(1))
	}
	x, before := c.nodes[0], api.Annotations("node-1")
	x.reboots(t)
	api.host.Run(t, "ip", "link", "set", "eth0", "down")
	x.start(t)
	x.waitReady(t)
	r := x.report(t)
	if r.Store.OwnSince != nil || r.Store.OwnRenewed != nil {
		t.Errorf("own lease since %v, confirmed %v: nobody said so", r.Store.OwnSince, r.Store.OwnRenewed)
	}
	if r.Ready || !r.Store.Kept || len(r.Peers) != 1 || !strings.HasPrefix(r.Reason, "store: it has not answered yet") {
		t.Errorf("ready %t, store %+v, peers %v: %s", r.Ready, r.Store, r.Peers, r.Reason)
	}
	a, _ := x.addPod(t, 10), c.nodes[1].addPod(t, 10)
	pings(t, a, "10.244.2.10")

	api.host.Run(t, "ip", "link", "set", "eth0", "up")
	x.stands(t, "the store's own word", func(r status.Report) error {
		if r.Store.OwnSince == nil {
			return errors.New("the own lease is not confirmed")
		}
		return ready(1)(r)
	})
	if after := api.Annotations("node-1"); !maps.Equal(after, before) {
		t.Errorf("annotations are %v, were %v", after, before)
	}
}

// forbidden answers every patch as RBAC does.
func forbidden(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPatch {
		return false
	}
	kubernetestest.Refuse(w, http.StatusForbidden, "Forbidden", `nodes "node-1" is forbidden: User "somebody" cannot patch resource "nodes/status"`)
	return true
}

// The first boot of the node that begins the cluster: netd is there before the
// credentials, the API server and the node's object, in this order, and nothing
// but its own state says so. It is ready by itself when they are.
func TestFirstBootOnKubernetesEndsByItself(t *testing.T) {
	c, api := onKubernetes(t, onlyIPv4, 1)
	x := c.nodes[0]
	written := x.config.Network.Store.Kubernetes.Kubeconfig
	later := filepath.Join(x.dir, "kubelet.kubeconfig")
	x.config.Network.Store.Kubernetes.Kubeconfig = later
	x.writeConfig(t)
	api.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		kubernetestest.Refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable", "the API server is starting")
		return true
	})
	x.start(t)
	x.answers(t)
	waits := func(reason, fix string) func(status.Report) error {
		return func(r status.Report) error {
			if r.Ready || !strings.Contains(r.Reason, reason) || !strings.Contains(r.Fix, fix) {
				return fmt.Errorf("ready %t, reason %q, fix %q", r.Ready, r.Reason, r.Fix)
			}
			return nil
		}
	}
	x.stands(t, "no credentials", waits("kubelet.kubeconfig: no such file", "start what writes it"))
	text, err := os.ReadFile(written)
	if err == nil {
		err = os.WriteFile(later, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	x.stands(t, "no API", waits("503 Service Unavailable", "check that the store can be reached"))
	api.Intercept(nil)
	x.stands(t, "no object", waits("it is not registered", "start its kubelet"))
	if x.notices.has("READY=1") {
		t.Error("the service manager was told that all is well")
	}
	api.register(onlyIPv4, 1)
	x.waitReady(t)
	x.stands(t, "all well", ready(0))
}

// As K3s does: all nodes are read with its own identity, and each node writes
// its object as its kubelet, which may write no other.
func TestNodesOnKubernetesWriteAsTheirKubelets(t *testing.T) {
	c, api := onKubernetes(t, onlyIPv4, 2)
	for _, x := range c.nodes {
		api.register(onlyIPv4, x.number)
		x.config.Network.Store.Kubernetes = profiles.KubernetesStore{
			Kubeconfig:    api.kubeconfig(t, kubernetestest.K3sController),
			OwnKubeconfig: api.kubeconfig(t, kubernetestest.NodePrefix+x.Name),
		}
		x.writeConfig(t)
	}
	c.startAll(t)
	for _, x := range c.nodes {
		x.stands(t, "its peer", ready(1))
		if got := api.Annotations(x.Name)[annotation+"kube-subnet-manager"]; got != "true" {
			t.Errorf("%s: annotations are %v", x.Name, api.Annotations(x.Name))
		}
	}
	for _, r := range api.Requests(http.MethodPatch, "/") {
		if want := "/api/v1/nodes/" + strings.TrimPrefix(r.Identity, kubernetestest.NodePrefix) + "/status"; r.Path != want {
			t.Errorf("%s patches %s", r.Identity, r.Path)
		}
	}
	// The kubelet of another node: the server refuses it, and that is told.
	x := c.nodes[0]
	x.config.Network.Store.Kubernetes.OwnKubeconfig = api.kubeconfig(t, kubernetestest.NodePrefix+"node-2")
	x.reload(t)
	x.stands(t, "the wrong kubelet", tells("list nodes: 403 Forbidden", "ownKubeconfig"))
}

// F14's sister: what keeps the own lease out of the store is told where people
// and probes look, with its own way out, and ends by itself.
func TestWhyTheOwnLeaseIsNotOnKubernetesIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		before, after func(*apiServer)
		reason, fix   string
	}{
		"no right to write it": {
			func(a *apiServer) { a.register(onlyIPv4, 1); a.Intercept(forbidden) }, func(a *apiServer) { a.Intercept(nil) },
			"patch annotations of node node-1: 403 Forbidden", "the identity needs the ClusterRole weft-netd",
		},
		"no object": {
			func(*apiServer) {}, func(a *apiServer) { a.register(onlyIPv4, 1) },
			"node node-1: it is not registered", "start its kubelet",
		},
		"no pod subnet": {
			func(a *apiServer) { a.Put(kubernetestest.Node("node-1")) }, func(a *apiServer) { a.register(onlyIPv4, 1) },
			"node node-1: it has no pod subnet yet", "--allocate-node-cidrs",
		},
		"a pod subnet of another network": {
			func(a *apiServer) { a.Put(kubernetestest.Node("node-1", "10.10.1.0/24")) }, func(a *apiServer) { a.register(onlyIPv4, 1) },
			"10.10.1.0/24 is not inside the pod network", "cluster-cidr",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, api := onKubernetes(t, onlyIPv4, 1)
			c.before(api)
			x := cluster.nodes[0]
			x.start(t)
			x.answers(t)
			x.stands(t, "the reason", tells(c.reason, c.fix))
			if x.notices.has("READY=1") {
				t.Error("the service manager was told that all is well")
			}
			c.after(api)
			x.waitReady(t)
			x.stands(t, "all well", ready(0))
			if r := x.report(t); r.Store.OwnError != "" || r.Store.Error != "" {
				t.Errorf("store %+v", r.Store)
			}
		})
	}
}

// A node that has its subnets from before is in the network for its own part
// at once; that its peers do not hear of it must be told all the same.
func TestKeptNodeThatMayNotPublishOnKubernetesIsNotReady(t *testing.T) {
	c, api := onKubernetes(t, onlyIPv4, 1)
	api.register(onlyIPv4, 1)
	c.startAll(t)
	x := c.nodes[0]
	x.stands(t, "all well", ready(0))
	x.reboots(t)
	api.Delete("node-1")
	api.register(onlyIPv4, 1)
	api.Intercept(forbidden)
	x.start(t)
	x.waitReady(t)
	x.stands(t, "the reason", tells("patch annotations of node node-1: 403 Forbidden", "the identity needs the ClusterRole weft-netd"))
	api.Intercept(nil)
	x.stands(t, "all well again", ready(0))
}

// tells is a check for [node.stands]: netd is not ready, and the reason and
// its fix are so.
func tells(reason, fix string) func(status.Report) error {
	return func(r status.Report) error {
		if r.Ready || !strings.Contains(r.Reason, reason) || !strings.Contains(r.Fix, fix) ||
			!strings.Contains(r.Store.OwnError, reason) || !strings.Contains(r.Store.Error, reason) {
			return fmt.Errorf("ready %t, reason %q, fix %q, store %+v", r.Ready, r.Reason, r.Fix, r.Store)
		}
		return nil
	}
}

// answers waits until netd can be asked.
func (x *node) answers(t testing.TB) {
	t.Helper()
	nstest.Eventually(t, 20*time.Second, x.Name+" answers", func() error {
		_, err := status.Fetch(t.Context(), x.config.Paths.Socket)
		return err
	})
}

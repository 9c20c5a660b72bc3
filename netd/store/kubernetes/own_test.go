package kubernetes

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"weft/netd/store/kubernetes/kubernetestest"
)

// asKubelet gives the world's node credentials of its own, which are not there
// yet; there writes them.
func (w *world) asKubelet() (there func()) {
	folder := filepath.Dir(w.config.CAFile)
	w.config.OwnKubeconfig = filepath.Join(folder, "kubelet.kubeconfig")
	user := "token: " + w.Token(kubernetestest.NodePrefix+"self")
	return func() {
		w.write(w.config.OwnKubeconfig, fmt.Appendf(nil, kubeconfigForm, "certificate-authority: ca.crt", user))
	}
}

// The kubelet writes its credentials when it starts, which may be long after
// netd; a node that waits for netd's network waits for nothing then.
func TestCredentialsThatComeLateCountWithinSeconds(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		there := w.asKubelet()
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		p, _ := w.publish(w.store(), own())
		pass(time.Hour)
		if !p.says("kubelet.kubeconfig", "no such file", "; fix: start what writes it") {
			t.Errorf("told %v", p.told)
		}
		there()
		pass(2 * time.Second)
		if len(p.all()) != 1 || !p.says() {
			t.Errorf("granted %v, told %v", p.all(), p.told)
		}
		for _, r := range w.Requests("PATCH", "/") {
			if r.Identity != kubernetestest.NodePrefix+"self" {
				t.Errorf("%s patches %s", r.Identity, r.Path)
			}
		}
	})
}

// What stood against the lease before the server went away stands against it
// when it is back; a lease that was granted stands whoever can be reached.
func TestWhatStoodAgainstTheLeaseIsToldAgainAfterACut(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.asKubelet()()
		w.Put(kubernetestest.Node("self"))
		p, _ := w.publish(w.store(), own())
		if !p.says("no pod subnet yet") {
			t.Errorf("told %v", p.told)
		}
		cut := func() {
			w.Intercept(kubernetestest.TooManyRequests(3, time.Second))
			w.EndWatches(true)
		}
		cut()
		pass(500 * time.Millisecond)
		if p.says("no pod subnet yet") || p.says() {
			t.Errorf("during the cut: told %v", p.told)
		}
		pass(time.Minute)
		if !p.says("no pod subnet yet") {
			t.Errorf("after the cut: told %v", p.told)
		}
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		pass(time.Second)
		if !p.says() {
			t.Errorf("with a subnet: told %v", p.told)
		}
		cut()
		pass(500 * time.Millisecond)
		if !p.says() {
			t.Errorf("a lease that stands: told %v", p.told)
		}
	})
}

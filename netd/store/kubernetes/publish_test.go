package kubernetes

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/netd/store/kubernetes/kubernetestest"
)

func TestOwnLeaseIsWrittenAsFlanneldWritesIt(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24", "fd00:42:0:9::/64"))
		p, _ := w.publish(w.store(), own())
		want := map[string]string{
			prefix + "kube-subnet-manager": "true",
			prefix + "backend-type":        "vxlan",
			prefix + "backend-data":        `{"VNI":1,"VtepMAC":"0e:aa:00:00:00:09"}`,
			prefix + "backend-v6-data":     `{"VNI":1,"VtepMAC":"0e:aa:00:00:00:09"}`,
			prefix + "public-ip":           "10.0.0.9",
			prefix + "public-ipv6":         "fd00:10::9",
			prefix + "weft":                `{"uuid":"7d444840-9dc0-11d1-b245-5ffdce74fad2"}`,
		}
		got := w.Annotations("self")
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%s is %q, want %q", name, got[name], text)
			}
		}
		if len(got) != len(want) {
			t.Errorf("annotations are %v", got)
		}
		grants := p.all()
		if len(grants) != 1 {
			t.Fatalf("granted %d times, want once", len(grants))
		}
		l := grants[0]
		if l.IPv4.Subnet != netip.MustParsePrefix("10.42.9.0/24") || l.IPv6.Subnet != netip.MustParsePrefix("fd00:42:0:9::/64") ||
			l.IPv4.Address != own().IPv4.Address || l.UUID != own().UUID {
			t.Errorf("granted %+v", l)
		}
		// And a peer reads what was written.
		w.config.Node = "other"
		h, _ := w.watch(w.store())
		if got := h.lease("self"); !got.Equal(l) {
			t.Errorf("a peer reads %+v, granted was %+v", got, l)
		}
	})
}

// [k3s-rke2 finding 7]: kubelets may not list nodes; the annotations go
// through the status subresource, which is all the role allows.
func TestPublishNeedsNoMoreThanTheNodesOwnIdentity(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		w.write(w.config.TokenFile, []byte(w.Token(kubernetestest.NodePrefix+"self")))
		s := w.store()
		p, _ := w.publish(s, own())
		if len(p.all()) != 1 {
			t.Errorf("granted %v; log:\n%v", p.all(), w.log)
		}
		for _, r := range w.Requests("PATCH", "/") {
			if r.Path != "/api/v1/nodes/self/status" || r.ContentType != "application/strategic-merge-patch+json" {
				t.Errorf("patched %s as %s", r.Path, r.ContentType)
			}
		}
		h, _ := w.watch(s)
		if err := h.last(); err == nil || !strings.Contains(err.Error(), "nodes: get, list, watch") ||
			!strings.Contains(err.Error(), "netd-rbac.yaml") || !strings.Contains(err.Error(), `User "system:node:self" cannot list`) {
			t.Errorf("error is %v, want the rule and the manifest", err)
		}
	})
}

func TestForbiddenPatchNamesTheRuleAndGoesOnWhenItIsThere(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		w.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPatch {
				return false
			}
			kubernetestest.Refuse(rw, http.StatusForbidden, "Forbidden", `nodes "self" is forbidden: User "weft-netd" cannot patch resource "nodes/status"`)
			return true
		})
		p, _ := w.publish(w.store(), own())
		pass(5 * time.Minute)
		if len(p.all()) != 0 || !w.log.has("nodes/status: patch") || !p.says("403 Forbidden", "nodes/status: patch", "netd-rbac.yaml") {
			t.Errorf("granted %v, log:\n%v", p.all(), w.log)
		}
		if n := strings.Count(w.log.String(), "Forbidden"); n != 1 {
			t.Errorf("told %d times, want once", n)
		}
		w.Intercept(nil)
		pass(backoffMax)
		if len(p.all()) != 1 || !p.says() {
			t.Error("not granted when the rule was there")
		}
	})
}

// [finding 8]: the condition is set and the others stay.
func TestNetworkUnavailableIsSetAndReadyStays(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		before := w.Conditions("self")
		w.publish(w.store(), own())
		after := w.Conditions("self")
		if after["NetworkUnavailable"] != "False FlannelIsUp" || len(after) != len(before)+1 || after["Ready"] != "True KubeletReady" {
			t.Errorf("conditions are %v", after)
		}
		// The stand-in would show it: a JSON merge patch leaves one.
		status := fmt.Sprintf("https://%s:6443/api/v1/nodes/self/status", kubernetestest.Host)
		request, err := http.NewRequest(http.MethodPatch, status, strings.NewReader(`{"status":{"conditions":[{"type":"NetworkUnavailable","status":"False"}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/merge-patch+json")
		request.Header.Set("Authorization", "Bearer "+w.token)
		c := newClient(w.config)
		if _, err := c.session(); err != nil {
			t.Fatal(err)
		}
		response, err := c.transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if after := w.Conditions("self"); len(after) != 1 {
			t.Errorf("a JSON merge patch left the conditions %v", after)
		}
	})
}

func TestNetworkUnavailableIsLeftAloneWhenTurnedOff(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		off := false
		w.config.NetworkUnavailable = &off
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		p, _ := w.publish(w.store(), own())
		if _, set := w.Conditions("self")["NetworkUnavailable"]; set || len(p.all()) != 1 {
			t.Errorf("conditions are %v, granted %v", w.Conditions("self"), p.all())
		}
	})
}

// [4.3, 8]: the object of the own node comes when the kubelet does.
func TestPublishWaitsForTheNodeAndItsSubnet(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		p, _ := w.publish(w.store(), own())
		pass(time.Hour)
		if len(p.all()) != 0 || !w.log.has("not registered") || !p.says("node self: it is not registered", "; fix: start its kubelet") {
			t.Errorf("granted %v, log:\n%v", p.all(), w.log)
		}
		w.Put(kubernetestest.Node("self"))
		pass(time.Minute)
		if len(p.all()) != 0 || !w.log.has("no pod subnet yet") || !p.says("no pod subnet yet", "--allocate-node-cidrs") {
			t.Errorf("granted %v, log:\n%v", p.all(), w.log)
		}
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		synctest.Wait()
		if len(p.all()) != 1 || !p.says() || w.Annotations("self")[prefix+"kube-subnet-manager"] != "true" {
			t.Errorf("granted %v, annotations %v", p.all(), w.Annotations("self"))
		}
		if _, found := w.Annotations("self")[prefix+"public-ipv6"]; found {
			t.Error("a family without a subnet is published")
		}
	})
}

// [4.3, 8]: between the list and the patch the object can go.
func TestANodeThatGoesWhileItIsPatchedIsWaitedFor(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		gone := false
		w.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch && !gone {
				gone = true
				w.Delete("self")
			}
			return false
		})
		p, _ := w.publish(w.store(), own())
		if len(p.all()) != 0 {
			t.Errorf("granted %v", p.all())
		}
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		synctest.Wait()
		if len(p.all()) != 1 {
			t.Errorf("granted %v when the node was back; log:\n%v", p.all(), w.log)
		}
	})
}

func TestNothingIsWrittenThatIsThereAlready(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		_, stop := w.publish(w.store(), own())
		stop()
		patches := len(w.patches())
		p, _ := w.publish(w.store(), own())
		pass(time.Hour)
		if n := len(w.patches()); n != patches || len(p.all()) != 1 {
			t.Errorf("a second netd patched %d times and was granted %d leases", n-patches, len(p.all()))
		}
	})
}

func TestAChangedPodSubnetIsGrantedAgain(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		p, _ := w.publish(w.store(), own())
		w.Delete("self")
		synctest.Wait()
		w.Put(kubernetestest.Node("self", "10.42.77.0/24"))
		synctest.Wait()
		grants := p.all()
		if len(grants) != 2 || grants[1].IPv4.Subnet != netip.MustParsePrefix("10.42.77.0/24") {
			t.Errorf("granted %+v", grants)
		}
		if w.Annotations("self")[prefix+"public-ip"] != "10.0.0.9" || w.Conditions("self")["NetworkUnavailable"] == "" {
			t.Errorf("the node made anew has annotations %v, conditions %v", w.Annotations("self"), w.Conditions("self"))
		}
	})
}

func TestPodSubnetsThatCannotBeOursAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cidrs []string
		says  string
	}{
		"outside the network": {[]string{"192.168.7.0/24"}, "not inside the pod network"},
		"larger than it":      {[]string{"10.0.0.0/8"}, "not inside the pod network"},
		"three":               {[]string{"10.42.1.0/24", "fd00:42:0:1::/64", "10.42.2.0/24"}, "has 3 subnets"},
		"two of one family":   {[]string{"10.42.1.0/24", "10.42.2.0/24"}, "two subnets of one family"},
		"nonsense":            {[]string{"10.42.1.0"}, "is no subnet"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
				w.Put(kubernetestest.Node("self", c.cidrs...))
				s := w.store()
				p, _ := w.publish(s, own())
				if len(p.all()) != 0 || !p.says(c.says, "; fix: ") || len(w.patches()) != 0 {
					t.Errorf("granted %v, log:\n%v", p.all(), w.log)
				}
				h, _ := w.watch(s)
				if problems := h.problems(); len(problems) != 1 || !strings.Contains(problems[0].Error(), c.says) || problems[0].Fix == "" {
					t.Errorf("problems are %v", problems)
				}
				w.Delete("self")
				w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
				synctest.Wait()
				if len(p.all()) != 1 {
					t.Error("a sound subnet later was not granted")
				}
			})
		})
	}
}

func TestAddressesAreWhatTheAnnotationsAskFor(t *testing.T) {
	for name, c := range map[string]struct {
		notes []string
		want  string
		says  string
	}{
		"none":                        {nil, "10.0.0.9", ""},
		"node-public-ip":              {[]string{prefix + "node-public-ip", "10.9.9.9"}, "10.9.9.9", ""},
		"public-ip-overwrite":         {[]string{prefix + "public-ip-overwrite", "203.0.113.7"}, "203.0.113.7", ""},
		"overwrite before node":       {[]string{prefix + "public-ip-overwrite", "203.0.113.7", prefix + "node-public-ip", "10.9.9.9"}, "203.0.113.7", ""},
		"an overwrite that is broken": {[]string{prefix + "public-ip-overwrite", "fd00::1"}, "", "of the other family"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
				w.Put(kubernetestest.Annotate(kubernetestest.Node("self", "10.42.9.0/24"), c.notes...))
				p, _ := w.publish(w.store(), own())
				if got := w.Annotations("self")[prefix+"public-ip"]; got != c.want {
					t.Errorf("public-ip is %q, want %q", got, c.want)
				}
				if c.says != "" {
					if !p.says(c.says, "; fix: kubectl annotate") || len(p.all()) != 0 {
						t.Errorf("granted %v, log:\n%v", p.all(), w.log)
					}
					return
				}
				if grants := p.all(); len(grants) != 1 || grants[0].IPv4.Address.String() != c.want {
					t.Errorf("granted %+v, want what peers use", grants)
				}
			})
		})
	}
}

// What flanneld of the kube manager gets wrong (kube.go, AcquireLease): an
// overwrite set while it runs is not followed.
func TestAnOverwriteSetLaterIsFollowed(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		p, _ := w.publish(w.store(), own())
		w.Update("self", func(o kubernetestest.Object) {
			kubernetestest.Annotate(o, prefix+"public-ip-overwrite", "203.0.113.7")
		})
		pass(time.Second)
		if got := w.Annotations("self")[prefix+"public-ip"]; got != "203.0.113.7" || len(p.all()) != 2 {
			t.Errorf("public-ip is %q, granted %v", got, p.all())
		}
	})
}

func TestTheVTEPMACIsOursWhateverTheAnnotationSays(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Annotate(kubernetestest.Node("self", "10.42.9.0/24"),
			prefix+"backend-data", `{"VNI":1,"VtepMAC":"de:ad:be:ef:00:00"}`, prefix+"backend-v6-data", `{"VNI":1}`))
		p, _ := w.publish(w.store(), own())
		notes := w.Annotations("self")
		if !strings.Contains(notes[prefix+"backend-data"], own().IPv4.MAC) || p.all()[0].IPv4.MAC != own().IPv4.MAC {
			t.Errorf("annotations are %v, granted %v", notes, p.all())
		}
		if _, found := notes[prefix+"backend-v6-data"]; found {
			t.Error("data of a family that is served no longer was left there")
		}
	})
}

func TestTwoDaemonsOnOneNodeDoNotWriteAsFastAsTheyCan(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		w.publish(w.store(), own())
		other := own()
		other.IPv4.MAC = "0e:bb:00:00:00:09"
		w.publish(w.store(), other)
		before := len(w.patches())
		pass(10 * time.Minute)
		if n := len(w.patches()) - before; n == 0 || n > 2*60+2 {
			t.Errorf("%d patches in ten minutes, want two in ten seconds at most", n)
		}
		if !w.log.has("somebody else changes the annotations") {
			t.Errorf("log:\n%v", w.log)
		}
	})
}

func TestBackendsWithoutDataWriteFlannelsNull(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		l := own()
		l.Backend, l.IPv4.MAC, l.IPv4.VNI = "host-gw", "", 0
		w.publish(w.store(), l)
		if notes := w.Annotations("self"); notes[prefix+"backend-data"] != "null" || notes[prefix+"backend-type"] != "host-gw" {
			t.Errorf("annotations are %v", notes)
		}
	})
}

func TestALeaseWithoutABackendIsRefused(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		l := own()
		l.Backend = ""
		p, _ := w.publish(w.store(), l)
		if done, err := p.ended(); !done || err == nil {
			t.Errorf("published: %v", err)
		}
	})
}

// What was on its way before a patch does not know of it.
func TestOldNewsAfterAPatchIsNotAnswered(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		w.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch {
				for i := range 3 {
					beat := fmt.Sprint(w.Version(), i)
					w.Update("self", func(o kubernetestest.Object) { kubernetestest.Annotate(o, "beat", beat) })
				}
			}
			return false
		})
		p, _ := w.publish(w.store(), own())
		pass(time.Minute)
		if n := len(w.patches()); n != 2 || len(p.all()) != 1 {
			t.Errorf("%d patches, granted %d times; want annotations and condition once: %v", n, len(p.all()), w.patches())
		}
	})
}

// [4.3, 6]
func TestAPatchThatIsRefusedForNowIsTriedAgainWhenTheServerSays(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"))
		busy := kubernetestest.TooManyRequests(1, 40*time.Second)
		w.Intercept(func(rw http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPatch && busy(rw, r) })
		p, _ := w.publish(w.store(), own())
		pass(39 * time.Second)
		if len(p.all()) != 0 {
			t.Error("granted before it was written")
		}
		pass(2 * time.Second)
		if len(p.all()) != 1 {
			t.Errorf("not granted; log:\n%v", w.log)
		}
	})
}

func TestAServerThatIgnoresTheSelectorDoesNotMakeAnotherNodeOurs(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(kubernetestest.Node("self", "10.42.9.0/24"), kubernetestest.Node("other", "10.42.8.0/24"))
		w.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			q := r.URL.Query()
			q.Del("fieldSelector")
			r.URL.RawQuery = q.Encode()
			return false
		})
		p, _ := w.publish(w.store(), own())
		w.Delete("other")
		synctest.Wait()
		if grants := p.all(); len(grants) != 1 || grants[0].IPv4.Subnet != netip.MustParsePrefix("10.42.9.0/24") || w.log.has("deleted") {
			t.Errorf("granted %v; log:\n%v", grants, w.log)
		}
	})
}

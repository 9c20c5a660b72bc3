package kubernetes

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/netd/store/kubernetes/kubernetestest"
)

func queryOf(t *testing.T, r kubernetestest.Request) url.Values {
	t.Helper()
	q, err := url.ParseQuery(r.Query)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// [k3s-rke2 4.3, 1]
func TestNodesAreListedInPagesAndThenWatchedFromTheListsVersion(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		for i := range 600 {
			o := peer(i % 200)
			o["metadata"].(kubernetestest.Object)["name"] = fmt.Sprintf("n%03d", i)
			w.Put(o)
		}
		version := w.Version()
		h, _ := w.watch(w.store())
		if n := len(h.names()); n != 600 {
			t.Errorf("%d nodes known, want 600", n)
		}
		lists := w.Lists()
		if len(lists) != 3 {
			t.Fatalf("%d lists, want 3 pages: %v", len(lists), lists)
		}
		for i, r := range lists {
			q := queryOf(t, r)
			if q.Get("limit") != "250" || (q.Get("continue") != "") != (i > 0) || q.Get("resourceVersion") != "" {
				t.Errorf("page %d is asked for by %s", i, r.Query)
			}
			if r.Proto != "HTTP/2.0" {
				t.Errorf("asked by %s, want HTTP/2", r.Proto)
			}
		}
		q := queryOf(t, w.Watches()[0])
		if q.Get("resourceVersion") != strconv.Itoa(version) || q.Get("allowWatchBookmarks") != "true" {
			t.Errorf("watch is %v, want bookmarks and version %d", q, version)
		}
	})
}

// [4.3, 1]
func TestAWatchIsAskedToLastARandomTimeOfFiveToTenMinutes(t *testing.T) {
	for random, want := range map[float64]int{0: 300, 0.5: 450, 0.999: 599} {
		inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
			w.config.Random = func() float64 { return random }
			h, _ := w.watch(w.store())
			if got := queryOf(t, w.Watches()[0]).Get("timeoutSeconds"); got != strconv.Itoa(want) {
				t.Errorf("timeoutSeconds %s, want %d", got, want)
			}
			pass(time.Duration(want)*time.Second + time.Second)
			if n := len(w.Watches()); n != 2 || h.fulls() != 1 || h.last() != nil {
				t.Errorf("after its time: %d watches, %d full updates, error %v; want another watch without a list", n, h.fulls(), h.last())
			}
		})
	}
}

func TestChangesAreDeliveredAsTheyCome(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1), kubernetestest.Node("no-netd-yet", "10.42.7.0/24"))
		h, _ := w.watch(w.store())
		w.expect(h, "node-1")
		w.Put(peer(2))
		w.expect(h, "node-1", "node-2")
		w.Delete("node-1")
		w.expect(h, "node-2")
		if h.fulls() != 1 {
			t.Errorf("%d full updates, want the first only", h.fulls())
		}
		if all := h.all(); all[0].Revision != 1002 || all[len(all)-1].Revision != int64(w.Version()) {
			t.Errorf("revisions begin at %d and end at %d", all[0].Revision, all[len(all)-1].Revision)
		}
		updates := len(h.all())
		w.Update("node-2", func(o kubernetestest.Object) { kubernetestest.Annotate(o, "other/annotation", "x") })
		pass(time.Second)
		if len(h.all()) != updates {
			t.Error("a change that is none of a lease was delivered")
		}
	})
}

// [4.3, 2]: the history of a watch ends with HTTP 200 and an ERROR event.
func TestExpiredHistoryOnWatchIsAnsweredByAList(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		w.Forget("node-1") // the event that history no longer has
		w.Put(peer(2))
		w.expect(h, "node-1", "node-2")
		w.Drop()
		w.Put(peer(3))
		w.Compact()
		w.Skip(5)
		pass(3 * time.Second)
		w.expect(h, "node-2", "node-3")
		if h.fulls() != 2 {
			t.Errorf("%d full updates, want 2", h.fulls())
		}
	})
}

// [4.3, 2]: some servers in front of the API end it by HTTP 410 here too.
func TestExpiredHistoryByHTTP410OnWatchIsAnsweredByAList(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		refused := false
		w.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if refused || r.URL.Query().Get("watch") == "" {
				return false
			}
			refused = true
			kubernetestest.Refuse(rw, http.StatusGone, "Expired", "too old")
			return true
		})
		w.Put(peer(2))
		pass(10 * time.Second)
		w.EndWatches(false)
		w.Forget("node-2")
		synctest.Wait()
		w.expect(h, "node-1")
		if h.fulls() != 2 || h.last() != nil {
			t.Errorf("%d full updates, error %v; want 2 at once", h.fulls(), h.last())
		}
	})
}

// [4.3, 2]: the history of a list in pages ends with HTTP 410.
func TestExpiredPagesOfAListAreAskedForAgainAtOnce(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		for i := range 300 {
			o := peer(i % 200)
			o["metadata"].(kubernetestest.Object)["name"] = fmt.Sprintf("n%03d", i)
			w.Put(o)
		}
		w.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("continue") != "" {
				w.Skip(1)
				w.Compact()
			}
			return false
		})
		start := time.Now()
		h, _ := w.watch(w.store())
		if n := len(h.names()); n != 300 || h.last() != nil || time.Since(start) != 0 {
			t.Errorf("%d nodes after %v, error %v; want 300 at once", n, time.Since(start), h.last())
		}
	})
}

// [4.3, 2]: a decode error means that something was missed.
func TestATruncatedEventIsAnsweredByAList(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		w.CutEvent(40)
		w.Put(peer(2))
		pass(2 * time.Second)
		w.expect(h, "node-1", "node-2")
		if h.fulls() != 2 || !strings.Contains(fmt.Sprint(h.last()), "no event") {
			t.Errorf("%d full updates, error %v; want a second list and the reason", h.fulls(), h.last())
		}
	})
}

// [4.3, 3]: the way with sendInitialEvents is not taken; a list is, always.
func TestTheFirstSetComesFromAListAndIsFull(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		h, _ := w.watch(w.store())
		w.expect(h)
		if len(h.all()) != 1 || !h.all()[0].Full {
			t.Fatalf("updates of an empty cluster are %+v, want one that is full", h.all())
		}
		for _, r := range w.Watches() {
			q := queryOf(t, r)
			if q.Get("sendInitialEvents") != "" || q.Get("resourceVersion") == "0" || q.Get("resourceVersion") == "" {
				t.Errorf("watch is %s, want it to begin at the list", r.Query)
			}
		}
	})
}

// [4.3, 4]: the version of a bookmark is where the next watch begins.
func TestTheVersionOfABookmarkIsKept(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		w.Skip(5000)
		w.Bookmark()
		synctest.Wait()
		w.Compact()
		w.EndWatches(false)
		pass(2 * time.Second)
		watches := w.Watches()
		if got := queryOf(t, watches[len(watches)-1]).Get("resourceVersion"); len(watches) != 2 || got != strconv.Itoa(w.Version()) {
			t.Errorf("%d watches, the last from %s; want 2, from the bookmark's %d", len(watches), got, w.Version())
		}
		if h.fulls() != 1 {
			t.Errorf("%d full updates, want no second list", h.fulls())
		}
	})
}

// [4.3, 4]: no event and no bookmark for three minutes is a dead watch.
func TestASilentWatchIsGivenUpAfterThreeMinutes(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		pass(4 * time.Minute)
		if n := len(w.Watches()); n != 1 {
			t.Fatalf("%d watches, want one as long as bookmarks come", n)
		}
		w.Silence(true)
		w.Put(peer(2))
		pass(time.Minute)
		w.expect(h, "node-1")
		pass(90 * time.Second)
		if n := len(w.Watches()); n != 1 {
			t.Errorf("%d watches before three minutes of silence, want 1", n)
		}
		pass(35 * time.Second)
		w.Silence(false)
		w.expect(h, "node-1", "node-2")
		if h.fulls() != 2 || len(w.Watches()) != 2 {
			t.Errorf("%d full updates, %d watches; want 2 of each", h.fulls(), len(w.Watches()))
		}
	})
}

// [4.3, 5]: a version of the future is accepted and nothing ever comes.
func TestARestoredDatastoreIsNoticed(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1), peer(2))
		backup := w.Snapshot()
		w.Put(peer(3))
		w.Skip(1000)
		w.Delete("node-2")
		h, _ := w.watch(w.store())
		w.expect(h, "node-1", "node-3")

		w.Restore(backup)
		w.Drop()
		pass(2 * time.Second)
		if n := len(w.Watches()); n != 2 {
			t.Fatalf("%d watches, want a second that the server accepts", n)
		}
		w.expect(h, "node-1", "node-3")
		pass(silence + time.Second)
		w.expect(h, "node-1", "node-2")
		w.Put(peer(4))
		w.expect(h, "node-1", "node-2", "node-4")
	})
}

// [4.3, 5]: after more than a minute without the server nothing is trusted.
func TestAnOutageOfMoreThanAMinuteIsAnsweredByAList(t *testing.T) {
	for away, lists := range map[time.Duration]int{20 * time.Second: 1, 90 * time.Second: 2} {
		inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
			w.Put(peer(1))
			h, _ := w.watch(w.store())
			w.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
				kubernetestest.Refuse(rw, http.StatusServiceUnavailable, "ServiceUnavailable", "etcd is away")
				return true
			})
			w.Drop()
			pass(away)
			if err := h.last(); err == nil || !strings.Contains(err.Error(), "etcd is away") {
				t.Errorf("error is %v", err)
			}
			w.Intercept(nil)
			updates := len(h.all())
			pass(backoffMax + time.Second)
			if h.fulls() != lists {
				t.Errorf("away %v: %d full updates, want %d", away, h.fulls(), lists)
			}
			if len(h.all()) == updates {
				t.Errorf("away %v: nothing says that the error is over", away)
			}
		})
	}
}

// [4.3, 5]: a list is trusted 10 to 30 minutes.
func TestNodesAreListedAgainAtLeastEveryHalfHour(t *testing.T) {
	for random, due := range map[float64]time.Duration{0: 10 * time.Minute, 1: 30 * time.Minute} {
		inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
			w.config.Random = func() float64 { return random }
			w.Put(peer(1), peer(2))
			h, _ := w.watch(w.store())
			w.Forget("node-1")
			pass(due - time.Second)
			w.expect(h, "node-1", "node-2")
			pass(2 * time.Second)
			w.expect(h, "node-2")
			if h.last() != nil {
				t.Errorf("error %v for a list that was due", h.last())
			}
		})
	}
}

// [4.3, 5]: another object of the same name is another node.
func TestANodeMadeAnewIsNotMistakenForTheOldOne(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		w.Delete("node-1")
		w.Put(peer(1))
		w.expect(h, "node-1")
		p := peers{self: "self"}
		e := entry{name: "a", uid: "1", version: "5", lease: h.lease("node-1")}
		p.apply(change[entry]{full: true, set: []entry{e}})
		e.uid = "2"
		if u, _, news := p.apply(change[entry]{set: []entry{e}}); !news || len(u.Set) != 1 {
			t.Error("an object with another UID is no news")
		}
		late := e
		late.uid = "1"
		if u, _, news := p.apply(change[entry]{gone: []entry{late}}); news || len(u.Gone) != 0 {
			t.Error("the end of the old object ended the new one")
		}
	})
}

// [4.3, 7]: a list is the truth about what is gone.
func TestMissedDeletesAreFoundByTheNextList(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1), peer(2), peer(3))
		h, _ := w.watch(w.store())
		w.Forget("node-2")
		pass(relistMax)
		w.expect(h, "node-1", "node-3")
	})
}

// [4.3, 10]: what is programmed from the disk at boot must stay until there
// is an answer; an empty set would take it away.
func TestNothingIsDeliveredBeforeTheServerHasAnswered(t *testing.T) {
	for name, answer := range map[string]string{"an error": "", "an empty object": "{}", "another list": `{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}`} {
		inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
			w.Put(peer(1))
			w.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
				if answer == "" {
					kubernetestest.Refuse(rw, http.StatusInternalServerError, "InternalError", "not yet")
				}
				rw.Write([]byte(answer))
				return true
			})
			h, _ := w.watch(w.store())
			pass(5 * time.Minute)
			if n := len(h.all()); n != 0 || h.failures() == 0 {
				t.Errorf("%s: %d updates, %d errors", name, n, h.failures())
			}
			w.Intercept(nil)
			pass(backoffMax)
			w.expect(h, "node-1")
		})
	}
}

func TestConsumerThatStopsEndsTheWatch(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		for range w.store().Watch(t.Context()) {
			break
		}
		pass(time.Second)
		if n := w.Watching(); n != 0 {
			t.Errorf("%d watches are open", n)
		}
	})
}

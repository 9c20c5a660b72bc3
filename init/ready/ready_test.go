package ready

import (
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	good := Item{"modules", Good, ""}
	for name, c := range map[string]struct {
		items  []Item
		late   bool
		want   Verdict
		reason string
	}{
		"all good":           {[]Item{good, {"netd", Good, ""}}, false, Ready, ""},
		"all good, late":     {[]Item{good}, true, Ready, ""},
		"something goes on":  {[]Item{good, {"network", Pending, "eth0 has no carrier"}}, false, Waiting, ""},
		"it takes too long":  {[]Item{good, {"network", Pending, "eth0 has no carrier"}}, true, Degraded, "network: not done in time, eth0 has no carrier"},
		"no reason is known": {[]Item{{"netd", Pending, ""}}, true, Degraded, "netd: not done in time"},
		"a failure does not wait": {
			[]Item{{"netd", Pending, ""}, {"data partition", Failed, "no disk"}}, false, Degraded, "data partition: no disk",
		},
		"every failure is named": {
			[]Item{{"modules", Failed, "vxlan"}, good, {"netd", Failed, "exit code 1"}}, false, Degraded, "modules: vxlan; netd: exit code 1",
		},
		"nothing is asked": {nil, false, Ready, ""},
	} {
		v, reason := Decide(c.items, c.late)
		if v != c.want || reason != c.reason {
			t.Errorf("%s: %v %q, want %v %q", name, v, reason, c.want, c.reason)
		}
	}
}

// said collects announcements.
type said chan string

func (s said) Ready()                 { s <- "ready" }
func (s said) Degraded(reason string) { s <- reason }

func (s said) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s:
		if got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing was said, want %q", want)
	}
}

func TestWatchAnnouncesEachChangeOnce(t *testing.T) {
	b := NewBoard("modules", "network")
	done, late, to := make(chan struct{}), make(chan time.Time), make(said)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Watch(done, late, to)
	}()
	b.Set("modules", Good, "")
	b.Set("network", Pending, "no carrier")
	late <- time.Time{}
	to.expect(t, "network: not done in time, no carrier")
	b.Set("network", Pending, "no carrier") // the same again says nothing
	b.Set("network", Good, "")
	to.expect(t, "ready")
	b.Set("netd", Failed, "exit code 2") // a name that was not on the board
	to.expect(t, "netd: exit code 2")
	b.Set("netd", Good, "")
	to.expect(t, "ready")
	close(done)
	<-ended
}

func TestItemsAreACopy(t *testing.T) {
	b := NewBoard("a")
	b.Items()[0].State = Failed
	if b.Items()[0].State != Pending {
		t.Error("the board was changed from outside")
	}
}

func TestADegradedNodeTellsOfEachOtherReason(t *testing.T) {
	b := NewBoard("modules", "netd")
	done, to := make(chan struct{}), make(said)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Watch(done, nil, to)
	}()
	b.Set("modules", Failed, "vxlan")
	to.expect(t, "modules: vxlan")
	b.Set("netd", Failed, "exit code 1")
	to.expect(t, "modules: vxlan; netd: exit code 1")
	b.Set("modules", Good, "")
	to.expect(t, "netd: exit code 1")
	// What is good again and pending again in between is told once it is good.
	b.Set("netd", Pending, "it starts")
	b.Set("netd", Good, "")
	to.expect(t, "ready")
	close(done)
	<-ended
}

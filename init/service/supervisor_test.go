package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// act is a program of a stage play: what it does when it is started.
type act func(ctx context.Context, p *fakeProcess)

// stage launches acts in the place of programs, by the service's name.
type stage struct {
	acts map[string]act
	log  []string // one goroutine at a time in a bubble; see note
	note chan string
}

func newStage(acts map[string]act) *stage { return &stage{acts: acts, note: make(chan string, 1000)} }

func (s *stage) Launch(spec Spec, line func(string), notice func(Notice)) (Process, error) {
	s.note <- "start " + spec.Name
	p := &fakeProcess{done: make(chan Exit, 1), stopped: make(chan struct{}), kill: make(chan struct{}), aborted: make(chan struct{}), line: line, notice: notice}
	f, ok := s.acts[spec.Name]
	if !ok {
		f = obedient
	}
	go f(context.Background(), p)
	return p, nil
}

// heardSoFar is what has been launched and told by now.
func (s *stage) heardSoFar() []string {
	synctest.Wait()
	for {
		select {
		case text := <-s.note:
			s.log = append(s.log, text)
		default:
			return s.log
		}
	}
}

func (s *stage) State(name string, state State, text string) {
	text, _, _ = strings.Cut(text, "\n")
	s.note <- strings.TrimSpace(fmt.Sprintf("%s %s %s", name, state, text))
}
func (s *stage) Status(name, text string)  { s.note <- name + " says " + text }
func (s *stage) Warning(name, line string) { s.note <- name + " warns " + line }
func (s *stage) Alive(name string)         { s.note <- name + " alive" }

// obedient is ready at once and ends when asked.
func obedient(_ context.Context, p *fakeProcess) {
	p.notice(Notice{Ready: true})
	select {
	case <-p.stopped:
		p.done <- Exit{}
	case <-p.kill:
		p.done <- Exit{Code: -1, Signal: 9}
	}
}

// deaf is ready and hears only what it cannot ignore.
func deaf(_ context.Context, p *fakeProcess) {
	p.notice(Notice{Ready: true})
	<-p.kill
	p.done <- Exit{Code: -1, Signal: 9}
}

// broken ends as soon as it starts.
func crashing(_ context.Context, p *fakeProcess) {
	p.line("level=ERROR msg=no")
	p.done <- Exit{Code: 1}
}

func supervisor(s *stage, stages ...string) *Supervisor {
	return NewSupervisor(SupervisorConfig{Launcher: s, Watcher: s, Clock: SystemClock{}, Stages: stages})
}

func expectLog(t *testing.T, s *stage, want ...string) {
	t.Helper()
	if got := s.heardSoFar(); !slices.Equal(got, want) {
		t.Errorf("heard\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	s.log = nil
}

func TestServicesStartInOrderAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(nil)
		v := supervisor(s, "network")
		err := v.Start(
			Spec{Name: "web", Requires: []string{"db"}, StopWithin: time.Second},
			Spec{Name: "db", After: []string{"network"}, StopWithin: time.Second},
		)
		if err != nil {
			t.Fatal(err)
		}
		got := s.heardSoFar()
		slices.Sort(got) // both wait; which is told first does not matter
		if !slices.Equal(got, []string{"db waiting network", "web waiting db"}) {
			t.Errorf("before the network: %q", got)
		}
		s.log = nil
		v.Pass("network", nil)
		expectLog(t, s, "db starting", "start db", "db ready", "web starting", "start web", "web ready")
		v.Stop()
		expectLog(t, s, "web stopped exit code 0", "db stopped exit code 0")
		if r := v.Reports(); len(r) != 2 || r[0].Name != "db" || r[0].State != "stopped" || r[0].Starts != 1 {
			t.Errorf("reports %+v", r)
		}
	})
}

func TestAServiceThatHangsHoldsUpTheEndOnlyForItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(map[string]act{"web": deaf})
		v := supervisor(s)
		if err := v.Start(Spec{Name: "db", StopWithin: time.Second}, Spec{Name: "web", After: []string{"db"}, StopWithin: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		s.heardSoFar()
		s.log = nil
		began := time.Now()
		v.Stop()
		expectLog(t, s, "web hung it did not end within 10s of being asked and is killed",
			"web stopped ended by signal 9 (killed)", "db stopped exit code 0")
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("stopping took %s", took)
		}
		if want := 11*time.Second + 2*killWithin; v.Bound() != want {
			t.Errorf("the bound is %s, want %s", v.Bound(), want)
		}
	})
}

func TestWhatCannotEvenBeKilledIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(map[string]act{"disk": func(context.Context, *fakeProcess) {}})
		v := supervisor(s)
		if err := v.Start(Spec{Name: "disk", StopWithin: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		s.heardSoFar()
		began := time.Now()
		v.Stop()
		if took := time.Since(began); took != v.Bound() {
			t.Errorf("stopping took %s, want %s", took, v.Bound())
		}
		if got := s.heardSoFar(); got[len(got)-1] != "disk stopped it does not end even when killed" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestACrashLoopIsCappedAndWhatRequiresItIsNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(map[string]act{"db": crashing})
		v := supervisor(s)
		err := v.Start(
			Spec{Name: "db", Restart: Restart{Burst: 3, Window: time.Minute}, StopWithin: time.Second},
			Spec{Name: "web", Requires: []string{"db"}, StopWithin: time.Second},
			Spec{Name: "log", After: []string{"db"}, StopWithin: time.Second},
		)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		got := s.heardSoFar()
		for _, want := range []string{
			"db failed exit code 1", "web failed it is not started: it requires db: it has failed", "log ready",
		} {
			if !slices.Contains(got, want) {
				t.Errorf("never heard %q in\n\t%s", want, strings.Join(got, "\n\t"))
			}
		}
		if n := count(got, "start db"); n != 3 {
			t.Errorf("started %d times, want 3", n)
		}
		r := v.Reports()[0]
		if r.State != "failed" || !strings.Contains(r.Last, "| level=ERROR msg=no") || !strings.HasSuffix(r.Last, "it has ended 3 times within 1m0s and stays down") {
			t.Errorf("report %+v", r)
		}
		if lines := v.Lines("db", 10); len(lines) != 3 {
			t.Errorf("lines %q", lines)
		}
		v.Stop() // what has failed holds nothing up
	})
}

func count(list []string, what string) int {
	n := 0
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}

func TestAStageThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(nil)
		v := supervisor(s, "files")
		v.Pass("files", errors.New("no room"))
		if err := v.Start(Spec{Name: "a", Requires: []string{"files"}}, Spec{Name: "b", After: []string{"files"}, StopWithin: time.Second}); err != nil {
			t.Fatal(err)
		}
		got := s.heardSoFar()
		if !slices.Contains(got, "a failed it is not started: it requires files: no room") || !slices.Contains(got, "b ready") {
			t.Errorf("heard %q", got)
		}
		v.Stop()
	})
}

func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(nil)
		v := supervisor(s, "network", "disk")
		err := v.Start(
			Spec{Name: "soft", After: []string{"network"}, WaitWithin: time.Minute, StopWithin: time.Second},
			Spec{Name: "hard", Requires: []string{"disk"}, WaitWithin: time.Minute, StopWithin: time.Second},
		)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		got := s.heardSoFar()
		if !slices.Contains(got, "soft warns starts without network, for which it has waited 1m0s") || !slices.Contains(got, "soft ready") {
			t.Errorf("the soft one: %q", got)
		}
		if !slices.Contains(got, "hard late it still waits for disk") || slices.Contains(got, "start hard") {
			t.Errorf("the hard one: %q", got)
		}
		v.Stop()
	})
}

func TestAWedgedServiceIsAbortedAndStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		s := newStage(map[string]act{"netd": func(ctx context.Context, p *fakeProcess) {
			if starts++; starts > 1 {
				obedient(ctx, p)
				return
			}
			p.notice(Notice{Ready: true})
			for range 3 {
				time.Sleep(10 * time.Second)
				p.notice(Notice{Alive: true})
			}
			<-p.aborted
			p.line("goroutine 1 [chan receive]:")
			p.done <- Exit{Code: -1, Signal: 6}
		}})
		v := supervisor(s)
		if err := v.Start(Spec{Name: "netd", Watchdog: 20 * time.Second, StopWithin: time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(49 * time.Second)
		expectLog(t, s, "netd starting", "start netd", "netd ready", "netd alive", "netd alive", "netd alive")
		time.Sleep(2 * time.Second)
		got := s.heardSoFar()
		if len(got) < 2 || got[0] != "netd wedged it has shown no life for 20s and is ended" ||
			got[1] != "netd down no sign of life for 20s: ended by signal 6 (aborted)" {
			t.Errorf("heard %q", got)
		}
		if !slices.Contains(got, "netd ready") {
			t.Errorf("it did not come back: %q", got)
		}
		v.Stop()
	})
}

func TestAProcessThatCannotHearIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(map[string]act{"netd": deaf})
		v := supervisor(s)
		if err := v.Start(Spec{Name: "netd", Watchdog: 20 * time.Second, Restart: Restart{Policy: Never}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		got := s.heardSoFar()
		if got[len(got)-1] != "netd failed no sign of life for 20s: ended by signal 9 (killed); it is not started again" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestReadiness(t *testing.T) {
	for name, c := range map[string]struct {
		spec  Spec
		notes []Notice
		after time.Duration
		want  []string
	}{
		"by its word":           {Spec{}, []Notice{{Ready: true}}, 0, []string{"x ready"}},
		"once only":             {Spec{}, []Notice{{Ready: true}, {Ready: true}}, 0, []string{"x ready"}},
		"by having run":         {Spec{Grace: time.Second}, nil, 2 * time.Second, []string{"x ready"}},
		"not before":            {Spec{Grace: 5 * time.Second}, nil, 2 * time.Second, nil},
		"its word comes first":  {Spec{Grace: time.Second}, []Notice{{Ready: true}}, 5 * time.Second, []string{"x ready"}},
		"late":                  {Spec{ReadyWithin: time.Second}, nil, 2 * time.Second, []string{"x late not ready after 1s"}},
		"late no more":          {Spec{ReadyWithin: time.Second}, []Notice{{Ready: true}}, 2 * time.Second, []string{"x ready"}},
		"reloading is a status": {Spec{}, []Notice{{Reloading: true}}, 0, []string{"x says reads its configuration again"}},
		"its own bound counts":  {Spec{Watchdog: time.Hour}, []Notice{{Ready: true}, {Every: time.Second}}, 2 * time.Second, []string{"x ready", "x wedged it has shown no life for 1s and is ended"}},
		"it knows that it hangs": {Spec{Watchdog: time.Hour}, []Notice{{Ready: true}, {Wedged: true}}, time.Second, []string{"x ready",
			"x wedged it has shown no life for 1h0m0s and is ended"}},
		"no bound asked for, none kept": {Spec{}, []Notice{{Ready: true}, {Every: time.Second}}, time.Minute, []string{"x ready"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(map[string]act{"x": func(_ context.Context, p *fakeProcess) {
					for _, n := range c.notes {
						p.notice(n)
					}
					select {
					case <-p.stopped:
					case <-p.kill:
					}
					p.done <- Exit{}
				}})
				c.spec.Name, c.spec.StopWithin = "x", time.Second
				v := supervisor(s)
				if err := v.Start(c.spec); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.after)
				expectLog(t, s, append([]string{"x starting", "start x"}, c.want...)...)
				v.Stop()
			})
		})
	}
}

func TestPolicies(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		code   int
		want   string
	}{
		"always, well":     {Always, 0, "x down exit code 0; starting again in 250ms"},
		"always, badly":    {Always, 1, "x down exit code 1; starting again in 250ms"},
		"on failure":       {OnFailure, 1, "x down exit code 1; starting again in 250ms"},
		"no failure":       {OnFailure, 0, "x done exit code 0"},
		"never, well":      {Never, 0, "x done exit code 0"},
		"never, and badly": {Never, 3, "x failed exit code 3; it is not started again"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(map[string]act{"x": func(_ context.Context, p *fakeProcess) { p.done <- Exit{Code: c.code} }})
				v := supervisor(s)
				if err := v.Start(Spec{Name: "x", Restart: Restart{Policy: c.policy}}); err != nil {
					t.Fatal(err)
				}
				expectLog(t, s, "x starting", "start x", c.want)
				v.Stop()
			})
		})
	}
}

func TestTooManyEnds(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		restart Restart
		at      []int // seconds
		want    bool
	}{
		"no bound":         {Restart{}, []int{0, 0, 0, 0}, false},
		"one is not":       {Restart{Burst: 2, Window: time.Minute}, []int{0}, false},
		"two are":          {Restart{Burst: 2, Window: time.Minute}, []int{0, 60}, true},
		"too far apart":    {Restart{Burst: 2, Window: time.Minute}, []int{0, 61, 122}, false},
		"old ones go":      {Restart{Burst: 3, Window: time.Minute}, []int{0, 50, 70}, false},
		"the newest count": {Restart{Burst: 3, Window: time.Minute}, []int{0, 50, 70, 80}, true},
	} {
		b := Backoff{Restart: c.restart}
		var got bool
		for _, s := range c.at {
			got = b.TooMany(start.Add(time.Duration(s) * time.Second))
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	b := Backoff{Restart: Restart{First: 5 * time.Second, Longest: time.Minute}}
	var waits []time.Duration
	for range 6 {
		waits = append(waits, b.Next(0))
	}
	if fmt.Sprint(waits) != "[5s 10s 20s 40s 1m0s 1m0s]" {
		t.Errorf("as K3s's own unit: %v", waits)
	}
}

func TestOrder(t *testing.T) {
	spec := func(name string, needs ...string) Spec { return Spec{Name: name, After: needs} }
	for name, c := range map[string]struct {
		specs []Spec
		want  string
	}{
		"as given":        {[]Spec{spec("b"), spec("a")}, "b a"},
		"needs first":     {[]Spec{spec("a", "c"), spec("b"), spec("c", "net")}, "c a b"},
		"requires too":    {[]Spec{{Name: "a", Requires: []string{"b"}}, spec("b")}, "b a"},
		"diamond":         {[]Spec{spec("d", "b", "c"), spec("b", "a"), spec("c", "a"), spec("a")}, "a b c d"},
		"twice":           {[]Spec{spec("a"), spec("a")}, "service a: the name is taken"},
		"a stage's name":  {[]Spec{spec("net")}, "service net: the name is taken"},
		"unknown":         {[]Spec{spec("a", "b")}, "service a comes after b, which is neither a service nor one of net"},
		"itself":          {[]Spec{spec("a", "a")}, "services wait for each other: a after a"},
		"in a circle":     {[]Spec{spec("a", "b"), spec("b", "c"), spec("c", "b")}, "services wait for each other: b after c after b"},
		"none":            {nil, ""},
		"known from afar": {[]Spec{spec("a", "net", "net")}, "a"},
	} {
		sorted, err := Order(c.specs, []string{"net"})
		var got []string
		for _, s := range sorted {
			got = append(got, s.Name)
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

func TestLaterServicesMayNeedEarlierOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(nil)
		v := supervisor(s)
		if err := v.Start(Spec{Name: "a", StopWithin: time.Second}); err != nil {
			t.Fatal(err)
		}
		if err := v.Start(Spec{Name: "b", Requires: []string{"a"}, StopWithin: time.Second}); err != nil {
			t.Fatal(err)
		}
		if err := v.Start(Spec{Name: "a"}); err == nil {
			t.Error("a name was taken twice")
		}
		synctest.Wait()
		v.Stop()
		got := s.heardSoFar()
		if got[len(got)-1] != "a stopped exit code 0" {
			t.Errorf("heard %q", got)
		}
		if err := v.Start(Spec{Name: "c"}); err != nil || slices.Contains(s.heardSoFar(), "start c") {
			t.Errorf("started while stopping: %v", err)
		}
	})
}

package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// SupervisorConfig is what a Supervisor works with.
type SupervisorConfig struct {
	Launcher Launcher
	Watcher  Watcher
	Clock    Clock
	// Lines takes each line of output of each service, from any goroutine;
	// it must not block. nil takes none.
	Lines func(name, line string)
	// Go starts a goroutine; nil is the go statement.
	Go func(func())
	// Stages are what services can come after beside each other, such as
	// network; each is told once by Pass.
	Stages []string
}

// A Supervisor runs services in the order they need and stops them in the
// reverse one.
type Supervisor struct {
	c          SupervisorConfig
	conditions *conditions

	mu       sync.Mutex
	stopping bool
	running  map[string]*supervised
	order    []string
}

// supervised is one service of a Supervisor.
type supervised struct {
	spec   Spec
	cancel context.CancelFunc
	done   chan struct{}
	ring   Ring
	report Report
}

// A Report says how a service does.
type Report struct {
	Name string `json:"name"`
	// State is one of the [State] words, Since when it came to be.
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// Starts counts how often it was started.
	Starts int `json:"starts"`
	// Status is what it last said of itself, Last how it last ended, with
	// its last lines then.
	Status string `json:"status,omitempty"`
	Last   string `json:"last,omitempty"`
}

// NewSupervisor returns a Supervisor without services.
func NewSupervisor(c SupervisorConfig) *Supervisor {
	if c.Go == nil {
		c.Go = func(f func()) { go f() }
	}
	return &Supervisor{c: c, conditions: newConditions(), running: make(map[string]*supervised)}
}

// Pass tells that a stage is over: well, or, with an error, never to be. The
// first word counts unless it was an error.
func (s *Supervisor) Pass(stage string, err error) {
	if err != nil {
		s.conditions.set(stage, broken, err.Error())
		return
	}
	s.conditions.set(stage, up, "")
}

// Start runs services until Stop. They may need each other, those started
// before, and stages. Nothing is started when there is an error.
func (s *Supervisor) Start(specs ...Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil
	}
	sorted, err := Order(specs, append(slices.Clone(s.c.Stages), s.order...))
	if err != nil {
		return err
	}
	for _, spec := range sorted {
		ctx, cancel := context.WithCancel(context.Background())
		one := &supervised{spec: spec, cancel: cancel, done: make(chan struct{}), report: Report{Name: spec.Name}}
		s.running[spec.Name] = one
		s.order = append(s.order, spec.Name)
		s.c.Go(func() {
			defer close(one.done)
			s.run(ctx, one)
		})
	}
	return nil
}

// run waits for what a service needs and runs it.
func (s *Supervisor) run(ctx context.Context, one *supervised) {
	w := watcher{s, one}
	if !s.await(ctx, one, w) {
		return
	}
	Run(ctx, one.spec, launcher{s, one}, w, s.c.Clock)
}

// await waits for what a service needs and reports whether it is to start.
func (s *Supervisor) await(ctx context.Context, one *supervised, w Watcher) bool {
	var limit <-chan time.Time
	told := ""
	for {
		v, changed := s.conditions.judge(one.spec)
		switch {
		case v.lacks != nil:
			w.State(one.spec.Name, Failed, "it is not started: "+v.lacks.Error())
			return false
		case len(v.wait) == 0:
			return true
		}
		text := strings.Join(v.wait, ", ")
		if told == "" && one.spec.WaitWithin > 0 {
			limit = s.c.Clock.After(one.spec.WaitWithin)
		}
		if text != told {
			told = text
			w.State(one.spec.Name, Waiting, text)
		}
		select {
		case <-changed:
		case <-limit:
			limit = nil
			if v.soft {
				w.Warning(one.spec.Name, fmt.Sprintf("starts without %s, for which it has waited %s", text, one.spec.WaitWithin))
				return true
			}
			w.State(one.spec.Name, Late, fmt.Sprintf("it still waits for %s", text))
		case <-ctx.Done():
			w.State(one.spec.Name, Stopped, "not running")
			return false
		}
	}
}

// Stop ends all services, each after those that need it, and returns when all
// have ended. That is bounded by the sum of StopWithin, and a few seconds each
// for the kernel, along the longest chain of needs.
func (s *Supervisor) Stop() {
	s.mu.Lock()
	s.stopping = true
	var specs []Spec
	for _, name := range s.order {
		specs = append(specs, s.running[name].spec)
	}
	s.mu.Unlock()
	first := dependents(specs)
	var all sync.WaitGroup
	for _, spec := range specs {
		one := s.running[spec.Name] // written by Start only, which is over
		all.Go(func() {
			for _, name := range first[spec.Name] {
				<-s.running[name].done
			}
			one.cancel()
			<-one.done
		})
	}
	all.Wait()
}

// Bound is the longest that Stop takes.
func (s *Supervisor) Bound() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var specs []Spec
	for _, name := range s.order {
		specs = append(specs, s.running[name].spec)
	}
	first := dependents(specs)
	bounds := make(map[string]time.Duration)
	var longest time.Duration
	for _, spec := range slices.Backward(specs) { // those that need it come later in the order
		var before time.Duration
		for _, name := range first[spec.Name] {
			before = max(before, bounds[name])
		}
		bounds[spec.Name] = before + spec.StopWithin + killWithin
		longest = max(longest, bounds[spec.Name])
	}
	return longest
}

// Reports says how every service does, in the order of their start.
func (s *Supervisor) Reports() []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Report, 0, len(s.order))
	for _, name := range s.order {
		list = append(list, s.running[name].report)
	}
	return list
}

// Lines returns at most n last lines of a service's output, across its
// restarts, oldest first.
func (s *Supervisor) Lines(name string, n int) []string {
	s.mu.Lock()
	one := s.running[name]
	s.mu.Unlock()
	if one == nil {
		return nil
	}
	return one.ring.Last(n)
}

// launcher has the lines of a service kept.
type launcher struct {
	s   *Supervisor
	one *supervised
}

func (l launcher) Launch(spec Spec, line func(string), notice func(Notice)) (Process, error) {
	return l.s.c.Launcher.Launch(spec, func(text string) {
		l.one.ring.Add(text)
		if l.s.c.Lines != nil {
			l.s.c.Lines(spec.Name, text)
		}
		line(text)
	}, notice)
}

// watcher takes note of a service's state before others hear of it.
type watcher struct {
	s   *Supervisor
	one *supervised
}

var _ Watcher = watcher{}

func (w watcher) State(name string, state State, text string) {
	w.s.mu.Lock()
	r := &w.one.report
	r.State, r.Since = state.String(), w.s.c.Clock.Now()
	switch state {
	case Starting:
		r.Starts++
		r.Status = ""
	case Down, Failed, Done, Late, Stopped:
		r.Last = text
	}
	w.s.mu.Unlock()
	switch state {
	case Ready, Done:
		w.s.conditions.set(name, up, "")
	case Down, Late:
		w.s.conditions.set(name, passed, text)
	case Failed:
		w.s.conditions.set(name, broken, "it has failed")
	}
	w.s.c.Watcher.State(name, state, text)
}

func (w watcher) Status(name, text string) {
	w.s.mu.Lock()
	w.one.report.Status = text
	w.s.mu.Unlock()
	w.s.c.Watcher.Status(name, text)
}

func (w watcher) Warning(name, line string) { w.s.c.Watcher.Warning(name, line) }

func (w watcher) Alive(name string) { w.s.c.Watcher.Alive(name) }

package ipsec

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"weft/netd/vici"
)

// patience is how long the node with the higher address lets the other one
// begin, so that not both do at once and end up with two associations.
const patience = 3 * time.Second

// talkWithin bounds one conversation with charon. Nothing that is asked of it
// waits for a peer.
const talkWithin = 10 * time.Second

// An Engine keeps IPsec on a node. It is made by [New]. Ensure and Changes
// may be called from two goroutines.
type Engine struct {
	process process
	log     *slog.Logger
	now     func() time.Time
	news    chan struct{}

	// What Ensure remembers.
	used    bool                 // this Engine, or one before it, has set up something
	psk     string               // what charon was given by this Engine
	missing map[string]time.Time // since when nothing carries a connection
}

// New makes an engine that keeps its files in dir, such as [DefaultDir].
func New(dir string, log *slog.Logger, now func() time.Time) *Engine {
	return &Engine{
		process: process{dir: dir, places: Places, log: log, now: now},
		log:     log, now: now, used: true, news: make(chan struct{}, 1), missing: map[string]time.Time{},
	}
}

func (e *Engine) socket() string { return filepath.Join(e.process.dir, socketFile) }

// notify tells Changes of news.
func (e *Engine) notify() {
	select {
	case e.news <- struct{}{}:
	default: // told already
	}
}

// Ensure makes the kernel and charon hold what is wanted, and reports whether
// anything had to be changed. Charon is started when it does not run; until it
// answers, an error says so, and [Engine.Changes] delivers when it does.
func (e *Engine) Ensure(want Want) (changed bool, err error) {
	if want.IsZero() {
		return e.remove()
	}
	e.used = true
	kernel, err := openXFRM()
	if err != nil {
		return false, err
	}
	defer kernel.close()
	have := Have{}
	if have.Policies, err = kernel.policies(); err != nil {
		return false, err
	}
	// The policies come first: without them packets would go out in clear.
	var protect Steps
	protect.planPolicies(want, have)
	for _, p := range protect.SetPolicies {
		err = errors.Join(err, kernel.set(p))
	}
	changed = len(protect.SetPolicies) > 0
	if err != nil {
		return changed, err
	}
	psk, err := readPSK(want.PSKFile)
	if err != nil {
		return changed, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), talkWithin)
	defer cancel()
	charon, err := vici.Dial(ctx, e.socket())
	if err != nil {
		return changed, e.process.start()
	}
	defer charon.Close()
	if err := e.share(ctx, charon, psk); err != nil {
		return changed, err
	}
	// charon first: what it calls installed is in the kernel by then.
	if err := read(ctx, charon, &have); err != nil {
		return changed, err
	}
	if have.SPIs, err = kernel.spis(); err != nil {
		return changed, err
	}
	early := newlyMissing{want: want, since: e.missing, now: e.now(), again: e.notify, still: map[string]time.Time{}}
	steps := Plan(want, have, early.is)
	e.missing = early.still
	steps.SetPolicies = nil // done
	if n := steps.Changes(); n > 0 {
		changed = true
		e.log.Info("ipsec", "load", len(steps.Load), "initiate", len(steps.Initiate), "unload", len(steps.Unload),
			"end", len(steps.EndSAs)+len(steps.EndChildren), "remove policies", len(steps.DropPolicies))
	}
	return changed, e.apply(ctx, charon, kernel, steps)
}

// share gives charon the key, if it does not have it. Another netd may have
// given it another, so a key this one did not give is given again.
func (e *Engine) share(ctx context.Context, charon *vici.Conn, psk string) error {
	const id = "weft"
	answer, err := charon.Call(ctx, "get-shared", nil)
	if err != nil {
		return err
	}
	for _, have := range answer.Values("keys") {
		if have == id && psk == e.psk {
			return nil
		}
	}
	if _, err := charon.Call(ctx, "load-shared", new(vici.Section).Set("id", id).Set("type", "IKE").Set("data", psk)); err != nil {
		return err
	}
	e.psk = psk
	return nil
}

// newlyMissing tells which connections that carry nothing the peer should
// begin.
type newlyMissing struct {
	want  Want
	now   time.Time
	again func() // is called when it is time to look again
	// since is when each connection was first missed, still the same for
	// those that are now.
	since, still map[string]time.Time
}

func (n *newlyMissing) is(c Connection) bool {
	if n.want.Local.Less(c.Address) {
		return false
	}
	since, known := n.since[c.Name]
	if !known {
		since = n.now
		time.AfterFunc(patience, n.again)
	}
	n.still[c.Name] = since
	return n.now.Sub(since) < patience
}

// apply carries out the steps. What fails does not keep the rest from being
// done.
func (e *Engine) apply(ctx context.Context, charon *vici.Conn, kernel xfrm, s Steps) error {
	var errs []error
	call := func(command string, request *vici.Section) {
		_, err := charon.Call(ctx, command, request)
		var refused *vici.CommandError
		if errors.As(err, &refused) && command == "terminate" {
			err = nil // it has ended meanwhile
		}
		errs = append(errs, err)
	}
	for _, c := range s.Load {
		call("load-conn", new(vici.Section).Add(c.Name, c.Settings))
	}
	for _, name := range s.Unload {
		call("unload-conn", new(vici.Section).Set("name", name))
	}
	// -1 is not to wait for the outcome: events tell it.
	for _, id := range s.EndChildren {
		call("terminate", new(vici.Section).Set("child-id", id).Set("force", "yes").Set("timeout", "-1"))
	}
	for _, id := range s.EndSAs {
		call("terminate", new(vici.Section).Set("ike-id", id).Set("force", "yes").Set("timeout", "-1"))
	}
	for _, name := range s.Initiate {
		call("initiate", new(vici.Section).Set("ike", name).Set("child", name).Set("timeout", "-1"))
	}
	for _, p := range s.DropPolicies {
		errs = append(errs, kernel.drop(p))
	}
	return errors.Join(errs...)
}

// remove ends charon and removes the policies, when this or an earlier netd
// had set them up.
func (e *Engine) remove() (changed bool, err error) {
	if !e.used {
		return false, nil
	}
	if _, alive := readPID(filepath.Join(e.process.dir, pidFile)); alive {
		e.process.stop()
		changed = true
	}
	kernel, err := openXFRM()
	if err != nil {
		e.used = false // a kernel without XFRM holds none of it
		return changed, nil
	}
	defer kernel.close()
	policies, err := kernel.policies()
	for _, p := range policies {
		err = errors.Join(err, kernel.drop(p))
	}
	e.used = err != nil
	return changed || len(policies) > 0, err
}

// Remove ends what a netd before this one has left running with backend ipsec,
// and removes its policies. Where there was none, it does nothing.
func Remove(dir string, log *slog.Logger) error {
	if _, err := os.Stat(filepath.Join(dir, pidFile)); err != nil {
		return nil
	}
	_, err := New(dir, log, time.Now).remove()
	return err
}

// read asks charon what it has.
func read(ctx context.Context, charon *vici.Conn, have *Have) error {
	answer, err := charon.Call(ctx, "get-conns", nil)
	if err != nil {
		return err
	}
	have.Connections = answer.Values("conns")
	for event, err := range charon.Stream(ctx, "list-sas", "list-sa", nil) {
		if err != nil {
			return err
		}
		for name, sa := range event.Sections() {
			have.SAs = append(have.SAs, parseSA(name, sa))
		}
	}
	return nil
}

// parseSA reads what charon tells of an association. The states are those of
// strongSwan's ike_sa.h and child_sa.h.
func parseSA(name string, s *vici.Section) SA {
	sa := SA{Name: name}
	sa.ID, _ = s.Get("uniqueid")
	switch state, _ := s.Get("state"); state {
	case "ESTABLISHED", "REKEYING":
		sa.Established = true
	case "REKEYED", "DELETING", "DESTROYING":
		sa.Closing = true
	}
	for _, c := range s.Section("child-sas").Sections() {
		child := Child{In: spi(c, "spi-in"), Out: spi(c, "spi-out")}
		child.ID, _ = c.Get("uniqueid")
		switch state, _ := c.Get("state"); state {
		case "INSTALLED":
			child.Installed = true
		case "REKEYED", "DELETING", "DELETED", "DESTROYING", "ROUTED":
			continue
		}
		sa.Children = append(sa.Children, child)
	}
	return sa
}

// spi reads a number in hexadecimal digits; 0 when there is none.
func spi(s *vici.Section, key string) uint32 {
	text, _ := s.Get(key)
	n, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// Changes delivers whenever what [Engine.Ensure] made may no longer be so:
// the kernel's policies or associations were changed, charon came, went, or
// has news of a peer.
func (e *Engine) Changes(ctx context.Context) (iter.Seq2[struct{}, error], error) {
	kernel, err := openMonitor()
	if err != nil {
		return nil, err
	}
	watch, err := newWatch(e.process.dir)
	if err != nil {
		kernel.conn.Close()
		return nil, err
	}
	return func(yield func(struct{}, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		ends := make(chan struct{})
		go func() {
			defer close(ends)
			if err := kernel.run(ctx, e.notify); err != nil {
				cancel(err)
			}
		}()
		defer func() { <-ends }()
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			e.watchCharon(ctx, watch)
		}()
		defer func() { <-watching }()
		defer cancel(nil)
		for {
			select {
			case <-ctx.Done():
				if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
					yield(struct{}{}, fmt.Errorf("ipsec: %w", err))
				}
				return
			case <-e.news:
			}
			if !yield(struct{}{}, nil) {
				return
			}
		}
	}, nil
}

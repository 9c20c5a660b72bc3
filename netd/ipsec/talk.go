package ipsec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"weft/netd/vici"
)

// talkWithin bounds one conversation with charon. Nothing that is asked of it
// waits for a peer.
const talkWithin = 10 * time.Second

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

// loadAtOnce is how many connections charon is told in one message: each takes
// some 500 bytes of the 512 kB that a message may have. One by one each costs
// charon 0.22 ms of CPU time, by 16 0.07, by 64 and by 256 0.06 (strongSwan
// 5.9.8, 5,000 of them, no matter how many it has already).
const loadAtOnce = 64

// A talk carries out steps in one conversation with charon. What charon
// refuses does not keep the rest from being done; when it does not answer, the
// rest is left to the next conversation.
type talk struct {
	ctx    context.Context
	charon *vici.Conn
	errs   []error
	over   bool
}

// call asks something of charon.
func (t *talk) call(command string, request *vici.Section) error {
	if t.over {
		return nil // it is told already
	}
	_, err := t.charon.Call(t.ctx, command, request)
	t.over = err != nil && !refused(err)
	return err
}

// refused reports whether charon understood a command and could not do it.
func refused(err error) bool {
	var refused *vici.CommandError
	return errors.As(err, &refused)
}

// note keeps an error.
func (t *talk) note(err error) {
	if err != nil {
		t.errs = append(t.errs, err)
	}
}

// load tells charon connections, many in a message: it takes as many as there
// are (strongSwan's vici_config.c, load_conn, ever since it has that command).
func (t *talk) load(want Want, connections []Connection) {
	settings := want.Settings()
	for part := range slices.Chunk(connections, loadAtOnce) {
		request := new(vici.Section)
		for _, c := range part {
			request.Add(c.Name, settings(c))
		}
		err := t.call("load-conn", request)
		if !refused(err) {
			t.note(err)
			continue
		}
		// It took those before the one it refuses, and does not say which.
		for _, c := range part {
			if err := t.call("load-conn", new(vici.Section).Add(c.Name, settings(c))); err != nil {
				t.note(fmt.Errorf("connection %s: %w", c.Name, err))
			}
		}
	}
}

// end ends an association by charon's number for it, and does not wait for the
// outcome: events tell it.
func (t *talk) end(kind, id string) {
	err := t.call("terminate", new(vici.Section).Set(kind, id).Set("force", "yes").Set("timeout", "-1"))
	if !refused(err) { // then it has ended meanwhile
		t.note(err)
	}
}

// apply carries out the steps but those that set policies.
func (t *talk) apply(kernel xfrm, want Want, s Steps) error {
	t.load(want, s.Load)
	for _, name := range s.Unload {
		t.note(t.call("unload-conn", new(vici.Section).Set("name", name)))
	}
	for _, id := range s.EndChildren {
		t.end("child-id", id)
	}
	for _, id := range s.EndSAs {
		t.end("ike-id", id)
	}
	for _, name := range s.Initiate {
		t.note(t.call("initiate", new(vici.Section).Set("ike", name).Set("child", name).Set("timeout", "-1")))
	}
	t.note(kernel.drop(s.DropPolicies))
	return summary(t.errs)
}

// summary is one error of many, short enough to be logged.
func summary(errs []error) error {
	const most = 3
	if n := len(errs) - most; n > 0 {
		errs = append(slices.Clone(errs[:most]), fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
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

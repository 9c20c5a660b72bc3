package reconcile

import (
	"context"
	"iter"
	"slices"

	"weft/netd/diff"
	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/underlay"
	"weft/netd/wanted"
)

// drain takes what else has been heard meanwhile, so that one pass serves it
// all.
func (l *Loop) drain() {
	for {
		select {
		case u := <-l.updates:
			l.take(u)
		case kept := <-l.rulesKept:
			l.takeRules(kept)
		case g := <-l.grants:
			l.takeGrant(g)
		case group := <-l.news:
			l.hear(group)
		case <-l.filters:
			l.todo.firewall, l.todo.drift = true, true
		default:
			return
		}
	}
}

func (l *Loop) hearKernel(ctx context.Context, cancel context.CancelCauseFunc, events iter.Seq2[[]kernel.Event, error]) {
	for group, err := range events {
		if err != nil {
			cancel(err)
			return
		}
		select {
		case l.news <- slices.Clone(group):
		case <-ctx.Done():
			return
		}
	}
}

func (l *Loop) hearFirewall(ctx context.Context, cancel context.CancelCauseFunc, changes iter.Seq2[struct{}, error]) {
	for _, err := range changes {
		if err != nil {
			cancel(err)
			return
		}
		select {
		case l.filters <- struct{}{}:
		default: // one is waiting already
		}
	}
}

func (l *Loop) hearStore(ctx context.Context) {
	for u, err := range l.store.Watch(ctx) {
		select {
		case l.updates <- update{u, err}:
		case <-ctx.Done():
			return
		}
	}
}

// take notes what the store delivered.
func (l *Loop) take(u update) {
	// That it answers, and answers again, is told whether or not there is
	// anything to program.
	l.todo.tell = l.todo.tell || !l.state.StoreAnswered || l.state.StoreError != nil
	l.watchError = u.err
	l.state.StoreError = l.storeError()
	if u.err != nil {
		l.log.Warn("store", "error", u.err)
		l.todo.tell = true
		return
	}
	if u.Kept && (l.leases != nil || l.tunnelsStand()) {
		return // what was heard is younger than what was kept
	}
	if joined, only := onlyJoined(u.Update, l.leases); only {
		l.joined = append(l.joined, joined...)
		l.todo.joined = true
	} else {
		l.todo.want = true
	}
	l.leases, l.kept = u.Apply(l.leases), u.Kept
	l.state.StoreAnswered, l.state.Kept = true, u.Kept
}

// onlyJoined are the leases of u, if all they do is to join those there are.
func onlyJoined(u store.Update, leases map[string]lease.Lease) (joined []lease.Lease, only bool) {
	if u.Full || len(u.Gone) > 0 {
		return nil, false
	}
	for key, l := range u.Set {
		if _, known := leases[key]; known {
			return nil, false
		}
		joined = append(joined, l)
	}
	return joined, true
}

// hear notes what the kernel told.
func (l *Loop) hear(group []kernel.Event) {
	for _, e := range group {
		switch {
		case e.Lost:
			l.state.Counters.Lost++
			l.todo.underlay, l.todo.read, l.todo.drift = true, true, true
		case e.Object != nil:
			l.hearOwn(e)
		case e.Host || e.Device && l.isUnderlay(e.Index):
			l.todo.underlay = true
			if l.plain && l.isUnderlay(e.Index) {
				// A device that goes down takes the IPv4 routes through it
				// with it; the kernel does not tell of each.
				l.todo.read, l.todo.drift = true, true
			}
		}
		if e.Route && len(underlay.CanReach(l.config.Network)) > 0 {
			l.todo.underlay = true
		}
		if e.Route && slices.ContainsFunc(l.asked, e.Dst.Contains) {
			l.todo.want = true
		}
		if e.Route && diff.Displaces(e.Other, l.state.Wanted) {
			l.todo.read, l.todo.drift = true, true
		}
	}
}

// hearOwn notes what the kernel told of an object of netd's.
func (l *Loop) hearOwn(e kernel.Event) {
	link, isLink := e.Object.(wanted.Link)
	if isLink && l.rising[link.Name] {
		if e.Down {
			return // from before it was brought up
		}
		delete(l.rising, link.Name)
	}
	if e.Down || !diff.Agrees(l.state.Wanted, e.Event) {
		l.todo.read, l.todo.drift = true, true
	}
}

// isUnderlay reports whether news of a device may change the underlay.
func (l *Loop) isUnderlay(index int) bool {
	return len(l.state.Waiting) > 0 ||
		index == l.node.Underlay.IPv4.Index || index == l.node.Underlay.IPv6.Index
}

package reconcile

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/kernel"
	"weft/netd/lease"
	"weft/netd/wanted"
)

// measured notes what a pass takes that changes something.
func (l *Loop) measured(pass func()) {
	start, cpu, changes := l.now(), cpuTime(), l.state.Counters.Changes
	pass()
	l.state.Took = l.now().Sub(start)
	work := Work{Changes: l.state.Counters.Changes - changes, Wall: l.now().Sub(start), CPU: cpuTime() - cpu}
	if work.Changes > 0 || l.state.LastWork == (Work{}) {
		l.state.LastWork = work
	}
}

// cpuTime is the CPU time the process has used.
func cpuTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// pass does what there is to do. What fails stays to be done.
func (l *Loop) pass() {
	do := l.todo
	l.todo = todo{}
	l.state.Counters.Passes++
	l.state.Repaired = nil
	before, drift := l.state.Wanted, do.drift
	l.state.Config = l.config
	if do.underlay {
		if err := l.chooseUnderlay(); err != nil {
			l.state.ReadError = err
			l.todo = do
			return
		}
	}
	var joined *wanted.State
	if do.joined && !do.want && !do.underlay {
		joined = l.join()
	}
	if do.want || do.underlay || do.joined && joined == nil {
		if err := l.computeWanted(); err != nil {
			l.state.ReadError = err
			l.todo = do
			return
		}
	}
	do.read = do.read || l.todo.read
	l.todo.read = false
	// What has to be changed although the same is wanted as before was
	// changed by somebody else.
	do.drift = do.drift && len(diff.Diff(before, l.state.Wanted)) == 0
	if err := l.makeSo(do, joined); err != nil {
		l.state.ReadError = err
		l.todo = do
		return
	}
	l.state.ReadError = nil
	if do.firewall {
		l.keepFirewall(drift)
	}
	l.noteMTU()
	// Peers are told when what they need is there.
	l.publishOwn()
}

// computeWanted computes what should be from all that is known.
func (l *Loop) computeWanted() error {
	keys := make([]string, 0, len(l.leases))
	for key := range l.leases {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	leases := make([]lease.Lease, len(keys))
	for i, key := range keys {
		leases[i] = l.leases[key]
	}
	if err := l.lookUp(leases); err != nil {
		return err
	}
	plan, err := l.planned(leases)
	if err != nil {
		return err
	}
	l.logRefusals(plan.Refusals)
	l.joined = nil
	if !slices.Equal(plan.Keep, l.plan.Keep) {
		l.todo.read = true // devices that were kept are to go
	}
	l.use(plan)
	l.noteMigration()
	return nil
}

// plainPlan computes what should be of leases and the node as they are.
func (l *Loop) plainPlan(leases []lease.Lease) (wanted.Plan, error) {
	plan, err := wanted.For(l.node, l.config.Network, leases)
	if err == nil {
		plan, err = l.settled(plan, leases)
	}
	return plan, err
}

// lookUp finds out which peers are on a link, where that matters. As long as
// something is wrong with an underlay, what was found before counts: when it
// has lost its address for a moment, routes through it still work.
func (l *Loop) lookUp(leases []lease.Lease) error {
	backend, err := wanted.BackendFor(l.config.Network.Backend)
	if err != nil {
		return err
	}
	var ask []lease.Lease
	for _, one := range leases {
		if backend.Lookup(one) {
			ask = append(ask, one)
		}
	}
	before := l.direct
	l.asked, l.direct, l.node.Direct = addresses(ask), nil, nil
	if len(l.asked) == 0 {
		return nil
	}
	if l.direct, err = l.kernel.Direct(l.asked); err != nil {
		return err
	}
	for address, index := range before {
		if l.troubled[address.Is6()] != nil {
			l.direct[address] = index
		}
	}
	l.node.Direct = l.direct
	return nil
}

// use makes plan what is wanted.
func (l *Loop) use(plan wanted.Plan) {
	l.plan = plan
	l.state.Node, l.state.Wanted, l.state.Peers, l.state.Refusals = l.node, plan.State, plan.Peers, plan.Refusals
	l.state.Keep = plan.Keep
	l.plain = slices.ContainsFunc(plan.State.Routes, func(r wanted.Route) bool { return !r.OnLink && r.Link != "" })
}

// joinFew is how many leases join one by one: each makes lists of all peers
// anew, so that many at once cost less when everything is computed again.
const joinFew = 16

// join adds the leases of new nodes to what is wanted, and returns what it has
// added. If it is not as simple as that, it returns nil and everything has to be
// computed again.
func (l *Loop) join() *wanted.State {
	if len(l.joined) > joinFew {
		return nil
	}
	var added wanted.State
	for len(l.joined) > 0 {
		if l.slowJoin(l.joined[0]) {
			return nil
		}
		var direct map[netip.Addr]int
		if one := l.joined[0]; l.plan.Lookup(one) {
			ask := addresses([]lease.Lease{one})
			var err error
			if direct, err = l.kernel.Direct(ask); err != nil {
				return nil
			}
			l.asked = append(l.asked, ask...)
		}
		plan, more, simple := l.plan.With(l.joined[0], direct)
		if !simple {
			return nil
		}
		added.Append(more)
		l.use(plan)
		l.joined = l.joined[1:]
	}
	return &added
}

// logRefusals logs the refusals that are new, the first of many.
func (l *Loop) logRefusals(refusals []wanted.Refusal) {
	known := make(map[wanted.Refusal]bool, len(l.state.Refusals))
	for _, r := range l.state.Refusals {
		known[r] = true
	}
	fresh := 0
	for _, r := range refusals {
		if known[r] {
			continue
		}
		if fresh++; fresh <= maxLogged {
			l.log.Warn("lease refused", "node", r.Node, "family", r.Family, "reason", r.Reason, "fix", r.Fix)
		}
	}
	if fresh > maxLogged {
		l.log.Warn("leases refused", "leases", fresh, "not shown", fresh-maxLogged)
	}
}

// noteMTU notes when pods that run may have too large an MTU.
func (l *Loop) noteMTU() {
	mtu := l.state.MTU()
	if mtu == 0 {
		return
	}
	if mtu < l.lastMTU {
		l.log.Warn("the MTU is lower now; pods that run keep theirs until they are made anew", "mtu", mtu, "was", l.lastMTU)
	}
	l.lastMTU, l.largestMTU = mtu, max(mtu, l.largestMTU)
	l.state.PodsMTU = 0
	if l.largestMTU > mtu {
		l.state.PodsMTU = l.largestMTU
	}
}

// maxLogged is how many failures and how many refusals of one pass are logged.
const maxLogged = 5

// makeSo brings the kernel to what is wanted. With joined, only that was added
// to it; nil says that anything may have changed.
func (l *Loop) makeSo(do todo, joined *wanted.State) error {
	if do.read {
		have, err := l.kernel.Read(l.state.Scope())
		if err != nil {
			return err
		}
		l.have = have
		l.state.Counters.Reads++
	}
	want := l.plan.State
	if l.kept {
		want = underKernel(l.have, want)
	}
	l.state.Wanted = l.settledEndpoints(l.have, want)
	var changes []diff.Change
	if joined != nil && !do.read && !do.drift && !l.kept && !l.tunnelled() {
		// The kernel has what was wanted before: to compare ten thousand
		// objects for one more would take longer than to program it.
		changes = diff.Diff(wanted.State{}, *joined)
	} else {
		changes = diff.Diff(l.have, l.state.Wanted)
	}
	if len(changes) > 0 {
		for _, c := range changes {
			if link, is := c.Object.(wanted.Link); is && c.Verb != diff.Remove && (c.Was == nil || !c.Was.Up) {
				l.rising[link.Name] = true
			}
		}
		l.state.Failures = l.kernel.Apply(changes)
		l.logReplaced(changes)
		l.count(do, changes)
	} else {
		l.state.Failures = nil
	}
	l.state.Failed = failed(l.state.Failures, l.state.Peers)
	l.have = want
	l.tunnelsApplied(l.plan.State, len(l.state.Failures) == 0)
	l.todo.read = len(l.state.Failures) > 0
	for i, f := range l.state.Failures {
		if i == maxLogged {
			l.log.Warn("kernel", "failures", len(l.state.Failures), "not shown", len(l.state.Failures)-i)
			break
		}
		l.log.Warn("kernel", "change", f.Change.String(), "error", f.Err)
	}
	return nil
}

// count counts changes, and those that were repairs.
func (l *Loop) count(do todo, changes []diff.Change) {
	if changes = made(changes, l.state.Failures); len(changes) == 0 {
		return
	}
	l.state.Counters.Changes += len(changes)
	l.log.Debug("kernel changed", "changes", len(changes), "first", changes[0].String())
	if do.drift {
		l.repaired(&l.state.Counters.Repairs, len(changes))
		l.state.Repaired = changes
		l.log.Info("drift repaired", "changes", len(changes), "first", changes[0].String())
	}
}

// logReplaced tells of devices that somebody else had made under a name of
// netd's and that have given way to netd's own.
func (l *Loop) logReplaced(changes []diff.Change) {
	for _, c := range changes {
		link, is := c.Object.(wanted.Link)
		if !is || c.Verb != diff.Remove || link.Alias == wanted.Mark {
			continue
		}
		_, named := slices.BinarySearchFunc(l.state.Wanted.Links, link, wanted.CompareLinks)
		gone := !slices.ContainsFunc(l.state.Failures, func(f kernel.Failure) bool {
			failed, is := f.Change.Object.(wanted.Link)
			return is && f.Change.Verb == diff.Remove && failed.Name == link.Name
		})
		if named && gone {
			l.log.Warn("a device that is not netd's had the name of one that is, and was removed", "device", link.Name, "kind", link.Kind,
				"index", link.Index, "fix", "give it another name than "+link.Name+" if it comes back")
		}
	}
}

// made are the changes without those that failed.
func made(changes []diff.Change, failures []kernel.Failure) []diff.Change {
	if len(failures) == 0 {
		return changes
	}
	failed := make(map[string]bool, len(failures))
	for _, f := range failures {
		failed[f.Change.String()] = true
	}
	var made []diff.Change
	for _, c := range changes {
		if !failed[c.String()] {
			made = append(made, c)
		}
	}
	return made
}

// repaired counts repairs and sets the pause before the next.
func (l *Loop) repaired(counter *int, n int) {
	*counter += n
	now := l.now()
	l.gap = nextGap(l.gap, now.Sub(l.state.Counters.LastRepair))
	l.state.Counters.LastRepair = now
	l.notEarly = now.Add(l.gap)
}

// nextGap is the pause after a repair that came since after the one before.
func nextGap(gap, since time.Duration) time.Duration {
	if since > calm {
		return gapMin
	}
	return min(max(2*gap, gapMin), gapMax)
}

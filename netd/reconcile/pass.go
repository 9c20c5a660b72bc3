package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/firewall"
	"weft/netd/lease"
	"weft/netd/wanted"
)

// measured notes what a pass takes that changes something.
func (l *Loop) measured(pass func()) {
	start, cpu, changes := l.now(), cpuTime(), l.state.Counters.Changes
	pass()
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
func (l *Loop) pass(ctx context.Context) {
	do := l.todo
	l.todo = todo{}
	l.state.Counters.Passes++
	l.state.Config = l.config
	if do.underlay {
		if err := l.chooseUnderlay(); err != nil {
			l.state.ReadError = err
			l.todo = do
			return
		}
	}
	if do.want || do.underlay || do.joined && !l.join() {
		if err := l.computeWanted(ctx); err != nil {
			l.state.ReadError = err
			l.todo = do
			return
		}
	}
	if err := l.makeSo(do); err != nil {
		l.state.ReadError = err
		l.todo = do
		return
	}
	l.state.ReadError = nil
	if do.firewall {
		l.keepFirewall(do.drift)
	}
}

// computeWanted computes what should be from all that is known.
func (l *Loop) computeWanted(ctx context.Context) error {
	keys := make([]string, 0, len(l.leases))
	for key := range l.leases {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	leases := make([]lease.Lease, len(keys))
	for i, key := range keys {
		leases[i] = l.leases[key]
	}
	l.node.Direct = nil
	if l.config.Network.Backend.DirectRouting {
		direct, err := l.kernel.Direct(addresses(leases))
		if err != nil {
			return err
		}
		l.node.Direct = direct
	}
	plan, err := wanted.For(l.node, l.config.Network, leases)
	if err != nil {
		return err
	}
	for _, r := range plan.Refusals {
		if !slices.Contains(l.state.Refusals, r) {
			l.log.Warn("lease refused", "node", r.Node, "family", r.Family, "reason", r.Reason, "fix", r.Fix)
		}
	}
	l.joined = nil
	l.use(plan)
	l.publishOwn(ctx)
	return nil
}

// use makes plan what is wanted.
func (l *Loop) use(plan wanted.Plan) {
	l.plan = plan
	l.state.Node, l.state.Wanted, l.state.Peers, l.state.Refusals = l.node, plan.State, plan.Peers, plan.Refusals
}

// join adds the leases of new nodes to what is wanted. If it is not as simple
// as that, it reports false and everything has to be computed again.
func (l *Loop) join() bool {
	if l.config.Network.Backend.DirectRouting {
		return false // which peers are on a link has to be looked up
	}
	for len(l.joined) > 0 {
		plan, simple := l.plan.With(l.joined[0])
		if !simple {
			return false
		}
		l.use(plan)
		l.joined = l.joined[1:]
	}
	return true
}

// makeSo brings the kernel to what is wanted.
func (l *Loop) makeSo(do todo) error {
	if do.read {
		have, err := l.kernel.Read(l.state.Scope())
		if err != nil {
			return err
		}
		l.have = have
		l.state.Counters.Reads++
	}
	changes := diff.Diff(l.have, l.state.Wanted)
	if len(changes) > 0 {
		for _, c := range changes {
			if link, is := c.Object.(wanted.Link); is && c.Verb != diff.Remove && !c.Was.Up {
				l.rising[link.Name] = true
			}
		}
		l.state.Failures = l.kernel.Apply(changes)
		l.count(do, changes)
	} else {
		l.state.Failures = nil
	}
	l.state.Failed = failed(l.state.Failures, l.state.Peers)
	l.have = l.state.Wanted
	for _, f := range l.state.Failures {
		l.log.Warn("kernel", "change", f.Change.String(), "error", f.Err)
		l.todo.read = true
	}
	return nil
}

// count counts changes, and those that were repairs.
func (l *Loop) count(do todo, changes []diff.Change) {
	l.state.Counters.Changes += len(changes)
	l.log.Debug("kernel changed", "changes", len(changes), "first", changes[0].String())
	if do.drift && !do.want && !do.joined {
		l.repaired(&l.state.Counters.Repairs, len(changes))
		l.log.Info("drift repaired", "changes", len(changes), "first", changes[0].String())
	}
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

func (l *Loop) keepFirewall(drift bool) {
	changed, err := l.firewall.Ensure(firewall.Wanted(l.node, l.config.Network))
	l.state.FirewallError = err
	if err != nil {
		l.log.Warn("firewall", "error", err)
		l.todo.firewall = true
		return
	}
	if changed && drift {
		l.repaired(&l.state.Counters.FirewallRepairs, 1)
		l.log.Info("firewall repaired")
	}
}

// publishOwn tells the store this node's lease when it has changed.
func (l *Loop) publishOwn(ctx context.Context) {
	own := lease.Lease{
		Node: l.node.Name, UUID: l.config.Node.UUID, Backend: l.config.Network.Backend.Canonical(),
		IPv4: lease.Half{Subnet: l.node.IPv4, Address: l.node.Underlay.IPv4.Address, MAC: l.node.MAC.String()},
		IPv6: lease.Half{Subnet: l.node.IPv6, Address: l.node.Underlay.IPv6.Address, MAC: l.node.MAC.String()},
	}
	if own.Equal(l.own) {
		return
	}
	l.own = own
	if l.lastOwn != nil {
		l.lastOwn()
	}
	ctx, l.lastOwn = context.WithCancel(ctx)
	go func() {
		if err := l.store.Publish(ctx, own, func(lease.Lease) {}); err != nil && ctx.Err() == nil {
			l.log.Warn("own lease", "error", fmt.Errorf("publish: %w", err))
		}
	}()
}

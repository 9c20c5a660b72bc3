package reconcile

import (
	"context"
	"errors"
	"time"

	"weft/netd/firewall"
)

// The packet filter is kept beside the loop and not in it: the legacy iptables
// has a lock that another program may hold for as long as it likes, and pods
// need their routes meanwhile.

// errRulesPending is what is wrong with the packet filter until it has been
// looked at for the first time.
var errRulesPending = errors.New("the rules are being set")

// rulesWanted is what the packet filter should hold; drift says that somebody
// else may have changed it, so that a change is a repair.
type rulesWanted struct {
	rules firewall.Ruleset
	drift bool
}

// rulesKept is what became of it.
type rulesKept struct {
	changed, drift bool
	err            error
}

// keepFirewall has the packet filter compared with what it should hold, in the
// place of what nobody has begun with yet.
func (l *Loop) keepFirewall(drift bool) {
	want := rulesWanted{firewall.Wanted(l.node, l.config.Network), drift}
	select {
	case waiting := <-l.rules:
		want.drift = want.drift && waiting.drift
	default:
	}
	l.rules <- want
}

// keepRules makes the packet filter so, until ctx ends. What fails is tried
// again after longer and longer pauses.
func (l *Loop) keepRules(ctx context.Context) {
	var want rulesWanted
	var pause time.Duration
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case want = <-l.rules:
			pause = 0
		case <-again.C:
		}
		kept := l.keepRulesOnce(ctx, want)
		again.Stop()
		if kept.err != nil {
			pause = min(max(2*pause, retryMin), retryMax)
			again.Reset(pause)
		}
		select {
		case l.rulesKept <- kept:
		case <-ctx.Done():
			return
		}
	}
}

func (l *Loop) keepRulesOnce(ctx context.Context, want rulesWanted) rulesKept {
	changed, err := l.firewall.Ensure(ctx, want.rules)
	return rulesKept{changed: changed, drift: want.drift, err: err}
}

// takeRules notes what became of the packet filter.
func (l *Loop) takeRules(kept rulesKept) {
	if kept.err != nil || l.state.FirewallError != nil {
		l.todo.tell = true
	}
	l.state.FirewallError = kept.err
	switch {
	case kept.err != nil:
		l.log.Warn("firewall", "error", kept.err)
	case kept.changed && kept.drift:
		l.repaired(&l.state.Counters.FirewallRepairs, 1)
		l.log.Info("firewall repaired")
		l.todo.tell = true
	}
}

package reconcile

import (
	"weft/netd/lease"
	"weft/netd/wanted"
)

// settled is plan, made again if leases exclude each other, so that the ones
// that are honoured already stay: by the plan before or, when there is none,
// by what the kernel holds from before the restart.
func (l *Loop) settled(plan wanted.Plan, leases []lease.Lease) (wanted.Plan, error) {
	if !plan.Contested() {
		return plan, nil
	}
	have := l.have
	if l.state.Counters.Reads == 0 {
		fresh := l.state
		fresh.Node = l.node
		read, err := l.kernel.Read(fresh.Scope())
		if err != nil {
			return plan, err
		}
		have = read
	}
	return wanted.For(l.node, l.config.Network, plan.Incumbents(l.state.Peers, have, leases))
}

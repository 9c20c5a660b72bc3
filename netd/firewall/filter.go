package firewall

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"weft/profiles"
)

// A Filter is the packet filter of this node, in the mode that the rules ask
// for. It is made by [New].
type Filter struct {
	mu sync.Mutex
	// iptables keeps rules by the programs of iptables; nil in the other mode.
	iptables *xtables
	// swept are the modes, by family, for which what the other mode and
	// flanneld left has been removed.
	swept map[bool]string

	// filter is what the events are heard for.
	filter atomic.Int32
	// watch takes what there is to look at where no event tells of changes.
	watch chan *legacyWatch
}

var _ Firewall = (*Filter)(nil)

// What a filter hears of.
const (
	hearNFT int32 = iota
	hearIPTables
	hearNothing
)

// New is the packet filter of the network namespace in which it is called.
func New() *Filter {
	return &Filter{swept: map[bool]string{}, watch: make(chan *legacyWatch, 1)}
}

// Ensure makes the filter hold exactly want of netd's rules and reports
// whether anything had to be changed.
//
// When it is called for the first time, and when the mode changes, what the
// other mode left is removed after the rules are in place: netd's own objects
// and flanneld's, by their exact names (see leftovers). Later they are let be:
// whoever makes them again runs beside netd and would only do so once more.
func (f *Filter) Ensure(ctx context.Context, want Ruleset) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(want.Tables) == 0 {
		return false, nil
	}
	if want.Mode == profiles.FirewallIPTables {
		changed, err = f.ensureIPTables(ctx, want)
	} else {
		f.filter.Store(hearNFT)
		f.iptables = nil
		f.watchLegacy(nil)
		changed, err = ensureNFT(want)
	}
	if err != nil {
		return changed, err
	}
	swept, err := f.sweep(ctx, want)
	return changed || swept, err
}

func (f *Filter) ensureIPTables(ctx context.Context, want Ruleset) (changed bool, err error) {
	if f.iptables == nil {
		if f.iptables, err = findIPTables(ctx); err != nil {
			return false, err
		}
	}
	if f.iptables.legacy {
		f.filter.Store(hearNothing)
		// What is compared later is taken before the rules are read: a change
		// between the two is seen the next time.
		watch, err := watchLegacy(want)
		if err != nil {
			return false, err
		}
		f.watchLegacy(watch)
	} else {
		f.filter.Store(hearIPTables)
		f.watchLegacy(nil)
	}
	return f.iptables.ensure(ctx, want)
}

// sweep removes what the other mode and flanneld left, once for each family.
func (f *Filter) sweep(ctx context.Context, want Ruleset) (changed bool, err error) {
	for _, ipv6 := range []bool{false, true} {
		mode := want.Mode
		if f.iptables != nil && f.iptables.legacy {
			mode += " legacy"
		}
		if last, done := f.swept[ipv6]; done && last == mode || want.of(ipv6).Hold {
			continue
		}
		removed, failed := removeLeftovers(ctx, ipv6, f.iptables)
		changed = changed || removed
		if failed == nil {
			f.swept[ipv6] = mode
		}
		err = errors.Join(err, failed)
	}
	return changed, err
}

// watchLegacy hands over what there is to look at, in the place of what has
// not been taken yet.
func (f *Filter) watchLegacy(w *legacyWatch) {
	select {
	case old := <-f.watch:
		old.close()
	default:
	}
	f.watch <- w
}

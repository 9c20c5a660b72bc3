// Package ntp keeps the node's clock right by asking time servers on the
// network (NTP, RFC 5905, as an SNTP client of several servers).
//
// What the servers' answers mean is decided by plain functions: [Select]
// finds the time that most servers agree on, [Decide] whether the clock is
// set in one step or drawn near slowly. The kernel's clock is touched in one
// file. It does not serve time, and it knows no time zones.
package ntp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Sample is what one server's answer says of the clock.
type Sample struct {
	// Server is who answered.
	Server netip.Addr
	// Offset is how far the clock is behind the server's.
	Offset time.Duration
	// Distance is how wrong Offset can be: half the way to the primary source
	// and back, and all that was lost on it (RFC 5905, root distance).
	Distance time.Duration
	// Stratum is how far the server is from a primary source, 1..15.
	Stratum int
}

// A Reading is what several servers say together.
type Reading struct {
	// Offset is how far the clock is behind.
	Offset time.Duration
	// Distance is how wrong Offset can be.
	Distance time.Duration
	// Agreeing are the servers that it follows, Refused those that it does
	// not.
	Agreeing, Refused []netip.Addr
}

// Select finds the time that more than half of the servers agree on: the
// largest set of samples whose intervals (Offset plus and minus Distance)
// have a point in common, as RFC 5905 section 11.2.1 intersects them. Of that
// set the sample with the smallest distance is followed. The error says that
// no majority agrees.
func Select(samples []Sample) (Reading, error) {
	if len(samples) == 0 {
		return Reading{}, fmt.Errorf("no time server answered")
	}
	best := agreeing(samples)
	if 2*len(best) <= len(samples) {
		return Reading{}, fmt.Errorf("of %d time servers at most %d agree: %s", len(samples), len(best), list(samples))
	}
	followed := slices.MinFunc(best, func(a, b Sample) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), a.Server.Compare(b.Server))
	})
	r := Reading{Offset: followed.Offset, Distance: followed.Distance}
	for _, s := range samples {
		if slices.Contains(best, s) {
			r.Agreeing = append(r.Agreeing, s.Server)
		} else {
			r.Refused = append(r.Refused, s.Server)
		}
	}
	return r, nil
}

// agreeing is the largest set of samples whose intervals share a point. Some
// interval's lower end is such a point, if there is any.
func agreeing(samples []Sample) []Sample {
	var best []Sample
	for _, at := range samples {
		point := at.Offset - at.Distance
		var set []Sample
		for _, s := range samples {
			if s.Offset-s.Distance <= point && point <= s.Offset+s.Distance {
				set = append(set, s)
			}
		}
		if len(set) > len(best) {
			best = set
		}
	}
	return best
}

// list names samples for a person.
func list(samples []Sample) string {
	text := ""
	for i, s := range samples {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s says %+.3f s", s.Server, s.Offset.Seconds())
	}
	return text
}

// An Action is what is done to the clock.
type Action int

// The actions.
const (
	// Slew draws the clock near without a jump.
	Slew Action = iota
	// Step sets the clock at once.
	Step
)

// How far off the clock may be to be drawn near.
const (
	// slewFirst is the limit before the clock was ever right: nothing has
	// been started by it yet, so the step costs nothing. It is the kernel
	// discipline's own limit (RFC 5905, STEPT, 128 ms).
	slewFirst = 128 * time.Millisecond
	// slewLater is the limit afterwards: certificates and leases of a running
	// cluster bear a jump worse than a second of error. A clock further off
	// than that was stopped, as in a suspended machine.
	slewLater = time.Second
)

// Decide says what to do about an offset; synced says whether the clock has
// been right before.
func Decide(offset time.Duration, synced bool) Action {
	limit := slewFirst
	if synced {
		limit = slewLater
	}
	if offset.Abs() > limit {
		return Step
	}
	return Slew
}

// How often servers are asked (RFC 5905 section 7.3 counts in powers of two).
const (
	// minPoll keeps to what public servers bear.
	minPoll = 64 * time.Second
	// maxPoll is small enough to notice a clock that drifts by 50 ppm before
	// it is 0.1 s off.
	maxPoll = 2048 * time.Second
	// retryFirst is the pause after a question without an answer; it doubles
	// up to minPoll, so that a network that comes late is used at once and a
	// server that is gone is not pestered.
	retryFirst = time.Second
	// settled is the offset below which the pause grows.
	settled = 20 * time.Millisecond
)

// NextPoll is the pause before the servers are asked again, after a reading
// with an offset that followed a pause.
func NextPoll(pause, offset time.Duration) time.Duration {
	if offset.Abs() > settled {
		return minPoll
	}
	return min(max(2*pause, minPoll), maxPoll)
}

// NextRetry is the pause after a failure that followed a pause; 0 for the
// first one.
func NextRetry(pause time.Duration) time.Duration {
	return min(max(2*pause, retryFirst), minPoll)
}

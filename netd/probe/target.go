package probe

import (
	"fmt"
	"math/bits"
	"net/netip"
	"time"
)

// How often a peer is asked.
const (
	// every is how often a peer that answers is asked.
	every = 10 * time.Second
	// A peer that does not answer is asked again after retryMin, doubled up
	// to every.
	retryMin = 100 * time.Millisecond
	// timeout is when an answer is given up.
	timeout = 2 * time.Second
	// perPeer stretches every in large clusters, so that all peers together
	// are asked no more than 50 times a second.
	perPeer = time.Second / 50
	// lossAfter is how many requests in a row stay unanswered before a peer
	// that did answer counts as lost.
	lossAfter = 3
)

// A Result is how one peer's probe pod answers in one family.
type Result struct {
	// Node is the peer's name; From and To are the addresses of the pods.
	Node     string
	From, To netip.Addr
	// RTT is the round trip time of the last answer.
	RTT time.Duration
	// Sent and Received count requests and answers since the start.
	Sent, Received int
	// Loss is the share of the last requests, up to 32, that were not
	// answered, 0 to 1.
	Loss float64
	// Answers says that the peer answers now, Seen when it last did.
	Answers bool
	Seen    time.Time
}

// target is one peer in one family, and what is known of it.
type target struct {
	Result
	due     time.Time // when to ask next
	retry   time.Duration
	seq     uint16
	sent    [8]time.Time // when the last requests went out, by seq; zero when answered
	history uint32       // bit 0 is the last finished request; 1 says answered
	known   int          // how many bits of history are in use
	missed  int          // unanswered in a row
}

// ask notes a request at now and returns its number.
func (t *target) ask(now time.Time) uint16 {
	t.expire(now)
	t.seq++
	slot := &t.sent[t.seq%uint16(len(t.sent))]
	if !slot.IsZero() {
		t.finish(false)
	}
	*slot = now
	t.Sent++
	t.retry = min(max(2*t.retry, retryMin), every)
	t.due = now.Add(t.retry)
	return t.seq
}

// answer notes an answer at now and reports whether the peer answers from now
// on; interval is when to ask next.
func (t *target) answer(seq uint16, now time.Time, interval time.Duration) (changed bool) {
	slot := &t.sent[seq%uint16(len(t.sent))]
	if slot.IsZero() || t.seq-seq >= uint16(len(t.sent)) {
		return false // not asked, or answered already
	}
	t.RTT, t.Seen = now.Sub(*slot), now
	*slot = time.Time{}
	t.Received++
	t.finish(true)
	t.missed, t.retry, t.due = 0, 0, now.Add(interval)
	changed = !t.Answers
	t.Answers = true
	return changed
}

// expire gives up what has waited for too long and reports whether the peer
// is lost from now on.
func (t *target) expire(now time.Time) (changed bool) {
	for i := range t.sent {
		if !t.sent[i].IsZero() && now.Sub(t.sent[i]) >= timeout {
			t.sent[i] = time.Time{}
			t.finish(false)
		}
	}
	if t.Answers && t.missed >= lossAfter {
		t.Answers = false
		return true
	}
	return false
}

// finish notes the outcome of a request.
func (t *target) finish(answered bool) {
	t.history <<= 1
	if answered {
		t.history |= 1
	} else {
		t.missed++
	}
	t.known = min(t.known+1, 32)
	t.Loss = 1 - float64(bits.OnesCount32(t.history))/float64(t.known)
}

// interval is how often each of n peers is asked.
func interval(n int) time.Duration { return max(every, time.Duration(n)*perPeer) }

// Line is a result in one line, for people.
func Line(r Result) string {
	if !r.Answers {
		return fmt.Sprintf("pod %s -> %s pod %s does not answer", r.From, r.Node, r.To)
	}
	return fmt.Sprintf("pod %s -> %s pod %s %.2f ms", r.From, r.Node, r.To, float64(r.RTT.Microseconds())/1000)
}

package ntp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func server(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }

func sample(n byte, offset, distance time.Duration) Sample {
	return Sample{Server: server(n), Offset: offset, Distance: distance, Stratum: 2}
}

func TestTheMajorityTellsTheTime(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		samples []Sample
		offset  time.Duration
		refused []netip.Addr
		fails   string
	}{
		"one server":             {samples: []Sample{sample(1, 5*ms, 10*ms)}, offset: 5 * ms},
		"the nearest of three":   {samples: []Sample{sample(1, 5*ms, 30*ms), sample(2, 9*ms, 4*ms), sample(3, 7*ms, 20*ms)}, offset: 9 * ms},
		"one liar of three":      {samples: []Sample{sample(1, time.Hour, ms), sample(2, 9*ms, 20*ms), sample(3, 7*ms, 10*ms)}, offset: 7 * ms, refused: []netip.Addr{server(1)}},
		"two that contradict":    {samples: []Sample{sample(1, time.Hour, ms), sample(2, 0, ms)}, fails: "at most 1 agree"},
		"two and two":            {samples: []Sample{sample(1, time.Hour, ms), sample(2, time.Hour, ms), sample(3, 0, ms), sample(4, 0, ms)}, fails: "at most 2 agree"},
		"nobody":                 {fails: "no time server answered"},
		"behind as well as fast": {samples: []Sample{sample(1, -50*ms, 10*ms), sample(2, -45*ms, 10*ms)}, offset: -50 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Select(c.samples)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v, want an error that says %q", err, c.fails)
				}
				return
			}
			if err != nil || r.Offset != c.offset || !slices.Equal(r.Refused, c.refused) {
				t.Errorf("got %+v, %v; want offset %s without %v", r, err, c.offset, c.refused)
			}
		})
	}
}

func TestTheClockJumpsOnceAndIsDrawnAfterwards(t *testing.T) {
	for _, c := range []struct {
		offset time.Duration
		synced bool
		want   Action
	}{
		{50 * 365 * 24 * time.Hour, false, Step},
		{-200 * time.Millisecond, false, Step},
		{100 * time.Millisecond, false, Slew},
		{500 * time.Millisecond, true, Slew},
		{-500 * time.Millisecond, true, Slew},
		{time.Minute, true, Step}, // a machine that was suspended
	} {
		if got := Decide(c.offset, c.synced); got != c.want {
			t.Errorf("Decide(%s, %v) = %v, want %v", c.offset, c.synced, got, c.want)
		}
	}
}

func TestPausesGrowWhileAllIsWell(t *testing.T) {
	pause := time.Duration(0)
	for range 10 {
		pause = NextPoll(pause, time.Millisecond)
	}
	if pause != maxPoll {
		t.Errorf("after ten good readings the pause is %s, want %s", pause, maxPoll)
	}
	if got := NextPoll(pause, time.Second); got != minPoll {
		t.Errorf("after a bad reading the pause is %s, want %s", got, minPoll)
	}
	if first, last := NextRetry(0), NextRetry(minPoll); first != retryFirst || last != minPoll {
		t.Errorf("retries go from %s to %s", first, last)
	}
}

// fakeNetwork has servers with an offset each; others do not answer.
type fakeNetwork struct {
	mu      sync.Mutex
	names   map[string][]netip.Addr
	offsets map[netip.Addr]time.Duration
	asked   int
}

func (n *fakeNetwork) Lookup(_ context.Context, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if list, ok := n.names[name]; ok {
		return list, nil
	}
	return nil, errors.New("no such host")
}

func (n *fakeNetwork) Ask(_ context.Context, s netip.Addr) (Sample, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	offset, ok := n.offsets[s]
	if !ok {
		return Sample{}, errors.New("time-out")
	}
	return Sample{Server: s, Offset: offset, Distance: 10 * time.Millisecond}, nil
}

// fakeClock notes what is done to it.
type fakeClock struct{ steps, slews []time.Duration }

func (c *fakeClock) Step(d time.Duration) error { c.steps = append(c.steps, d); return nil }
func (c *fakeClock) Slew(d, _ time.Duration) error {
	c.slews = append(c.slews, d)
	return nil
}

func TestALateServerIsUsedAtOnceAndTheClockStepsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		network := &fakeNetwork{offsets: map[netip.Addr]time.Duration{server(1): time.Hour, server(2): time.Hour}}
		clock, servers := &fakeClock{}, NewServers()
		var states []State
		done := make(chan struct{})
		go func() {
			defer close(done)
			Run(ctx, servers, Config{Clock: clock, Network: network, Now: time.Now, After: time.After,
				Changed: func(s State) { states = append(states, s) }})
		}()
		synctest.Wait()
		if len(states) != 0 {
			t.Fatalf("without servers it says %+v", states)
		}
		servers.Set([]string{"time.example"})
		synctest.Wait()
		if s := states[len(states)-1]; s.Synced || !strings.Contains(s.Error, "no such host") {
			t.Fatalf("without the name it says %+v", s)
		}
		network.mu.Lock()
		network.names = map[string][]netip.Addr{"time.example": {server(1), server(2)}}
		network.mu.Unlock()
		time.Sleep(retryFirst)
		synctest.Wait()
		s := states[len(states)-1]
		if !s.Synced || !s.Stepped || len(clock.steps) != 1 || clock.steps[0] != time.Hour {
			t.Fatalf("after the first answer: %+v, steps %v", s, clock.steps)
		}
		network.mu.Lock()
		network.offsets = map[netip.Addr]time.Duration{server(1): 300 * time.Millisecond, server(2): 300 * time.Millisecond}
		network.mu.Unlock()
		time.Sleep(minPoll)
		synctest.Wait()
		if s := states[len(states)-1]; s.Stepped || len(clock.steps) != 1 || clock.slews[len(clock.slews)-1] != 300*time.Millisecond {
			t.Errorf("later it says %+v, steps %v, slews %v", s, clock.steps, clock.slews)
		}
		cancel()
		<-done
	})
}

func TestBothFamiliesAreAskedAndNoNameBringsTooMany(t *testing.T) {
	var list []netip.Addr
	for i := range 10 {
		list = append(list, server(byte(i)))
	}
	six := netip.MustParseAddr("2001:db8::1")
	got := spread(append(list, six))
	if len(got) != maxPerName || got[0] != six || !slices.Contains(got, server(0)) {
		t.Errorf("spread chose %v", got)
	}
}

// serve answers as an NTP server whose clock is off by offset would; edit may
// spoil the answer.
func serve(t *testing.T, offset time.Duration, edit func([]byte)) netip.AddrPort {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			now := time.Now().Add(offset)
			answer := make([]byte, 48)
			answer[0], answer[1], answer[2], answer[3] = 0<<6|4<<3|4, 1, 6, 0xec // server, stratum 1
			copy(answer[12:], "GPS\x00")
			stamp(answer[16:], now.Add(-time.Second))
			copy(answer[24:32], buf[40:48])
			stamp(answer[32:], now)
			stamp(answer[40:], now)
			if edit != nil {
				edit(answer)
			}
			if _, err := conn.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// stamp writes an NTP time stamp: seconds since 1900 and a binary fraction.
func stamp(at []byte, t time.Time) {
	const since1900 = 2208988800 // RFC 5905, figure 4
	binary.BigEndian.PutUint32(at, uint32(t.Unix()+since1900))
	binary.BigEndian.PutUint32(at[4:], uint32((int64(t.Nanosecond())<<32)/1e9))
}

func TestAnAnswerOnTheWireIsRead(t *testing.T) {
	at := serve(t, 90*time.Minute, nil)
	s, err := ask(t.Context(), at.Addr(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	if off := (s.Offset - 90*time.Minute).Abs(); off > time.Second || s.Stratum != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestServersThatAreNotRightThemselvesAreRefused(t *testing.T) {
	for name, edit := range map[string]func([]byte){
		"kiss of death":    func(b []byte) { b[1] = 0; copy(b[12:], "RATE") },
		"not synchronised": func(b []byte) { b[0] |= 3 << 6 },
		"another question": func(b []byte) { b[24] ^= 0xff },
		"no time":          func(b []byte) { clear(b[40:48]) },
	} {
		t.Run(name, func(t *testing.T) {
			at := serve(t, 0, edit)
			if s, err := ask(t.Context(), at.Addr(), at.String()); err == nil {
				t.Errorf("the answer counts: %+v", s)
			}
		})
	}
}

package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"
)

var (
	a         = mac{2, 0, 0, 0, 0, 0xa}
	b         = mac{2, 0, 0, 0, 0, 0xb}
	c         = mac{2, 0, 0, 0, 0, 0xc}
	broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	multicast = mac{0x33, 0x33, 0, 0, 0, 1}
)

// frame is an Ethernet frame with a recognisable payload.
func frame(to, from mac, payload string) []byte {
	return append(append(append([]byte{}, to[:]...), from[:]...), append([]byte{0x88, 0xb5}, payload...)...)
}

// lab is a segment with three taps and a clock that stands still.
type lab struct {
	*testing.T
	segment *Segment
	taps    map[string]*Tap
	now     time.Time
}

func newLab(t *testing.T) *lab {
	l := &lab{T: t, taps: map[string]*Tap{}, now: time.Unix(1_700_000_000, 5)}
	l.segment = newAt("lab", func() time.Time { return l.now })
	t.Cleanup(func() { l.segment.Close() })
	for _, name := range []string{"a", "b", "c"} {
		tap, err := l.segment.Tap(name)
		if err != nil {
			t.Fatal(err)
		}
		l.taps[name] = tap
	}
	return l
}

func (l *lab) send(from string, f []byte) {
	l.Helper()
	if err := l.taps[from].WriteFrame(f); err != nil {
		l.Fatal(err)
	}
}

// seen says what waits at the named taps. Forwarding between taps is done
// when WriteFrame returns, so nothing has to be waited for.
func (l *lab) seen(name string) string {
	l.Helper()
	if len(l.taps[name].queue) == 0 {
		return ""
	}
	f, err := l.taps[name].ReadFrame(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return string(f[minFrame:])
}

func (l *lab) want(saw map[string]string) {
	l.Helper()
	for _, name := range []string{"a", "b", "c"} {
		if got := l.seen(name); got != saw[name] {
			l.Errorf("port %s saw %q, want %q", name, got, saw[name])
		}
	}
}

func TestUnknownAddressIsFloodedAndKnownOneIsNot(t *testing.T) {
	l := newLab(t)
	l.send("a", frame(b, a, "who"))
	l.want(map[string]string{"b": "who", "c": "who"})
	l.send("b", frame(a, b, "me"))
	l.want(map[string]string{"a": "me"})
	l.send("a", frame(b, a, "you"))
	l.want(map[string]string{"b": "you"})
}

func TestBroadcastAndMulticastReachAllButTheSender(t *testing.T) {
	l := newLab(t)
	for _, to := range []mac{broadcast, multicast} {
		l.send("b", frame(to, b, "all"))
		l.want(map[string]string{"a": "all", "c": "all"})
	}
}

func TestFrameToAStationOnItsOwnPortGoesNowhere(t *testing.T) {
	l := newLab(t)
	l.send("a", frame(broadcast, c, "c is behind a"))
	l.want(map[string]string{"b": "c is behind a", "c": "c is behind a"})
	l.send("a", frame(c, a, "local"))
	l.want(nil)
}

func TestStationThatMovesIsFollowed(t *testing.T) {
	l := newLab(t)
	l.send("a", frame(broadcast, a, "1"))
	l.want(map[string]string{"b": "1", "c": "1"})
	l.send("c", frame(broadcast, a, "2"))
	l.want(map[string]string{"a": "2", "b": "2"})
	l.send("b", frame(a, b, "3"))
	l.want(map[string]string{"c": "3"})
}

func TestLearnedAddressAges(t *testing.T) {
	l := newLab(t)
	l.send("a", frame(broadcast, a, "1"))
	l.want(map[string]string{"b": "1", "c": "1"})
	l.now = l.now.Add(ageing - time.Second)
	l.send("b", frame(a, b, "2"))
	l.want(map[string]string{"a": "2"})
	l.now = l.now.Add(time.Second)
	l.send("b", frame(a, b, "3"))
	l.want(map[string]string{"a": "3", "c": "3"})
}

func TestPulledCableLosesFramesBothWaysAndIsForgotten(t *testing.T) {
	l := newLab(t)
	l.send("b", frame(broadcast, b, "1"))
	l.want(map[string]string{"a": "1", "c": "1"})
	l.taps["b"].SetUp(false)
	l.send("a", frame(b, a, "2"))
	l.send("b", frame(broadcast, b, "3"))
	l.want(map[string]string{"c": "2"})
	if n := l.taps["b"].Counters().Down; n != 2 {
		t.Errorf("%d frames counted as lost, want 2", n)
	}
	l.taps["b"].SetUp(true)
	l.send("a", frame(b, a, "4"))
	l.want(map[string]string{"b": "4", "c": "4"})
}

func TestWhatIsNoFrameIsCountedAndDropped(t *testing.T) {
	l := newLab(t)
	l.send("a", nil)
	l.send("a", frame(b, a, "")[:minFrame-1])
	l.send("a", make([]byte, maxFrame+1))
	l.send("a", frame(b, broadcast, "from everybody"))
	l.want(nil)
	if n := l.taps["a"].Counters().Invalid; n != 4 {
		t.Errorf("%d invalid frames, want 4", n)
	}
}

func TestSlowPortLosesItsOwnFramesOnly(t *testing.T) {
	l := newLab(t)
	for i := range queueLength + 10 {
		l.send("a", frame(broadcast, a, fmt.Sprint(i)))
		if got := l.seen("b"); got != fmt.Sprint(i) {
			t.Fatalf("port b saw %q, want %d", got, i)
		}
	}
	if n := l.taps["c"].Counters().Dropped; n != 10 {
		t.Errorf("port c lost %d frames, want 10", n)
	}
	if got := l.seen("c"); got != "0" {
		t.Errorf("port c saw %q first, want 0", got)
	}
}

func TestInventedAddressesDoNotFillMemory(t *testing.T) {
	l := newLab(t)
	for i := range 3 * maxStations {
		source := mac{2}
		binary.BigEndian.PutUint32(source[2:], uint32(i))
		l.send("a", frame(a, source, ""))
	}
	if n := len(l.segment.stations); n > maxStations {
		t.Errorf("%d stations, want at most %d", n, maxStations)
	}
}

func TestCaptureIsAPcapFileOfEveryFrame(t *testing.T) {
	l := newLab(t)
	var file bytes.Buffer
	stop, err := l.segment.Capture(&file)
	if err != nil {
		t.Fatal(err)
	}
	first, second := frame(broadcast, a, "one"), frame(a, b, "two!")
	l.send("a", first)
	l.send("b", second)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	l.send("b", second)
	want := []byte{
		0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 1, 0, 0, 0,
		0x00, 0xf1, 0x53, 0x65, 5, 0, 0, 0, 17, 0, 0, 0, 17, 0, 0, 0,
	}
	want = append(want, first...)
	want = append(want, 0x00, 0xf1, 0x53, 0x65, 5, 0, 0, 0, 18, 0, 0, 0, 18, 0, 0, 0)
	want = append(want, second...)
	if !bytes.Equal(file.Bytes(), want) {
		t.Errorf("file\n% x, want\n% x", file.Bytes(), want)
	}
}

func TestClosedSegmentSaysSo(t *testing.T) {
	l := newLab(t)
	l.segment.Close()
	l.segment.Close()
	if _, err := l.taps["a"].ReadFrame(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if err := l.taps["a"].WriteFrame(frame(b, a, "")); !errors.Is(err, ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if _, err := l.segment.Plug("late"); !errors.Is(err, ErrClosed) {
		t.Errorf("plug: %v", err)
	}
	if _, err := l.segment.Capture(&bytes.Buffer{}); !errors.Is(err, ErrClosed) {
		t.Errorf("capture: %v", err)
	}
}

func TestUnpluggedPortIsForgotten(t *testing.T) {
	l := newLab(t)
	l.send("b", frame(broadcast, b, "1"))
	l.want(map[string]string{"a": "1", "c": "1"})
	l.taps["b"].Unplug()
	l.send("a", frame(b, a, "2"))
	l.want(map[string]string{"c": "2"})
	if n := len(l.segment.Ports()); n != 2 {
		t.Errorf("%d ports, want 2", n)
	}
}

// guestEnd lays a cable and returns the end a guest would have.
func guestEnd(t testing.TB, p *Port) net.Conn {
	t.Helper()
	file, err := p.Cable()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func plug(t testing.TB, s *Segment, name string) *Port {
	t.Helper()
	p, err := s.Plug(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCableCarriesFramesOfEverySizeBothWays(t *testing.T) {
	l := newLab(t)
	conn := guestEnd(t, plug(t, l.segment, "guest"))
	for _, size := range []int{minFrame, 60, 1514, 9014, 65549} {
		sent := frame(broadcast, c, "")
		sent = append(sent, bytes.Repeat([]byte{7}, size-len(sent))...)
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		got, err := l.taps["a"].ReadFrame(t.Context())
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes from the guest: %d bytes, %v", size, len(got), err)
		}
		sent = append(frame(c, a, ""), sent[minFrame:]...)
		l.send("a", sent)
		buffer := make([]byte, maxFrame)
		n, err := conn.Read(buffer)
		if err != nil || !bytes.Equal(buffer[:n], sent) {
			t.Errorf("%d bytes to the guest: %d bytes, %v", size, n, err)
		}
	}
}

func TestNewCableReplacesTheOld(t *testing.T) {
	l := newLab(t)
	port := plug(t, l.segment, "guest")
	old := guestEnd(t, port)
	conn := guestEnd(t, port)
	if _, err := old.Write(frame(broadcast, b, "old")); err == nil {
		t.Error("the old cable still takes frames")
	}
	if _, err := conn.Write(frame(broadcast, c, "new")); err != nil {
		t.Fatal(err)
	}
	got, err := l.taps["a"].ReadFrame(t.Context())
	if err != nil || string(got[minFrame:]) != "new" {
		t.Errorf("saw %q, %v", got, err)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	s := New("brief")
	for i := range 8 {
		conn := guestEnd(t, plug(t, s, fmt.Sprint(i)))
		if _, err := conn.Write(frame(broadcast, mac{2, 0, 0, 0, 0, byte(i)}, "x")); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	// Close has waited for them; what is left is their very last step.
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, before there were %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.taps["a"].ReadFrame(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func FuzzForward(f *testing.F) {
	f.Add([]byte{})
	f.Add(frame(broadcast, a, "hello"))
	f.Add(frame(b, multicast, "odd"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		l := newLab(t)
		l.send("a", sent)
		if got := l.seen("b"); len(got) > len(sent) {
			t.Errorf("%d bytes out of %d", len(got), len(sent))
		}
	})
}

// BenchmarkGuestToGuest sends full-size frames from one cable to another.
func BenchmarkGuestToGuest(bench *testing.B) {
	s := New("bench")
	defer s.Close()
	from, to := guestEnd(bench, plug(bench, s, "from")), guestEnd(bench, plug(bench, s, "to"))
	if _, err := to.Write(frame(a, b, "here")); err != nil {
		bench.Fatal(err)
	}
	buffer := make([]byte, maxFrame)
	if _, err := from.Read(buffer); err != nil {
		bench.Fatal(err)
	}
	sent := append(frame(b, a, ""), make([]byte, 1500)...)
	bench.SetBytes(int64(len(sent)))
	window := make(chan struct{}, 64) // fewer than the queue, so none is lost
	done := make(chan error, 1)
	bench.ResetTimer()
	go func() {
		for range bench.N {
			if _, err := to.Read(buffer); err != nil {
				done <- err
				return
			}
			<-window
		}
		done <- nil
	}()
	for range bench.N {
		window <- struct{}{}
		if _, err := from.Write(sent); err != nil {
			bench.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		bench.Fatal(err)
	}
}

package probe

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestEchoRequestHasARightChecksum(t *testing.T) {
	b := echo{id: 0x1234, seq: 7}.request(false)
	if sum := checksum(b); sum != 0 { // RFC 1071: over all of it, 0
		t.Errorf("checksum over %x is %#x, want 0", b, sum)
	}
	if b := (echo{id: 0x1234, seq: 7}).request(true); b[0] != 128 || binary.BigEndian.Uint16(b[4:]) != 0x1234 {
		t.Errorf("IPv6 request is %x", b)
	}
}

func TestTargetThatAnswersIsAskedEveryInterval(t *testing.T) {
	now := time.Unix(1000, 0)
	var x target
	seq := x.ask(now)
	if !x.answer(seq, now.Add(3*time.Millisecond), every) {
		t.Error("the first answer is no news")
	}
	if x.RTT != 3*time.Millisecond || !x.Answers || x.Loss != 0 || x.due != now.Add(3*time.Millisecond+every) {
		t.Errorf("target is %+v", x)
	}
	if x.answer(seq, now, every) || x.Received != 1 {
		t.Error("an answer counted twice")
	}
	if x.answer(seq+5, now, every) || x.Received != 1 {
		t.Error("an answer to nothing counted")
	}
}

func TestTargetThatDoesNotAnswerIsAskedLessAndLessOften(t *testing.T) {
	now := time.Unix(1000, 0)
	var x target
	var last time.Duration
	for range 12 {
		x.ask(now)
		pause := x.due.Sub(now)
		if pause < last || pause > every {
			t.Fatalf("pause of %v after one of %v", pause, last)
		}
		last, now = pause, x.due
	}
	if last != every {
		t.Errorf("the pause came to %v, want %v", last, every)
	}
	if x.Loss != 1 || x.Answers {
		t.Errorf("loss is %v, answers %t; want 1 and not", x.Loss, x.Answers)
	}
}

func TestTargetIsLostAfterThreeAndNewsWhenItReturns(t *testing.T) {
	now := time.Unix(1000, 0)
	var x target
	x.answer(x.ask(now), now, every)
	lost := 0
	for range 4 {
		now = now.Add(every)
		if x.expire(now) {
			lost++
		}
		x.ask(now)
	}
	now = now.Add(every)
	if x.expire(now) {
		lost++
	}
	if lost != 1 || x.Answers {
		t.Errorf("lost %d times, answers %t; want once and not", lost, x.Answers)
	}
	if !x.answer(x.ask(now), now, every) {
		t.Error("its return is no news")
	}
}

func TestManyPeersAreAskedNoMoreThanFiftyTimesASecond(t *testing.T) {
	if got := interval(3); got != every {
		t.Errorf("3 peers: every %v, want %v", got, every)
	}
	if got := interval(5000); got != 100*time.Second {
		t.Errorf("5000 peers: every %v, want 100 s", got)
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0x12, 0x34, 0, 7}, false)
	f.Add([]byte{129, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3}, true)
	f.Add([]byte{0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, ipv6 bool) {
		e, ok := parseReply(b, ipv6)
		if ok && (len(b) < 8 || binary.BigEndian.Uint16(b[4:]) != e.id) {
			t.Errorf("%x was taken as %+v", b, e)
		}
	})
}

package ipsec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/netd/vici"
)

// manyPeers are n peers at 10.0.1.0 and up.
func manyPeers(n int) []Peer {
	peers := make([]Peer, n)
	for i := range peers {
		a, b := byte(i>>8), byte(i)
		peers[i] = Peer{Node: fmt.Sprint("peer-", i), Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 245 + a, b, 0}), 24),
			Address: netip.AddrFrom4([4]byte{10, 0, 1 + a, b})}
	}
	return peers
}

// fakeCharon answers each command by what answer says: whether it is carried
// out, and whether there is an answer at all.
func fakeCharon(t *testing.T, answer func(command string, request *vici.Section) (done, answers bool)) *vici.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		var size [4]byte
		for {
			if _, err := io.ReadFull(theirs, size[:]); err != nil {
				return
			}
			packet := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(theirs, packet); err != nil {
				return
			}
			name := int(packet[1]) // after the type; then the message
			request, err := vici.Parse(packet[2+name:])
			if err != nil {
				t.Error(err)
				return
			}
			done, answers := answer(string(packet[2:2+name]), request)
			reply := "\x01\x03\x07success\x00\x03yes"
			if !done {
				reply = "\x01\x03\x07success\x00\x02no\x03\x06errmsg\x00\x03bad"
			}
			if answers {
				_, _ = theirs.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...))
			}
		}
	}()
	return vici.New(ours)
}

func TestConnectionThatIsRefusedCostsOnlyItself(t *testing.T) {
	want := testWant(manyPeers(2*loadAtOnce + 5)...)
	connections := want.Connections()
	bad := connections[loadAtOnce+3].Name
	loaded := map[string]bool{}
	requests := 0
	charon := fakeCharon(t, func(_ string, request *vici.Section) (done, answers bool) {
		requests++
		for name := range request.Sections() { // charon takes them in their order
			if name == bad {
				return false, true
			}
			loaded[name] = true
		}
		return true, true
	})
	err := (&talk{ctx: t.Context(), charon: charon}).apply(xfrm{}, want, Steps{Load: connections})
	if err == nil || !strings.Contains(err.Error(), bad) || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("error is %v", err)
	}
	if len(loaded) != len(connections)-1 || requests != 3+loadAtOnce {
		t.Errorf("%d of %d connections are loaded after %d requests", len(loaded), len(connections), requests)
	}
}

func TestCharonThatFallsSilentEndsTheConversation(t *testing.T) {
	want := testWant(manyPeers(10 * loadAtOnce)...)
	ctx, cancel := context.WithCancel(t.Context())
	requests := 0
	charon := fakeCharon(t, func(string, *vici.Section) (done, answers bool) {
		if requests++; requests == 3 {
			cancel() // as when the time is over
		}
		return true, requests < 3
	})
	err := (&talk{ctx: ctx, charon: charon}).apply(xfrm{}, want, Steps{Load: want.Connections(), Unload: []string{"a", "b"}})
	if !errors.Is(err, context.Canceled) || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("error is %v", err)
	}
	if requests != 3 {
		t.Errorf("%d requests were made", requests)
	}
}

func TestManyErrorsAreToldInAFewLines(t *testing.T) {
	var errs []error
	for i := range 5000 {
		errs = append(errs, fmt.Errorf("number %d", i))
	}
	if got := summary(errs).Error(); got != "number 0\nnumber 1\nnumber 2\nand 4997 more" {
		t.Errorf("%q", got)
	}
	if summary(nil) != nil {
		t.Error("an error of no errors")
	}
}

func TestCharonTakesManyConnectionsInAMessage(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1)
	h.want.Local = netip.MustParseAddr("10.127.0.1") // the peers begin
	h.settle()
	h.want.Peers = manyPeers(3*loadAtOnce + 1)
	h.settle()
	var names []string
	for _, c := range h.want.Connections() {
		names = append(names, c.Name)
	}
	if have := h.have().Connections; !sameSet(have, names) {
		t.Errorf("charon has %d connections of %d", len(have), len(names))
	}
	h.want.Peers = h.want.Peers[:2]
	h.settle()
	if have := h.have().Connections; !sameSet(have, names[:2]) {
		t.Errorf("charon has %v", have)
	}
	if got := strings.Count(h.Run(t, "ip", "xfrm", "policy"), "reqid 11"); got != 6 {
		t.Errorf("the kernel has %d policies, want 6", got)
	}
}

func sameSet(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// What others did meanwhile is seen by the news of it, or by the next look.
func TestOnePeerMoreIsNoReasonToLookAtAll(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1)
	h.want.Local = netip.MustParseAddr("10.127.0.1")
	h.settle()
	peers := manyPeers(20)
	h.want.Peers = peers[:10]
	h.settle()
	policies := func() int { return strings.Count(h.Run(t, "ip", "xfrm", "policy"), "reqid 11") }
	flush := func() { h.Run(t, "ip", "xfrm", "policy", "flush") }
	for _, step := range []struct {
		name   string
		before func()
		peers  []Peer
		want   int
	}{
		{"a peer joins", flush, peers[:11], 3},
		{"nothing joins", func() {}, peers[:11], 33},
		{"a peer joins, and there is news", func() { flush(); h.e.notify() }, peers[:12], 36},
		{"a peer leaves", flush, peers[:11], 33},
		{"one joins in the place of another", flush, append(slices.Clone(peers[:10]), peers[15]), 33},
	} {
		step.before()
		h.want.Peers = step.peers
		if _, err := h.ensure(); err != nil {
			t.Fatal(err)
		}
		if got := policies(); got != step.want {
			t.Errorf("%s: %d policies, want %d", step.name, got, step.want)
		}
		if have := h.have().Connections; len(have) != len(step.peers) {
			t.Errorf("%s: %d connections", step.name, len(have))
		}
	}
}

func TestOwnPoliciesAreNoNews(t *testing.T) {
	h := newHost(t, nstest.NewLAN(t, "lan"), 1)
	err := h.Do(func() error {
		kernel, err := h.e.xfrm()
		if err != nil {
			return err
		}
		listener, err := kernel.listen()
		if err != nil {
			return err
		}
		policies := testWant(two, three).Policies()
		if err := errors.Join(kernel.set(policies), kernel.drop(policies)); err != nil {
			return err
		}
		other, err := openXFRM()
		if err != nil {
			return err
		}
		defer other.conn.Close()
		if err := other.set(policies[:1]); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		heard := 0
		err = hear(ctx, listener, func() { heard++; cancel() })
		if heard != 1 {
			t.Errorf("heard %d times", heard)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

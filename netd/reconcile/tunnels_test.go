package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
)

// fakeWireGuard are devices in memory.
type fakeWireGuard struct {
	devices map[string]wireguard.Device
	keys    []wireguard.Private
}

func (w *fakeWireGuard) Learn(keys ...wireguard.Private) { w.keys = keys }

func (w *fakeWireGuard) Share(psk wireguard.Private) wanted.Key { return wireguard.Sum(psk) }

func (w *fakeWireGuard) Device(name string) (wireguard.Device, error) {
	d, found := w.devices[name]
	if !found {
		return d, os.ErrNotExist
	}
	return d, nil
}

func wgConfig(store string) Config {
	return Config{
		Node: profiles.NetdNode{Name: "self", Subnets: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}},
		Network: profiles.Network{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
			Backend: profiles.Backend{Type: profiles.BackendWireGuard}, Store: profiles.Store{Type: store}},
	}
}

// wgLoop is a loop with one peer that has made its first pass.
func wgLoop(t *testing.T, store string) (*Loop, *fakeKernel) {
	t.Helper()
	k := newFakeKernel()
	l := New(k, &fakeFirewall{}, nil, wgConfig(store), slog.New(slog.DiscardHandler), time.Now, func(Snapshot) {})
	l.UseWireGuard(&fakeWireGuard{}, t.TempDir())
	l.leases = map[string]lease.Lease{"two": {Node: "two", UUID: "two", Backend: lease.WireGuard, IPv4: lease.Half{
		Subnet: netip.MustParsePrefix("10.244.2.0/24"), Address: netip.MustParseAddr("10.0.0.2"),
		PublicKey: wireguard.New().Public().String()}}}
	l.pass()
	if l.state.ReadError != nil {
		t.Fatal(l.state.ReadError)
	}
	return l, k
}

func TestStaticStoreCannotReplaceAKey(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreStatic)
	answer := make(chan error, 1)
	l.askedToRotate(answer)
	if err := <-answer; !errors.Is(err, errStatic) || l.tunnels.state.Asked {
		t.Errorf("the answer is %v", err)
	}
}

func TestOtherBackendsHaveNoKeyToReplace(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	l.config.Network.Backend.Type = profiles.BackendVXLAN
	answer := make(chan error, 1)
	l.askedToRotate(answer)
	if err := <-answer; !errors.Is(err, errNoWireGuard) {
		t.Errorf("the answer is %v", err)
	}
}

func TestAskedRotationMakesALaneAndTellsOfItOnceItIsThere(t *testing.T) {
	l, k := wgLoop(t, profiles.StoreEtcd)
	<-l.asks
	answer := make(chan error, 1)
	l.askedToRotate(answer)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	k.fail = map[string]error{"device flannel-wg.1": errors.New("no")}
	l.pass()
	select {
	case own := <-l.asks:
		t.Errorf("the lease tells of a lane that is not there: %+v", own.Lane)
	default:
	}
	k.fail = nil
	l.todo = todo{want: true, read: true}
	l.pass()
	own := <-l.asks
	if own.Lane.Step != "lane" || own.Lane.Port != 51822 || own.Lane.PublicKey == own.IPv4.PublicKey {
		t.Errorf("the lease says %+v", own.Lane)
	}
	names := ""
	for _, link := range l.state.Wanted.Links {
		names += link.Name + " "
	}
	if names != "flannel-wg flannel-wg.1 " {
		t.Errorf("devices %s", names)
	}
}

// A rotation that has begun ends where the store is exchanged for a list of keys.
func TestKeyStaysWhenTheStoreBecomesStatic(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	answer := make(chan error, 1)
	l.askedToRotate(answer)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	l.pass()
	if l.tunnels.state.Lane.IsZero() || !l.tunnels.state.Rotating() {
		t.Fatalf("no rotation has begun: %+v", l.tunnels.state)
	}
	main := l.tunnels.state.Main
	l.configure(wgConfig(profiles.StoreStatic))
	now := time.Now()
	l.now = func() time.Time { return now }
	for range 100 {
		now = now.Add(time.Second)
		l.todo.want = true
		l.pass()
	}
	if s := l.tunnels.state; s.Main != main || s.Rotating() || !s.Lane.IsZero() || len(l.state.Wanted.Rules) > 0 {
		t.Errorf("state is %+v, the key the same %t", s, s.Main == main)
	}
}

func TestSnapshotHoldsNoPrivateKey(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	l.tunnels.state.Asked = true
	l.todo = todo{want: true}
	l.pass()
	text, err := json.Marshal(l.state)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []wireguard.Private{l.tunnels.state.Main, l.tunnels.state.Next, l.tunnels.state.Lane} {
		if key.IsZero() || strings.Contains(string(text), key.Reveal()) {
			t.Error("a private key is in the snapshot, or there is none")
		}
	}
}

func TestDamagedKeyIsNotReplaced(t *testing.T) {
	l, k := wgLoop(t, profiles.StoreEtcd)
	file := filepath.Join(l.tunnels.dir, wireguard.KeyFile)
	if err := os.WriteFile(file, []byte("damaged\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.configure(l.config)
	k.applied = nil
	l.pass()
	if l.state.ReadError == nil || !strings.Contains(l.state.ReadError.Error(), file) || len(k.applied) > 0 {
		t.Errorf("error %v, %d changes", l.state.ReadError, len(k.applied))
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "damaged\n" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

// A clone, or somebody who can write to the store.
func TestLaneOfAnotherIsNoLane(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	l.tunnels.state.Lane = wireguard.New()
	theirs := wireguard.New().Public().String()
	for i, lane := range []string{theirs, theirs, l.tunnels.state.Lane.Public().String()} {
		name := string(rune('a' + i))
		l.leases[name] = lease.Lease{Node: name, UUID: name, Backend: lease.WireGuard,
			Lane: lease.Lane{PublicKey: lane, Port: 51822, Step: "lane"}, IPv4: lease.Half{
				Subnet:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(10 + i), 0}), 24),
				Address:   netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + i)}),
				PublicKey: wireguard.New().Public().String()}}
	}
	l.todo = todo{want: true}
	l.pass()
	lanes := 0
	for _, p := range l.tunnels.peers {
		if p.Lane != (wanted.Key{}) {
			lanes++
		}
	}
	if lanes != 1 || len(l.tunnels.peers) != 4 {
		t.Errorf("%d lanes of %d peers, want 1 of 4", lanes, len(l.tunnels.peers))
	}
}

// What was kept on disk may be older than the keys in the kernel.
func TestKeptLeasesDoNotTouchTunnelsThatStand(t *testing.T) {
	for _, stand := range []bool{true, false} {
		l := New(newFakeKernel(), &fakeFirewall{}, nil, wgConfig(profiles.StoreEtcd), slog.New(slog.DiscardHandler), time.Now, func(Snapshot) {})
		edge := &fakeWireGuard{}
		if stand {
			edge.devices = map[string]wireguard.Device{"flannel-wg": {Name: "flannel-wg", Peers: make([]wireguard.Peer, 1)}}
		}
		l.UseWireGuard(edge, t.TempDir())
		l.take(update{Update: store.Update{Full: true, Kept: true, Set: map[string]lease.Lease{"two": {Node: "two"}}}})
		if used := l.leases != nil; used == stand {
			t.Errorf("tunnels stand: %v, leases used: %v", stand, used)
		}
		l.take(update{Update: store.Update{Full: true, Set: map[string]lease.Lease{"two": {Node: "two"}}}})
		if l.leases == nil {
			t.Error("the store's own word is not used")
		}
	}
}

// After a boot in the middle of a rotation the leases that were kept may not
// speak of the peer's lane, which the node uses and the peer counts on.
func TestKeptLeasesDoNotTakeARotationBack(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	<-l.asks
	peer, lane := l.leases["two"], wireguard.New().Public()
	mid := l.tunnels.state
	mid.Lane, mid.Via, mid.With = wireguard.New(), []wanted.Key{lane}, []wanted.Key{lane}
	if err := l.tunnels.keep(mid); err != nil {
		t.Fatal(err)
	}
	hear := func(one lease.Lease, kept bool) {
		if !kept {
			one.Lane = lease.Lane{PublicKey: lane.String(), Port: 51822, PortV6: 51823, Step: "key"}
		} else {
			l.leases = nil
		}
		l.take(update{Update: store.Update{Full: true, Kept: kept, Set: map[string]lease.Lease{"two": one}}})
		l.todo.read = true
		l.pass()
		if l.state.ReadError != nil {
			t.Fatal(l.state.ReadError)
		}
	}
	hear(peer, true)
	if !l.tunnels.state.Equal(mid) || l.tunnels.applied {
		t.Errorf("kept leases made the state\n%+v\nof\n%+v (applied: %v)", l.tunnels.state, mid, l.tunnels.applied)
	}
	select {
	case own := <-l.asks:
		t.Errorf("the lease was written: %+v", own.Lane)
	default:
	}
	hear(peer, false)
	through := ""
	for _, r := range l.state.Wanted.Routes {
		if r.Dst == peer.IPv4.Subnet {
			through = r.Link
		}
	}
	if through != "flannel-wg.1" {
		t.Errorf("packets for the peer leave by %q; routes %v", through, l.state.Wanted.Routes)
	}
}

// A reboot in the middle of a rotation: the node that gets its subnets from the
// store has kept leases, and no kernel state until it has asked.
func TestNodeWithALaneAsksForItsSubnets(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	<-l.asks
	l.config.Node.Subnets = nil
	l.tunnels.state.Lane, l.tunnels.applied, l.kept = wireguard.New(), false, true
	l.todo = todo{underlay: true}
	l.step()
	select {
	case <-l.asks:
	default:
		t.Errorf("no lease is asked for: %+v", l.state.ReadError)
	}
}

func TestRotateEndsWithItsContext(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Rotate(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// A configuration that is given again has the shared key read again.
func TestSharedKeyIsReadAgainWithTheConfiguration(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreStatic)
	config := l.config
	config.Network.Backend.PSKFile = filepath.Join(t.TempDir(), "psk")
	var had wanted.Key
	for i, key := range []string{"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", "MjIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="} {
		if err := os.WriteFile(config.Network.Backend.PSKFile, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		l.configure(config)
		l.pass()
		peers := l.state.Wanted.Peers
		if l.state.ReadError != nil || len(peers) == 0 || peers[0].PSK == (wanted.Key{}) || peers[0].PSK == had {
			t.Fatalf("key %d: peers %v, error %v", i, peers, l.state.ReadError)
		}
		had = peers[0].PSK
	}
}

// A disk that takes no new key costs the new key, not the network: peers come
// and go meanwhile, and the key is replaced when it can be written.
func TestFullDiskHoldsUpTheKeyAndNothingElse(t *testing.T) {
	l, _ := wgLoop(t, profiles.StoreEtcd)
	dir, inTheWay := l.tunnels.dir, filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.tunnels.dir = filepath.Join(inTheWay, "state")
	l.config.Network.Backend.RotateEvery = time.Nanosecond
	key := l.tunnels.state.Main
	l.take(update{Update: store.Update{Set: map[string]lease.Lease{"three": {Node: "three", UUID: "three", Backend: lease.WireGuard, IPv4: lease.Half{
		Subnet: netip.MustParsePrefix("10.244.3.0/24"), Address: netip.MustParseAddr("10.0.0.3"),
		PublicKey: wireguard.New().Public().String()}}}}})
	l.todo.want = true
	l.pass()
	if len(l.state.Wanted.Peers) != 2 || l.state.ReadError != nil {
		t.Errorf("peers %v, error %v", l.state.Wanted.Peers, l.state.ReadError)
	}
	if !l.tunnels.state.Lane.IsZero() || l.tunnels.state.Main != key || l.own.Lane.PublicKey != "" {
		t.Errorf("a key that is not on disk is in use: %+v", l.own)
	}
	l.tunnels.next = time.Time{}
	l.look()
	if !strings.Contains(l.state.Rotation, "not a directory") || !l.todo.want {
		t.Errorf("told: %q; to be tried again: %t", l.state.Rotation, l.todo.want)
	}
	l.tunnels.dir = dir
	l.pass()
	if l.tunnels.state.Lane.IsZero() {
		t.Error("the rotation has not begun")
	}
	l.tunnels.next = time.Time{}
	if l.look(); strings.Contains(l.state.Rotation, "not a directory") {
		t.Errorf("told: %q", l.state.Rotation)
	}
}

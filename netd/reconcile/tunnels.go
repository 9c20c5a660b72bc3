package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"weft/netd/lease"
	"weft/netd/rotate"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
)

// A WireGuard is what the loop needs of the kernel's WireGuard devices, beside
// what is in the state it reads and applies.
type WireGuard interface {
	Learn(keys ...wireguard.Private)
	Share(psk wireguard.Private) wanted.Key
	// Device reads a device; its peers are sorted by key.
	Device(name string) (wireguard.Device, error)
}

var _ WireGuard = (*wireguard.Conn)(nil)

// tunnels is what backend wireguard keeps beside the plan.
type tunnels struct {
	edge WireGuard
	dir  string

	state   rotate.State
	loaded  bool
	psk     wanted.Key
	roaming wireguard.Roaming
	devices []wireguard.Device
	unkept  error         // why what was decided last is not on disk
	applied bool          // the kernel is as the state says
	peers   []rotate.Peer // of the last decision
	next    time.Time     // when to look at the kernel again
	asks    chan chan error
}

// UseWireGuard gives the loop what backend wireguard needs: the kernel's
// devices, and the directory where the key is kept. It is called before Run.
func (l *Loop) UseWireGuard(edge WireGuard, dir string) { l.tunnels.edge, l.tunnels.dir = edge, dir }

// Rotate begins to replace the node's WireGuard key. The error says why this
// network cannot; that the key has been replaced is told by the status.
func (l *Loop) Rotate(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case l.tunnels.asks <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Why a key cannot be replaced.
var (
	errNoWireGuard = errors.New("the network's backend is not wireguard, so there is no key to replace")
	errStatic      = errors.New("a static store cannot tell the peers of a new key: replace wireguard.key by hand, and publicKey in the list of every peer; or use store etcd or kubernetes")
	errNotReady    = errors.New("the WireGuard key is not known yet; try again")
)

// askedToRotate takes a request for a new key.
func (l *Loop) askedToRotate(answer chan<- error) {
	t := &l.tunnels
	switch {
	case !l.tunnelled():
		answer <- errNoWireGuard
	case !l.canRotate():
		answer <- errStatic
	case !t.loaded:
		answer <- errNotReady
	default:
		next := t.state
		next.Asked = true
		err := t.keep(next)
		answer <- err
		l.todo.want = l.todo.want || err == nil
	}
}

// tunnelled reports whether the backend is wireguard.
func (l *Loop) tunnelled() bool { return l.config.Network.Backend.Canonical() == lease.WireGuard }

// canRotate reports whether the store can tell peers of a new key.
func (l *Loop) canRotate() bool {
	return l.config.Network.Store.Type != profiles.StoreStatic && l.config.Network.Store.Type != ""
}

// identify gives a node its WireGuard key.
func (l *Loop) identify(node *wanted.Node) error {
	t := &l.tunnels
	if !l.tunnelled() {
		return nil
	}
	t.roaming.Pods = l.config.Network.Pods
	if t.edge == nil {
		return errors.New("backend wireguard: nothing here configures WireGuard devices")
	}
	if !t.loaded {
		state, note, err := rotate.Load(t.dir, l.now(), wireguard.New)
		if err != nil {
			return fmt.Errorf("backend wireguard: %w", err)
		}
		if note != "" {
			l.log.Warn("wireguard", "note", note)
		}
		var psk wireguard.Private
		if file := l.config.Network.Backend.PSKFile; file != "" {
			if psk, err = wireguard.ReadShared(file); err != nil {
				return fmt.Errorf("backend wireguard: %w", err)
			}
		}
		t.state, t.psk, t.loaded = state, t.edge.Share(psk), true
		t.learn()
		l.readDevices()
		t.roaming.Look(l.now(), t.devices, nil)
		l.log.Info("wireguard", "public key", state.Main.Public(), "made", state.Made, "step", state.Step)
		if l.config.Network.Backend.RotateEvery > 0 && !l.canRotate() {
			l.log.Warn("wireguard: the key is not replaced", "reason", errStatic)
		}
	}
	node.PublicKey, node.PSK, node.Lane = t.state.Main.Public(), t.psk, l.node.Lane
	return nil
}

// learn tells the edge the private keys.
func (t *tunnels) learn() { t.edge.Learn(t.state.Main, t.state.Next, t.state.Lane) }

// keep saves a state and makes it the one in use.
func (t *tunnels) keep(next rotate.State) error {
	if err := t.state.Save(t.dir, next); err != nil {
		return fmt.Errorf("backend wireguard: %w", err)
	}
	if !next.Equal(t.state) {
		t.state = next
		t.learn()
	}
	return nil
}

// settledEndpoints is what is wanted with the endpoints that the kernel knows
// better.
func (l *Loop) settledEndpoints(have, want wanted.State) wanted.State {
	if l.tunnelled() {
		want.Peers = l.tunnels.roaming.Settle(have.Peers, want.Peers)
	}
	return want
}

// tunnelsApplied notes whether the kernel took what was wanted.
func (l *Loop) tunnelsApplied(want wanted.State, whole bool) {
	if !l.tunnelled() {
		return
	}
	l.tunnels.applied = whole && !l.kept
	if whole {
		l.tunnels.roaming.Applied(want.Peers)
	}
}

// untilLook is how long until the kernel's handshakes are to be looked at. It
// tells of none, so this has no event to wait for.
func (l *Loop) untilLook() time.Duration {
	if !l.tunnelled() || l.leases == nil {
		return wireguard.LookEvery
	}
	return max(0, l.tunnels.next.Sub(l.now()))
}

// look reads the handshakes when it is time.
func (l *Loop) look() {
	t := &l.tunnels
	if !l.tunnelled() || !t.loaded || l.now().Before(t.next) {
		return
	}
	t.next = l.now().Add(wireguard.LookEvery)
	l.readDevices()
	before := t.roaming.Learned()
	set := t.roaming.Look(l.now(), t.devices, wireguard.Others(slices.Collect(maps.Values(l.leases))))
	l.state.Tunnels = wireguard.Peers(l.now(), t.devices)
	l.state.Rotation = t.waiting()
	l.todo.tell = true
	if set {
		// Endpoints are compared with what the kernel has now.
		l.todo.read = true
	}
	switch {
	case !t.state.Lane.IsZero(), l.due(), t.unkept != nil:
		l.todo.want = true
	case !slices.Equal(before, t.roaming.Learned()):
		l.todo.want = true
	}
}

// readDevices reads what the kernel knows of peers.
func (l *Loop) readDevices() {
	t := &l.tunnels
	t.devices = nil
	for _, ipv6 := range []bool{false, true} {
		for _, name := range wanted.DeviceNames(l.config.Network.Backend, ipv6) {
			if slices.ContainsFunc(t.devices, func(d wireguard.Device) bool { return d.Name == name }) {
				continue
			}
			switch device, err := t.edge.Device(name); {
			case err == nil:
				t.devices = append(t.devices, device)
			case !errors.Is(err, os.ErrNotExist):
				l.log.Warn("wireguard", "error", err)
			}
		}
	}
}

// tunnelsStand reports whether the kernel has WireGuard devices with peers from
// before netd started. Leases that were kept on disk must not touch those:
// since then peers may have replaced their keys, or be replacing them now, and
// going back to an earlier key loses packets. The devices go on as they are
// until the store has answered.
func (l *Loop) tunnelsStand() bool {
	if !l.tunnelled() || l.tunnels.edge == nil {
		return false
	}
	for _, ipv6 := range []bool{false, true} {
		for _, name := range wanted.DeviceNames(l.config.Network.Backend, ipv6) {
			if d, err := l.tunnels.edge.Device(name); err == nil && len(d.Peers) > 0 {
				return true
			}
		}
	}
	return false
}

// due reports whether the key is old enough to be replaced.
func (l *Loop) due() bool {
	every := l.config.Network.Backend.RotateEvery
	return every > 0 && l.canRotate() && l.now().Sub(l.tunnels.state.Made) >= every
}

// sign adds to the own lease what only WireGuard knows. It reports false when
// the kernel is not yet as the lease would say.
func (l *Loop) sign(own *lease.Lease) bool {
	t := &l.tunnels
	if !l.tunnelled() {
		return true
	}
	// A node that has no subnets yet cannot program anything before it has
	// asked for them.
	asking := l.config.opens() && l.granted == (granted{})
	if l.leases != nil && !asking && !t.applied && !t.state.Lane.IsZero() {
		return false
	}
	own.Lane = t.state.LaneOf(wanted.LanePorts(l.config.Network.Backend))
	own.Learned = t.roaming.Learned()
	return t.loaded
}

// slowJoin reports whether a lease that is new cannot just be added, because
// it bears on keys that are being replaced.
func (l *Loop) slowJoin(one lease.Lease) bool {
	return l.tunnelled() && (!l.tunnels.state.Lane.IsZero() || !one.Lane.IsZero())
}

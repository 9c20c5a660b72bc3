package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"weft/netd/diff"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// WireGuard is what configures WireGuard devices, in the network namespace of
// the thread that first uses it; it ends with c.
func (c *Conn) WireGuard() *wireguard.Conn { return &c.wg }

// setWireGuard gives a WireGuard device its key and port.
func (c *Conn) setWireGuard(l wanted.Link) error {
	if err := c.wg.SetDevice(l); err != nil {
		return err
	}
	return loosePath(l.Name)
}

// loosePath lets a device take packets whose answers would leave by another
// one (rp_filter 2, RFC 3704 section 2.4): while a key is replaced, packets of
// a peer may come by either of two devices. The larger of this setting and the
// one for all devices counts, and distributions have 1 there.
func loosePath(device string) error {
	err := os.WriteFile("/proc/sys/net/ipv4/conf/"+device+"/rp_filter", []byte("2"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without IPv4
	}
	return err
}

// applyPeers makes changes of WireGuard peers, those of one device together;
// when that fails one by one, so that one bad peer costs only itself.
func (c *Conn) applyPeers(changes []diff.Change) []Failure {
	var failures []Failure
	for len(changes) > 0 {
		device, n := changes[0].Object.(wanted.WGPeer).Link, 1
		for n < len(changes) && changes[n].Object.(wanted.WGPeer).Link == device {
			n++
		}
		if err := c.wg.SetPeers(device, changes[:n]); err != nil {
			failures = append(failures, c.applyEach(device, changes[:n])...)
		}
		changes = changes[n:]
	}
	return failures
}

func (c *Conn) applyEach(device string, changes []diff.Change) []Failure {
	var failures []Failure
	for _, change := range changes {
		err := c.wg.SetPeers(device, []diff.Change{change})
		gone := change.Verb == diff.Remove && errors.Is(err, os.ErrNotExist) // with its device
		if err != nil && !gone {
			failures = append(failures, Failure{change, err})
		}
	}
	return failures
}

// readWireGuard completes what was read of WireGuard devices: their keys,
// ports and peers.
func (c *Conn) readWireGuard(state *wanted.State) error {
	for i := range state.Links {
		l := &state.Links[i]
		if l.Kind != wanted.KindWireGuard {
			continue
		}
		device, err := c.wg.Device(l.Name)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone this moment
		}
		if err != nil {
			return err
		}
		l.WireGuard = device.WireGuard
		for _, p := range device.Peers {
			state.Peers = append(state.Peers, p.WGPeer)
		}
	}
	return nil
}

// completeWireGuard adds the key and port to news of a device, which rtnetlink
// knows nothing of. One that has just gone has none.
func (c *Conn) completeWireGuard(l *wanted.Link) error {
	if l.Kind != wanted.KindWireGuard {
		return nil
	}
	device, err := c.wg.Device(l.Name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("news of a device: %w", err)
	}
	l.WireGuard = device.WireGuard
	return nil
}

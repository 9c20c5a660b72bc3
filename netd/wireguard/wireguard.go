// Package wireguard keeps the WireGuard devices of a node: their keys, what
// the kernel knows of their peers, and where peers are reached.
//
// Which devices and peers there should be is the business of package wanted,
// when keys are replaced that of package rotate. This package makes and guards
// the keys, speaks to the kernel (genetlink, through wgctrl), and decides
// about endpoints, which the kernel may know better than the store.
package wireguard

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"weft/netd/diff"
	"weft/netd/wanted"
)

// A Device is a WireGuard device as the kernel holds it.
type Device struct {
	Name string
	wanted.WireGuard
	Peers []Peer
}

// A Peer is a peer of a device as the kernel holds it.
type Peer struct {
	wanted.WGPeer
	// Handshake is when the last one was; the zero time if there was none
	// since the peer was made. The kernel keeps it to the nanosecond.
	Handshake time.Time
	// Received and Sent are bytes, handshakes included.
	Received, Sent int64
}

// A Conn configures the WireGuard devices of the network namespace of the
// thread that first uses it. Its methods may be called from several
// goroutines.
type Conn struct {
	mu     sync.Mutex
	client *wgctrl.Client
	works  bool // the client knows the kernel's WireGuard
	// keys are the private keys by their public ones, psk the pre-shared key
	// by its sum.
	keys map[wanted.Key]Private
	psks map[wanted.Key]Private
	// allowed are the allowed addresses of peers as last read or set, by
	// device, so that one peer is changed without reading all.
	allowed map[string]map[wanted.Key][]netip.Prefix
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return nil
	}
	return c.client.Close()
}

// Learn makes private keys known, so that devices can be given them. Keys that
// were known before are forgotten.
func (c *Conn) Learn(keys ...Private) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = make(map[wanted.Key]Private, len(keys))
	for _, key := range keys {
		if !key.IsZero() {
			c.keys[key.Public()] = key
		}
	}
}

// Share makes the pre-shared key known and returns the sum that stands for it;
// zero for none.
func (c *Conn) Share(psk Private) wanted.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.psks = map[wanted.Key]Private{}
	sum := Sum(psk)
	if sum != (wanted.Key{}) {
		c.psks[sum] = psk
	}
	return sum
}

// Sum stands for a pre-shared key where it must not be seen; zero for none.
func Sum(psk Private) wanted.Key {
	if psk.IsZero() {
		return wanted.Key{}
	}
	return sha256.Sum256(psk.key[:])
}

// kernel is a client that can configure devices. One that was made before the
// kernel's module was there cannot, so it is made anew (mu is held).
func (c *Conn) kernel() (*wgctrl.Client, error) {
	if c.client == nil {
		client, err := wgctrl.New()
		if err != nil {
			return nil, fmt.Errorf("open WireGuard's netlink: %w", err)
		}
		c.client = client
	}
	return c.client, nil
}

// retry runs f, and once more with a new client where the old one may know of
// no WireGuard because the kernel's module was not there yet.
func (c *Conn) retry(f func(*wgctrl.Client) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	client, err := c.kernel()
	if err != nil {
		return err
	}
	err = f(client)
	if c.works = c.works || err == nil; c.works || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	client.Close()
	c.client = nil
	if client, err = c.kernel(); err != nil {
		return err
	}
	return f(client)
}

// Device reads a device; the error is [os.ErrNotExist] if there is none.
func (c *Conn) Device(name string) (Device, error) {
	var d Device
	if err := c.retry(func(client *wgctrl.Client) error {
		read, err := client.Device(name)
		if err == nil {
			d = decode(name, read)
			c.note(d)
		}
		return err
	}); err != nil {
		return Device{}, fmt.Errorf("read WireGuard device %s: %w", name, err)
	}
	return d, nil
}

// note remembers the allowed addresses of a device that was read (mu is held).
func (c *Conn) note(d Device) map[wanted.Key][]netip.Prefix {
	if c.allowed == nil {
		c.allowed = map[string]map[wanted.Key][]netip.Prefix{}
	}
	have := make(map[wanted.Key][]netip.Prefix, len(d.Peers))
	for _, p := range d.Peers {
		have[p.PublicKey] = p.AllowedIPs
	}
	c.allowed[d.Name] = have
	return have
}

// decode is a device as wgctrl read it.
func decode(name string, read *wgtypes.Device) Device {
	d := Device{Name: name, WireGuard: wanted.WireGuard{PublicKey: wanted.Key(read.PublicKey), Port: read.ListenPort}}
	if read.PrivateKey == (wgtypes.Key{}) {
		d.PublicKey = wanted.Key{} // wgctrl computes one for no key, too
	}
	for _, p := range read.Peers {
		peer := Peer{WGPeer: wanted.WGPeer{Link: name, PublicKey: wanted.Key(p.PublicKey),
			Keepalive: int(p.PersistentKeepaliveInterval / time.Second)},
			Received: p.ReceiveBytes, Sent: p.TransmitBytes}
		if !p.LastHandshakeTime.IsZero() && p.LastHandshakeTime.Unix() > 0 {
			peer.Handshake = p.LastHandshakeTime
		}
		if p.PresharedKey != (wgtypes.Key{}) {
			peer.PSK = sha256.Sum256(p.PresharedKey[:])
		}
		if p.Endpoint != nil {
			endpoint := p.Endpoint.AddrPort()
			peer.Endpoint = netip.AddrPortFrom(endpoint.Addr().Unmap(), endpoint.Port())
		}
		for _, n := range p.AllowedIPs {
			if prefix, ok := prefixOf(n); ok {
				peer.AllowedIPs = append(peer.AllowedIPs, prefix)
			}
		}
		slices.SortFunc(peer.AllowedIPs, comparePrefixes)
		d.Peers = append(d.Peers, peer)
	}
	slices.SortFunc(d.Peers, func(a, b Peer) int { return wanted.CompareWGPeers(a.WGPeer, b.WGPeer) })
	return d
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func prefixOf(n net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	if !ok {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Unmap(), ones), true
}

// SetDevice gives a device its key and port.
func (c *Conn) SetDevice(l wanted.Link) error {
	return c.retry(func(client *wgctrl.Client) error {
		key, known := c.keys[l.WireGuard.PublicKey]
		if !known {
			return fmt.Errorf("the private key of %s is not known", l.WireGuard.PublicKey)
		}
		delete(c.allowed, l.Name) // it may be new
		private, port := key.key, l.WireGuard.Port
		err := client.ConfigureDevice(l.Name, wgtypes.Config{PrivateKey: &private, ListenPort: &port})
		if err != nil {
			return fmt.Errorf("configure WireGuard device %s (UDP port %d): %w", l.Name, port, err)
		}
		return nil
	})
}

// SetPeers makes changes of peers of one device, in one go. An allowed address
// that another peer had moves over in one step (allowedips.c); one that stays
// is not touched, as replacing them all would leave a moment without any. A
// peer without an endpoint keeps the one it has.
func (c *Conn) SetPeers(device string, changes []diff.Change) error {
	return c.retry(func(client *wgctrl.Client) error {
		have := c.allowed[device]
		if have == nil {
			read, err := client.Device(device)
			if err != nil {
				return fmt.Errorf("read WireGuard device %s: %w", device, err)
			}
			have = c.note(decode(device, read))
		}
		config := wgtypes.Config{Peers: make([]wgtypes.PeerConfig, 0, len(changes))}
		for _, change := range changes {
			p := change.Object.(wanted.WGPeer)
			one := wgtypes.PeerConfig{PublicKey: wgtypes.Key(p.PublicKey)}
			if change.Verb == diff.Remove {
				one.Remove, one.UpdateOnly = true, true
				config.Peers = append(config.Peers, one)
				continue
			}
			var psk wgtypes.Key
			if p.PSK != (wanted.Key{}) {
				shared, known := c.psks[p.PSK]
				if !known {
					return errors.New("the pre-shared key is not known")
				}
				psk = shared.key
			}
			keepalive := time.Duration(p.Keepalive) * time.Second
			one.PresharedKey, one.PersistentKeepaliveInterval = &psk, &keepalive
			one.ReplaceAllowedIPs = slices.ContainsFunc(have[p.PublicKey], func(old netip.Prefix) bool {
				return !slices.Contains(p.AllowedIPs, old)
			})
			if p.Endpoint.IsValid() {
				one.Endpoint = net.UDPAddrFromAddrPort(p.Endpoint)
			}
			for _, allowed := range p.AllowedIPs {
				one.AllowedIPs = append(one.AllowedIPs, net.IPNet{
					IP: allowed.Addr().AsSlice(), Mask: net.CIDRMask(allowed.Bits(), allowed.Addr().BitLen())})
			}
			config.Peers = append(config.Peers, one)
		}
		if err := client.ConfigureDevice(device, config); err != nil {
			delete(c.allowed, device)
			return fmt.Errorf("configure the peers of WireGuard device %s: %w", device, err)
		}
		for _, change := range changes {
			p := change.Object.(wanted.WGPeer)
			if change.Verb == diff.Remove {
				delete(have, p.PublicKey)
			} else {
				have[p.PublicKey] = p.AllowedIPs
			}
		}
		return nil
	})
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"

	"weft/profiles"
)

// modeOf is the mode of the node's WireGuard.
func modeOf() (string, error) {
	data, err := os.ReadFile(profiles.NetdFile)
	if err != nil {
		return "", err
	}
	conf, _, problems := profiles.ReadNetd(profiles.NetdFile, data)
	if err := problems.Errors(); err != nil {
		return "", err
	}
	return conf.Network.WithDefaults().Backend.Mode, nil
}

// oneDevice checks that there is one device, whose peers all have the
// pre-shared key that is on the node, and an allowed address of each family.
func oneDevice(*node) error {
	s, err := eventually("all pods answer", answering)
	if err != nil {
		return err
	}
	if len(s.Kernel.Links) != 1 {
		return fmt.Errorf("%d devices", len(s.Kernel.Links))
	}
	return secured()
}

// secured checks the peers of the device by another way than netd's.
func secured() error {
	data, err := os.ReadFile(profiles.DefaultPSKFile)
	if err != nil {
		return err
	}
	client, err := wgctrl.New()
	if err != nil {
		return err
	}
	defer client.Close()
	device, err := client.Device("flannel-wg")
	if err != nil {
		return err
	}
	for _, p := range device.Peers {
		say("peer %s at %s, allowed %v, handshake %s", p.PublicKey, p.Endpoint, p.AllowedIPs, p.LastHandshakeTime.Format("15:04:05"))
		if p.PresharedKey.String() != strings.TrimSpace(string(data)) {
			return fmt.Errorf("peer %s does not have the pre-shared key", p.PublicKey)
		}
		if len(p.AllowedIPs) != 2 || p.LastHandshakeTime.IsZero() {
			return fmt.Errorf("peer %s has addresses %v", p.PublicKey, p.AllowedIPs)
		}
	}
	if len(device.Peers) != 2 {
		return fmt.Errorf("%d peers", len(device.Peers))
	}
	return nil
}

// rotateAndLearn replaces the key, and then waits until the third node has moved
// and an own lease can tell of it.
func rotateAndLearn(n *node) error {
	if err := rotate(n); err != nil {
		return err
	}
	if err := secured(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", fmt.Sprint(":", donePort))
	if err != nil {
		return err
	}
	defer listener.Close()
	if _, err := eventually("the kernel knows where node-3 has moved to", func(s status) error {
		for _, p := range s.Kernel.WireguardPeers {
			if p.Endpoint == "[fd77::43]:51820" {
				return nil
			}
		}
		return errors.New("not yet")
	}); err != nil {
		return err
	}
	_, err = eventually("a lease tells of it", func(status) error { return told("[fd77::43]:51820") })
	return err
}

// told reports whether a lease that netd has kept tells of an endpoint.
func told(endpoint string) error {
	data, err := os.ReadFile(filepath.Join(profiles.DefaultNetdPaths.State, "leases"))
	if err != nil {
		return err
	}
	if !strings.Contains(string(data), endpoint) {
		return errors.New("no lease of another node does")
	}
	return nil
}

// donePort is open on a node that has replaced its key.
const donePort = 7777

// pingAndMove pings while the others rotate, and moves when they have done.
func pingAndMove(n *node) error {
	if err := pingThrough(n); err != nil {
		return err
	}
	if _, err := eventually("the others have replaced their keys", func(s status) error {
		for _, p := range s.Peers {
			// A node has the first address of its subnet itself.
			conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(p.Subnet.Addr(), donePort).String(), time.Second)
			if err != nil {
				return err
			}
			conn.Close()
		}
		return nil
	}); err != nil {
		return err
	}
	if err := readdress("fd77::3/64", "fd77::43/64"); err != nil {
		return err
	}
	say("moved")
	_, err := eventually("all pods answer after the move", answering)
	return err
}

package main

import (
	"time"

	"weft/netd/reconcile"
	"weft/netd/wanted"
	"weft/netd/wireguard"
	"weft/profiles"
)

// tunnels is what WireGuard knows of peers now; what the reconciler saw last
// may be some time ago. When a device cannot be read it stays at that.
func (d *daemon) tunnels(s *reconcile.Snapshot) []wireguard.Health {
	if s.Config.Network.Backend.Canonical() != profiles.BackendWireGuard {
		return nil
	}
	var devices []wireguard.Device
	for _, l := range s.Wanted.Links {
		if l.Kind != wanted.KindWireGuard {
			continue
		}
		device, err := d.kernel.WireGuard().Device(l.Name)
		if err != nil {
			return s.Tunnels
		}
		devices = append(devices, device)
	}
	return wireguard.Peers(time.Now(), devices)
}

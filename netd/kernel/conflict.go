package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"weft/netd/wanted"
)

// A Conflict is a device that somebody else has made and that keeps netd's
// from being made: the kernel takes one VXLAN device for a VNI and port
// (drivers/net/vxlan/vxlan_core.c, vxlan_vni_in_use).
type Conflict struct {
	// Device is the other's name, VNI and Port are what both want.
	Device    string
	VNI, Port int
	// Err is the kernel's answer.
	Err error
}

// Error names the other device.
func (c *Conflict) Error() string {
	return fmt.Sprintf("device %s has VNI %d and port %d already: %v", c.Device, c.VNI, c.Port, c.Err)
}

// Unwrap is the kernel's answer.
func (c *Conflict) Unwrap() error { return c.Err }

// conflict finds out which device is in the way when a link could not be made;
// err is what the kernel said of it.
func (c *Conn) conflict(link wanted.Link, err error) error {
	if link.Kind != wanted.KindVXLAN || !errors.Is(err, unix.EEXIST) {
		return err
	}
	other := ""
	failed := again(func() error {
		other = ""
		return c.dump(unix.RTM_GETLINK, unix.AF_UNSPEC, func(b []byte) {
			l, ok := decodeLink(b)
			if ok && l.Kind == wanted.KindVXLAN && l.Name != link.Name && l.VXLAN.VNI == link.VXLAN.VNI && l.VXLAN.Port == link.VXLAN.Port {
				other = l.Name
			}
		})
	})
	if failed != nil || other == "" {
		return err
	}
	return &Conflict{Device: other, VNI: link.VXLAN.VNI, Port: link.VXLAN.Port, Err: err}
}

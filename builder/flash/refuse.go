package flash

import (
	"errors"
	"fmt"
	"strings"
)

// The reasons for which a device is refused.
var (
	ErrSystemDisk = errors.New("the running system is on it")
	ErrMounted    = errors.New("it is mounted")
	ErrInUse      = errors.New("it is in use")
	ErrTooSmall   = errors.New("it is too small")
	ErrReadOnly   = errors.New("it is read-only")
	ErrFixed      = errors.New("it is not removable")
	ErrChanged    = errors.New("it is not the device it was")
	ErrNoMedium   = errors.New("there is no card in it")
	ErrSectors    = errors.New("its sectors are not 512 bytes")
	ErrNotBegun   = errors.New("nothing was begun that could be resumed")
	ErrUnknown    = errors.New("there is no such device")
	ErrNotMeant   = errors.New("it is not the device that was named")
	ErrPulled     = errors.New("it was pulled out")
	ErrNoData     = errors.New("its data partition cannot be kept")
	ErrDiffers    = errors.New("what is on it is not what was written")
)

// A Refusal says why a device is not written to, or not any more.
type Refusal struct {
	// Device is its name, Reason one of the errors above.
	Device string
	Reason error
	// Detail is what was found, Fix the way out.
	Detail, Fix string
}

// Error names the device, the reason and the way out.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("device %s: %v", r.Device, r.Reason)
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	if r.Fix != "" {
		text += "\nfix: " + r.Fix
	}
	return text
}

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// Check returns why an image of size bytes must not be written to a device, as
// a [Refusal], or nil. allowed are the proofs of devices that may be written
// to although they are not removable.
func Check(d Device, size int64, allowed []string) error {
	say := func(reason error, detail, fix string) error { return &Refusal{d.Name, reason, detail, fix} }
	switch {
	case d.System != "":
		return say(ErrSystemDisk, d.System, "choose another device; see: weft flash")
	case d.Size == 0:
		return say(ErrNoMedium, "", "put a card in, and see: weft flash")
	case len(d.Mounts) > 0:
		return say(ErrMounted, strings.Join(d.Mounts, ", "), "unmount it: "+unmountCommand(d))
	case len(d.Users) > 0:
		return say(ErrInUse, strings.Join(d.Users, ", "), "stop what uses it")
	case d.ReadOnly:
		return say(ErrReadOnly, "", "move the lock on the side of the card, or take another card")
	case !d.Removable && !contains(allowed, d.Proof()):
		return say(ErrFixed, describe(d), "if you mean it: --allow-fixed "+d.Proof())
	case d.SectorSize != sectorSize:
		return say(ErrSectors, fmt.Sprintf("they are %d", d.SectorSize), "the image counts in sectors of 512 bytes; format the device to those (nvme format), or take another")
	case d.Size < size:
		return say(ErrTooSmall, fmt.Sprintf("it has %d bytes, the image %d", d.Size, size), "take a larger one")
	}
	return nil
}

// Find returns the device that a person calls by its name or path.
func Find(all []Device, name string) (Device, error) {
	var names []string
	for _, d := range all {
		if d.Name == name || d.Path == name {
			return d, nil
		}
		for _, p := range d.Partitions {
			if name == p.Name || name == "/dev/"+p.Name {
				return Device{}, &Refusal{name, ErrUnknown, "it is a partition of " + d.Name, "name the whole device: " + d.Name}
			}
		}
		if d.Removable && d.Size > 0 {
			names = append(names, d.Name)
		}
	}
	fix := "put a card in, and see: weft flash"
	if len(names) > 0 {
		fix = "there are " + strings.Join(names, ", ") + "; see: weft flash"
	}
	return Device{}, &Refusal{name, ErrUnknown, "", fix}
}

// describe is a device in a few words.
func describe(d Device) string {
	return strings.Join(strings.Fields(d.Vendor+" "+d.Model+" "+d.Transport), " ")
}

func contains(list []string, text string) bool {
	for _, t := range list {
		if t == text {
			return true
		}
	}
	return false
}

package service

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"weft/profiles"
)

// capabilitySet turns names into a bit set.
func capabilitySet(names []string) (uint64, error) {
	var set uint64
	for _, name := range names {
		n := slices.Index(profiles.Capabilities, name)
		if n < 0 {
			return 0, fmt.Errorf("there is no capability %q; see capabilities(7)", name)
		}
		set |= 1 << n
	}
	return set, nil
}

// bounding returns what makes the calling thread, and what it starts, unable
// ever to have another capability than those named; nil when all are left.
func bounding(names []string) (func() error, error) {
	if names == nil {
		return nil, nil
	}
	set, err := capabilitySet(names)
	if err != nil {
		return nil, err
	}
	return func() error {
		// One beyond the last that the kernel knows is refused with EINVAL,
		// which is how prctl(2) says that there are no more.
		for n := range uintptr(64) {
			if set>>n&1 == 1 {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); err == unix.EINVAL {
				break
			} else if err != nil {
				return fmt.Errorf("drop capability %d: %w", n, err)
			}
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		low, high := uint32(set), uint32(set>>32)
		data := [2]unix.CapUserData{
			{Effective: low, Permitted: low, Inheritable: low},
			{Effective: high, Permitted: high, Inheritable: high},
		}
		if err := unix.Capset(&header, &data[0]); err != nil {
			return fmt.Errorf("set capabilities: %w", err)
		}
		return nil
	}, nil
}

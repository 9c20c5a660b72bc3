package sysctl

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"weft/init/keep"
)

// maxValue bounds a setting that is read back, in bytes.
const maxValue = 64 << 10

// A Finding is one setting as it is wanted and as it is.
type Finding struct {
	// Name is the setting's dotted name.
	Name string `json:"name"`
	// Want is the wanted value, Have the present one; empty when it cannot be
	// read.
	Want string `json:"want"`
	Have string `json:"have"`
	// OK says that both mean the same.
	OK bool `json:"ok"`
	// Waits says that the network device it belongs to is not there: it is
	// made when the device appears.
	Waits bool `json:"waits,omitempty"`
	// Why is what stops working, or why the value cannot be read; empty when
	// all is well.
	Why string `json:"why,omitempty"`
}

// Check compares what is wanted with what is there. read returns the present
// value of a setting; present tells whether a network device is there. Of
// several entries for one setting the last counts, as it does when they are
// written.
func Check(wanted []Setting, read func(name string) (string, error), present func(device string) bool) []Finding {
	var all []Finding
	for i, s := range wanted {
		if slices.ContainsFunc(wanted[i+1:], func(later Setting) bool { return later.Name == s.Name }) {
			continue
		}
		all = append(all, check(s, read, present))
	}
	return all
}

// check looks at one setting.
func check(s Setting, read func(string) (string, error), present func(string) bool) Finding {
	f := Finding{Name: s.Name, Want: s.Value}
	if device, ok := Device(s.Name); ok && !present(device) {
		f.Waits, f.OK = true, true
		f.Why = "device " + device + " is not there"
		return f
	}
	have, err := read(s.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Why = "this kernel has no such setting, or the module that brings it is missing: " + s.Reason
	case errors.Is(err, fs.ErrPermission):
		// A few settings can be written but not read, such as
		// net.ipv4.route.flush.
		f.OK, f.Why = true, "it cannot be read back"
	case err != nil:
		f.Why = err.Error()
	default:
		f.Have = strings.TrimSpace(have)
		if f.OK = Same(s.Value, have); !f.OK {
			f.Why = "something has changed it: " + s.Reason
		}
	}
	return f
}

// Same reports whether two values mean the same to the kernel: it prints
// lists of numbers with tabs and takes them with any white space
// (kernel/sysctl.c, proc_do_intvec).
func Same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// Wrong lists the findings that are not as they should be.
func Wrong(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return f.OK })
}

// Read returns a setting's present value, below root.
func Read(root, name string) (string, error) {
	path, err := Path(root, name)
	if err != nil {
		return "", err
	}
	data, err := keep.Read(path, maxValue)
	return strings.TrimSpace(string(data)), err
}

// Device returns the network device that a setting belongs to, as in
// net.ipv4.conf.eth0.rp_filter or net.ipv6.neigh.eth0/100.gc_stale_time; ok is
// false for those of no device in particular, all and default among them.
func Device(name string) (device string, ok bool) {
	parts := strings.Split(name, ".")
	// net, family, conf or neigh, device, key.
	if len(parts) != 5 || parts[0] != "net" || parts[1] != "ipv4" && parts[1] != "ipv6" && parts[1] != "mpls" ||
		parts[2] != "conf" && parts[2] != "neigh" || parts[3] == "all" || parts[3] == "default" || parts[3] == "" {
		return "", false
	}
	return strings.ReplaceAll(parts[3], "/", "."), true
}

// For lists the settings that belong to one network device, in order: what
// must be made again when it appears anew, for a device that goes takes its
// settings with it.
func For(list []Setting, device string) []Setting {
	var own []Setting
	for _, s := range list {
		if d, ok := Device(s.Name); ok && d == device {
			own = append(own, s)
		}
	}
	return own
}

// Possible leaves out the settings of devices that are not there: they are
// made when the device appears.
func Possible(list []Setting, present func(device string) bool) []Setting {
	return slices.DeleteFunc(slices.Clone(list), func(s Setting) bool {
		device, ok := Device(s.Name)
		return ok && !present(device)
	})
}

// IsAcceptRA reports whether a setting decides whether IPv6 routers may
// configure a device.
func IsAcceptRA(name string) bool {
	return strings.HasPrefix(name, "net.ipv6.conf.") && strings.HasSuffix(name, ".accept_ra")
}

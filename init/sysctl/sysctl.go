// Package sysctl orders and writes kernel settings.
//
// The order is the point: IPv6 router advertisements are settled before
// forwarding starts. It reads no configuration; see package profiles for what
// a profile asks for.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weft/profiles"
)

// A Setting is one kernel setting to write.
type Setting struct {
	// Name is the dotted name; a slash stands for a dot inside a part, as in
	// net.ipv4.conf.eth0/100.forwarding (sysctl(8)).
	Name string
	// Value is what is written.
	Value string
	// Reason says what stops working without it.
	Reason string
}

// An Uplink is a network device that leads out of the node.
type Uplink struct {
	// Name is the device's name.
	Name string
	// Advertisements says whether IPv6 routers may configure it.
	Advertisements bool
}

// Names of the settings that decide who may configure IPv6.
const (
	defaultAcceptRA = "net.ipv6.conf.default.accept_ra"
	reasonUplinkRA  = "without it the kernel drops the default route learned from IPv6 routers once forwarding is on"
	reasonNoRA      = "without it a router advertisement is accepted where the profile wants none"
	reasonDefaultRA = "without it a pod can announce itself as the node's default router"
)

// AcceptRA is the setting that an uplink needs before forwarding starts, and
// again whenever the device appears anew.
//
// The value 2 means "accept although forwarding": the kernel drops every
// route learned from advertisements the moment forwarding starts on a device
// that does not say 2 (net/ipv6/addrconf.c, addrconf_fixup_forwarding), and
// the next advertisement may be half an hour away. all.accept_ra has no
// effect on Linux, so each device is told itself.
func AcceptRA(u Uplink) Setting {
	// A dot in a device's name (a VLAN's) is written as a slash.
	name := "net.ipv6.conf." + strings.ReplaceAll(u.Name, ".", "/") + ".accept_ra"
	if u.Advertisements {
		return Setting{name, "2", reasonUplinkRA}
	}
	return Setting{name, "0", reasonNoRA}
}

// Plan orders everything that is set at boot: advertisements on the uplinks
// that are there, then none for devices to come, then what the contract asks,
// in its order. A setting that the contract names itself keeps the contract's
// value; if it concerns advertisements it still comes before the rest.
// Without ipv6 the settings of IPv6 are left out.
func Plan(needs []profiles.SysctlNeed, uplinks []Uplink, ipv6 bool) []Setting {
	first := []Setting{}
	if ipv6 {
		for _, u := range uplinks {
			first = append(first, AcceptRA(u))
		}
		first = append(first, Setting{defaultAcceptRA, "0", reasonDefaultRA})
	}
	var rest []Setting
	for _, need := range needs {
		s := Setting{need.Name, need.Value, need.Reason}
		if !ipv6 && strings.HasPrefix(s.Name, "net.ipv6.") {
			continue
		}
		if !strings.HasPrefix(s.Name, "net.ipv6.conf.") || !strings.HasSuffix(s.Name, ".accept_ra") {
			rest = append(rest, s)
			continue
		}
		if i := index(first, s.Name); i >= 0 {
			first[i] = s
		} else {
			first = append(first, s)
		}
	}
	return append(first, rest...)
}

// index finds a setting by name.
func index(list []Setting, name string) int {
	for i := range list {
		if list[i].Name == name {
			return i
		}
	}
	return -1
}

// ErrName says that a name is no sysctl name.
var ErrName = errors.New("not a kernel setting's name")

// Path is where a setting lives below root, the mount point of proc's sys.
func Path(root, name string) (string, error) {
	swap := strings.NewReplacer(".", "/", "/", ".")
	path := swap.Replace(name)
	if name == "" || !filepath.IsLocal(path) || filepath.Clean(path) != path {
		return "", fmt.Errorf("%q: %w", name, ErrName)
	}
	return filepath.Join(root, path), nil
}

// Write makes one setting. An error says what the setting is for.
func Write(root string, s Setting) error {
	path, err := Path(root, s.Name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s=%s: this kernel has no such setting, or the module that brings it is missing: %s", s.Name, s.Value, s.Reason)
	}
	if err == nil {
		_, err = f.WriteString(s.Value + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("%s=%s: refused by the kernel: %w: %s", s.Name, s.Value, err, s.Reason)
	}
	return nil
}

// WriteAll makes all settings in order and returns what went wrong. One that
// fails does not keep the others from being made.
func WriteAll(root string, list []Setting) []error {
	var errs []error
	for _, s := range list {
		if err := Write(root, s); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

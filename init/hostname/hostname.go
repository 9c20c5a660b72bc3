// Package hostname chooses the node's name from ranked sources and writes the
// files that carry it.
//
// Two machines with one name replace each other in a cluster, so a name that
// many machines share is no name. What is a sound name is decided by
// profiles.SoundHostname; this package does not keep the name, see package
// identity.
package hostname

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Source says where a name came from.
type Source string

// The sources, best first.
const (
	NodeFile Source = "node file"
	Kept     Source = "kept"
	Metadata Source = "metadata"
	DHCP     Source = "dhcp"
	Serial   Source = "serial number"
	MAC      Source = "mac address"
	UUID     Source = "uuid"
)

// A Candidate is a name and where it came from. An empty name means that the
// source had none.
type Candidate struct {
	Name   string
	Source Source
}

// A Refusal is a candidate that is no sound name, and why.
type Refusal struct {
	Candidate
	Err error
}

// Choose returns the first sound name, in the order given, and the names that
// were refused before it. It reports whether there was one.
func Choose(list []Candidate, sound func(string) error) (Candidate, []Refusal, bool) {
	var refused []Refusal
	for _, c := range list {
		if c.Name == "" {
			continue
		}
		if err := sound(c.Name); err != nil {
			refused = append(refused, Refusal{c, err})
			continue
		}
		return c, refused, true
	}
	return Candidate{}, refused, false
}

// maxLabel is the length of a DNS label (RFC 1035 section 2.3.4).
const maxLabel = 63

// FromSerial makes a name of a machine's serial number; empty when the number
// is none that tells machines apart.
func FromSerial(prefix, serial string) string {
	if junkSerial(serial) {
		return ""
	}
	return label(prefix + "-" + serial)
}

// FromMAC makes a name of a hardware address; empty without one.
func FromMAC(prefix string, mac net.HardwareAddr) string {
	if len(mac) != 6 || mac[0]&1 != 0 || !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 }) {
		return "" // none, a group address, or all zero
	}
	return label(fmt.Sprintf("%s-%x", prefix, []byte(mac)))
}

// FromUUID makes a name of the node's own identity, for a machine that has
// nothing else of its own.
func FromUUID(prefix, uuid string) string {
	head, _, _ := strings.Cut(uuid, "-")
	return label(prefix + "-" + head)
}

// label turns text into an RFC 1123 label: small letters, digits and single
// inner dashes. The end of a long text is kept, since serial numbers differ
// there.
func label(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	if len(s) > maxLabel {
		s = s[len(s)-maxLabel:]
	}
	return strings.Trim(s, "-")
}

// junk are serial numbers that vendors and hypervisors leave in place of one.
var junk = []string{
	"none", "n/a", "na", "null", "unknown", "invalid", "empty", "default",
	"not specified", "not available", "not applicable", "not present",
	"system serial number", "serial number", "chassis serial number",
	"default string", "o.e.m.", "oem", "to be filled by o.e.m.",
	"to be filled by oem", "0123456789", "123456789", "1234567890",
	"1234567", "12345678", "sernum0", "ssn12345678901234567",
}

// junkSerial reports whether a serial number tells nothing: a placeholder, or
// one character over and over.
func junkSerial(serial string) bool {
	s := strings.ToLower(strings.TrimSpace(serial))
	if len(s) < 4 || slices.Contains(junk, s) {
		return true
	}
	return strings.Trim(s, s[:1]) == "" || strings.Trim(s, "0-:. x") == ""
}

// ReadSerial returns the machine's serial number: the device tree's on
// boards, the firmware's on PCs. root is the root directory. Empty without.
func ReadSerial(root string) string {
	for _, file := range []string{
		"proc/device-tree/serial-number",
		"sys/class/dmi/id/product_serial",
		"sys/class/dmi/id/board_serial",
	} {
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil || len(data) > 256 {
			continue
		}
		// Device tree strings end in a zero byte.
		if s := strings.Trim(string(data), " \t\r\n\x00"); !junkSerial(s) {
			return s
		}
	}
	return ""
}

// ReadMachine returns what tells this machine from all others: the UUID of a
// PC's firmware or hypervisor, or else a sound serial number. Empty without.
func ReadMachine(root string) string {
	data, err := os.ReadFile(filepath.Join(root, "sys/class/dmi/id/product_uuid"))
	if err == nil {
		// Firmware that was given none says zeros, or all ones (SMBIOS 3.6,
		// 7.2.1), or what its vendor's example says.
		s := strings.ToLower(strings.TrimSpace(string(data)))
		digits := strings.ReplaceAll(s, "-", "")
		if len(s) == 36 && strings.Trim(digits, "0123456789abcdef") == "" && strings.Trim(digits, digits[:1]) != "" &&
			s != "03000200-0400-0500-0006-000700080009" {
			return s
		}
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, ReadSerial(root))
}

// Hosts is the text of /etc/hosts for a node called name. A dotted name is
// followed by its first label, as Debian does.
func Hosts(name string) string {
	own := name
	if short, _, dotted := strings.Cut(name, "."); dotted {
		own += " " + short
	}
	return "127.0.0.1 localhost\n" +
		"::1 localhost ip6-localhost ip6-loopback\n" +
		"127.0.1.1 " + own + "\n"
}

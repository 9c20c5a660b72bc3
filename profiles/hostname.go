package profiles

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"weft/document"
)

// MaxHostname is the longest hostname, in bytes. Linux takes 64
// (HOST_NAME_MAX, include/uapi/linux/utsname.h); Kubernetes puts the name into
// a label, which takes 63.
const MaxHostname = 63

// noNames are names that distributions and tools give to every machine; two
// nodes that keep one of them cannot be told apart.
var noNames = []string{"(none)", "raspberrypi", "debian", "ubuntu", "guest"}

// SoundHostname returns nil when a node may keep name for good, or why not:
// it must be a lower-case RFC 1123 label or dotted name, no address, and none
// of the names that every fresh machine has. DHCP and metadata services may
// send upper case; a caller that wants to accept it lowers the name first.
func SoundHostname(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > MaxHostname:
		return fmt.Errorf("the name is longer than %d characters", MaxHostname)
	case strings.HasPrefix(name, "localhost"):
		return fmt.Errorf("%s is every machine's own name", name)
	}
	for _, n := range noNames {
		if name == n {
			return fmt.Errorf("%s is what every fresh machine is called", name)
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("%s is an address", name)
	}
	for label := range strings.SplitSeq(name, ".") {
		if err := soundLabel(label); err != nil {
			return err
		}
	}
	return nil
}

// soundLabel checks one label of a hostname, RFC 1123, section 2.1.
func soundLabel(label string) error {
	if label == "" {
		return errors.New("two dots in a row, or one at an end")
	}
	for _, c := range []byte(label) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		case 'A' <= c && c <= 'Z':
			return errors.New("upper-case letters are not allowed")
		case c == '_':
			return errors.New("an underscore is not allowed")
		default:
			return fmt.Errorf("only letters, digits and hyphens are allowed, not %q", c)
		}
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return errors.New("a hyphen may not begin or end a name")
	}
	return nil
}

// nameProblem reports an unsound hostname at path and proposes a sound one.
func nameProblem(d *document.Document, path, name string) document.Problems {
	err := SoundHostname(name)
	if err == nil {
		return nil
	}
	if name == "" {
		return document.Problems{d.Problem(path, path+" is missing").WithFix("give the node's hostname")}
	}
	p := d.Problem(path, fmt.Sprintf("%q is no sound hostname", name)).WithNote(err.Error())
	mended := strings.Trim(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "-.")
	if mended != name && SoundHostname(mended) == nil {
		return document.Problems{p.WithFix("write " + mended)}
	}
	return document.Problems{p.WithFix("use lower-case letters, digits and hyphens, such as node-1")}
}

package fat

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxName is the longest long name, in UTF-16 units [FAT 1.03: Long Directory
// Entries].
const maxName = 255

// A shortName is a name as it stands in a directory entry: 8 characters and 3
// of extension, padded with spaces [FAT 1.03: DIR_Name].
type shortName [11]byte

// String is the name as people write it: "CONFIG.TXT".
func (s shortName) String() string {
	base := strings.TrimRight(string(s[:8]), " ")
	ext := strings.TrimRight(string(s[8:]), " ")
	if ext == "" {
		return base
	}
	return base + "." + ext
}

// makeShort pads a name of at most 8 and 3 characters.
func makeShort(base, ext string) shortName {
	s := shortName{' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '}
	copy(s[:8], base)
	copy(s[8:], ext)
	return s
}

// checksum ties long entries to their short one [FAT 1.03: ChkSum].
func (s shortName) checksum() byte {
	var sum byte
	for _, c := range s {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// devices are names that Windows keeps for itself in every directory, with
// any extension [learn.microsoft.com: Naming Files, Paths, and Namespaces].
var devices = []string{
	"CON", "PRN", "AUX", "NUL",
	"COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
	"LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
}

// checkName refuses names that a long name cannot hold or that Windows would
// not open.
func checkName(name string) error {
	if name == "" {
		return errors.New("empty name")
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("name %q is not UTF-8", name)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == 0xffff || strings.ContainsRune(`"*/:<>?\|`, r) {
			return fmt.Errorf("name %q: %q is not allowed on FAT", name, r)
		}
	}
	if n := len(utf16.Encode([]rune(name))); n > maxName {
		return fmt.Errorf("name %.40q… has %d UTF-16 units; FAT takes %d", name, n, maxName)
	}
	if last := name[len(name)-1]; last == '.' || last == ' ' {
		return fmt.Errorf("name %q ends with %q, which Windows drops", name, last)
	}
	base, _, _ := strings.Cut(name, ".")
	if slices.Contains(devices, strings.ToUpper(strings.TrimRight(base, " "))) {
		return fmt.Errorf("name %q means a device on Windows", name)
	}
	return nil
}

// checkLabel refuses labels that do not fit the root directory or that other
// systems show wrongly.
func checkLabel(label string) error {
	if len(label) > len(shortName{}) {
		return fmt.Errorf("label %q has %d bytes; at most %d fit", label, len(label), len(shortName{}))
	}
	for _, c := range []byte(label) {
		if c != ' ' && !shortChar(c) {
			return fmt.Errorf("label %q: %q is not allowed; use upper-case letters, digits, spaces, - and _", label, c)
		}
	}
	if strings.TrimSpace(label) != label {
		return fmt.Errorf("label %q starts or ends with a space", label)
	}
	return nil
}

// shortChar reports whether c may stand in a short name. Bytes above 127 are
// left out, since their meaning depends on the reader's code page.
func shortChar(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c != 0 && strings.IndexByte("$%'-_@~`!(){}^#&", c) >= 0
}

// basis turns a long name into the parts of a short one, and reports whether
// that lost anything but the case of letters [FAT 1.03: The Basis-Name
// Generation Algorithm].
func basis(name string) (base, ext string, lossy bool) {
	trimmed := strings.TrimLeft(name, ". ")
	lossy = trimmed != name
	base, ext = trimmed, ""
	if dot := strings.LastIndexByte(trimmed, '.'); dot > 0 {
		base, ext = trimmed[:dot], trimmed[dot+1:]
	}
	part := func(s string, size int) string {
		var b []byte
		for _, r := range s {
			if r >= 'a' && r <= 'z' {
				r -= 'a' - 'A'
			}
			switch {
			case r == ' ' || r == '.':
				lossy = true
				continue
			case r < utf8.RuneSelf && shortChar(byte(r)):
				b = append(b, byte(r))
			default:
				lossy = true
				b = append(b, '_')
			}
		}
		if len(b) > size {
			lossy = true
			b = b[:size]
		}
		return string(b)
	}
	return part(base, 8), part(ext, 3), lossy
}

// fold is what two names are compared by: FAT keeps case and ignores it.
func fold(name string) string { return strings.ToUpper(name) }

// An aliaser gives the names of one directory their short names.
type aliaser struct {
	// names are all long and short names in use, folded.
	names map[string]bool
	// tails is the last number tried for each basis name.
	tails map[string]int
}

// newAliaser takes every name of the directory that exists already: a short
// name must not equal any of them, or opening one file could find the other.
func newAliaser(names []string) (*aliaser, error) {
	a := &aliaser{names: map[string]bool{}, tails: map[string]int{}}
	for _, n := range names {
		f := fold(n)
		if a.names[f] {
			return nil, fmt.Errorf("%q is there twice: FAT does not tell upper from lower case", n)
		}
		a.names[f] = true
	}
	return a, nil
}

// alias returns the short name for one of the directory's names, and whether
// a long name has to stand beside it.
func (a *aliaser) alias(name string) (short shortName, long bool) {
	base, ext, lossy := basis(name)
	if !lossy && base != "" {
		s := makeShort(base, ext)
		return s, s.String() != name
	}
	if base == "" {
		base = "_"
	}
	for n := a.tails[base+"."+ext] + 1; ; n++ {
		tail := "~" + strconv.Itoa(n)
		s := makeShort(base[:min(len(base), 8-len(tail))]+tail, ext)
		if a.names[s.String()] {
			continue
		}
		a.names[s.String()] = true
		a.tails[base+"."+ext] = n
		return s, true
	}
}

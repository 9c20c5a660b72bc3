package apt

import "strings"

// compareVersions orders two Debian versions as deb-version(7) describes:
// negative if a is older than b, zero if they are equal.
func compareVersions(a, b string) int {
	epochA, a := cutEpoch(a)
	epochB, b := cutEpoch(b)
	if c := compareNumbers(epochA, epochB); c != 0 {
		return c
	}
	upstreamA, revisionA := cutRevision(a)
	upstreamB, revisionB := cutRevision(b)
	if c := comparePart(upstreamA, upstreamB); c != 0 {
		return c
	}
	return comparePart(revisionA, revisionB)
}

// cutEpoch parts the number before the first colon from the rest.
func cutEpoch(v string) (epoch, rest string) {
	if i := strings.IndexByte(v, ':'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return "0", v
}

// cutRevision parts what follows the last hyphen from what is before it.
func cutRevision(v string) (upstream, revision string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

// comparePart compares by turns a run of other characters and a run of
// digits.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		i, j := 0, 0
		for i < len(a) && !isDigit(a[i]) || j < len(b) && !isDigit(b[j]) {
			var x, y int
			if i < len(a) {
				x = weight(a[i])
			}
			if j < len(b) {
				y = weight(b[j])
			}
			if x != y {
				return x - y
			}
			i, j = i+1, j+1
		}
		a, b = a[min(i, len(a)):], b[min(j, len(b)):]
		i, j = digits(a), digits(b)
		if c := compareNumbers(a[:i], b[:j]); c != 0 {
			return c
		}
		a, b = a[i:], b[j:]
	}
	return 0
}

// weight orders characters: the tilde before the end of the text, which like
// a digit is 0, then letters, then the rest.
func weight(c byte) int {
	switch {
	case c == '~':
		return -1
	case isDigit(c):
		return 0
	case 'a' <= c|0x20 && c|0x20 <= 'z':
		return int(c)
	}
	return int(c) + 256
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digits counts the digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// compareNumbers compares runs of digits of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

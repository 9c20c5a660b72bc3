package profiles

import (
	"fmt"
	"strconv"
	"strings"
)

// A Release is a version of Kubernetes, or of a kernel: three numbers.
type Release struct {
	// Major, Minor and Patch are the numbers.
	Major, Minor, Patch int
	// Suffix is what follows them, such as k3s1; it is not compared.
	Suffix string
}

// newest stands for the version of a profile that names none: every rule for
// newer versions holds, and none for older ones.
var newest = Release{Major: 1, Minor: 1 << 20}

// ParseRelease reads v1.33.1+k3s1, v1.33.1, 1.33 or, of a kernel, 6.12.43-arm64.
// An empty text is the newest release there is.
func ParseRelease(text string) (Release, error) {
	if text == "" {
		return newest, nil
	}
	numbers, suffix := text, ""
	if i := strings.IndexAny(text, "+-"); i >= 0 {
		numbers, suffix = text[:i], text[i+1:]
	}
	parts := strings.Split(strings.TrimPrefix(numbers, "v"), ".")
	if len(parts) < 2 || len(parts) > 3 {
		return newest, fmt.Errorf("%q is no version such as v1.33.1+k3s1", text)
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 || v > 9999 {
			return newest, fmt.Errorf("%q is no version such as v1.33.1+k3s1", text)
		}
		n[i] = v
	}
	return Release{n[0], n[1], n[2], suffix}, nil
}

// Newest tells whether r stands for a version that is not named.
func (r Release) Newest() bool { return r.Minor == newest.Minor }

// Before tells whether r is older than a version written as 1.27 or 1.23.15.
// A text that is no version is older than everything.
func (r Release) Before(version string) bool {
	v, err := ParseRelease(version)
	if err != nil {
		return false
	}
	if r.Major != v.Major {
		return r.Major < v.Major
	}
	if r.Minor != v.Minor {
		return r.Minor < v.Minor
	}
	return r.Patch < v.Patch
}

// BeforeLine tells whether r is older than all of some versions that each
// begin a fix in their own line of patches: a release of a line is compared
// with the version of that line, and one of a line without with the lowest
// and the highest line.
func (r Release) BeforeLine(versions ...string) bool {
	newer := false
	for _, text := range versions {
		v, err := ParseRelease(text)
		if err != nil {
			continue
		}
		if v.Major == r.Major && v.Minor == r.Minor {
			return r.Before(text)
		}
		newer = newer || !r.Before(text)
	}
	return !newer
}

// String writes the release as v1.33.1, or "newest".
func (r Release) String() string {
	if r.Newest() {
		return "newest"
	}
	text := fmt.Sprintf("v%d.%d.%d", r.Major, r.Minor, r.Patch)
	if r.Suffix != "" {
		text += "+" + r.Suffix
	}
	return text
}

// Release is the version of the profile's Kubernetes; the newest there is when
// the profile names none, or none that can be read.
func (k Kubernetes) Release() Release {
	r, err := ParseRelease(k.Version)
	if err != nil {
		return newest
	}
	return r
}

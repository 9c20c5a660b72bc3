package apt

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weft/builder/apt/fault"
	"weft/document"
)

// LockVersion is what the weft key of every lock file must say.
const LockVersion = "lock/v1"

// maxEpoch is the end of the year 9999, the last that most formats know.
const maxEpoch = 253402300799

// A Lock pins the packages of a build: with it, a build fetches exactly these
// files, on any mirror, or fails.
type Lock struct {
	// Weft names the kind and version of the file; always [LockVersion].
	Weft string `yaml:"weft"`
	// Epoch is the date of the archive the versions are from, in seconds
	// since 1970. It is the time of every file of an image.
	Epoch int64 `yaml:"epoch"`
	// Packages are sorted by name, suite and architecture.
	Packages []Entry `yaml:"packages"`
}

// An Entry is one package file.
type Entry struct {
	Name    string `yaml:"name"`
	Version string `yaml:"version"`
	// Arch is the architecture of the suite it was looked up for; a package
	// for all architectures has one entry for each.
	Arch      string `yaml:"arch"`
	Suite     string `yaml:"suite"`
	Component string `yaml:"component"`
	// Path is the file within a mirror, under pool/.
	Path string `yaml:"path"`
	// Size is the file's size in bytes.
	Size int64 `yaml:"size"`
	// SHA256 is the file's checksum in 64 hexadecimal digits.
	SHA256 string `yaml:"sha256"`
	// For lists what was asked for, if it was not this package by its name:
	// the kernel meta package that led here.
	For []string `yaml:"for,omitempty"`
}

// sum returns the checksum of a checked entry.
func (e *Entry) sum() (sum [32]byte) {
	hex.Decode(sum[:], []byte(e.SHA256))
	return sum
}

// ReadLock reads a lock file, which is called file in messages. What is wrong
// with it is returned as [document.Problems], all at once.
func ReadLock(file string, data []byte) (*Lock, error) {
	var l Lock
	doc, problems := document.Decode(file, data, &l)
	if doc.Parsed() {
		problems = append(problems, l.check(doc)...)
	}
	if err := problems.Errors(); err != nil {
		return nil, err
	}
	return &l, nil
}

// check looks at the values. Nothing in a lock is trusted but the checksums:
// it may come from a stranger.
func (l *Lock) check(doc *document.Document) document.Problems {
	const anew = "make the lock anew: weft lock --update"
	var found document.Problems
	report := func(path, message, fix string) {
		found = append(found, doc.Problem(path, message).WithFix(fix))
	}
	if l.Weft != LockVersion {
		report("weft", fmt.Sprintf("this weft reads %s", LockVersion), anew)
	}
	if l.Epoch <= 0 || l.Epoch > maxEpoch {
		report("epoch", "epoch must be seconds since 1970", anew)
	}
	seen := map[string]bool{}
	for i := range l.Packages {
		e := &l.Packages[i]
		at := func(key string) string { return fmt.Sprintf("packages[%d].%s", i, key) }
		for _, c := range []struct {
			key string
			err error
		}{
			{"name", match(packageName.MatchString, e.Name, "package name")},
			{"version", match(packageVersion.MatchString, e.Version, "version")},
			{"arch", match(packageName.MatchString, e.Arch, "architecture")},
			{"suite", match(packageName.MatchString, e.Suite, "suite")},
			{"component", match(packageName.MatchString, e.Component, "component")},
			{"path", checkPoolPath(e.Path)},
			{"sha256", checkSum(e.SHA256)},
		} {
			if c.err != nil {
				report(at(c.key), c.err.Error(), anew)
			}
		}
		if e.Size <= 0 || e.Size > maxDeb {
			report(at("size"), fmt.Sprintf("size must be between 1 and %d bytes", int64(maxDeb)), anew)
		}
		for _, name := range e.For {
			if err := match(packageName.MatchString, name, "package name"); err != nil {
				report(at("for"), err.Error(), anew)
			}
		}
		if key := e.Name + " " + e.Arch + " " + e.Suite; seen[key] {
			report(at("name"), "package "+e.Name+" of suite "+e.Suite+" for "+e.Arch+" is here twice", "keep one of them, or "+anew)
		} else {
			seen[key] = true
		}
	}
	return found
}

func match(ok func(string) bool, text, what string) error {
	if ok(text) {
		return nil
	}
	return fmt.Errorf("%q is no %s", text, what)
}

func checkSum(text string) error {
	_, err := parseSum(text)
	return err
}

// lockHeader tells a reader of the file what it is.
const lockHeader = `# The exact Debian packages of this build, written by weft. Keep this file
# beside the files it belongs to: with it, every build fetches the same bytes
# from any mirror. To take newer versions: weft lock --update
`

// Bytes returns the lock file. Equal locks give equal bytes, whatever the
// order of their entries.
func (l *Lock) Bytes() []byte {
	entries := slices.Clone(l.Packages)
	sortEntries(entries)
	var b strings.Builder
	b.WriteString(lockHeader)
	fmt.Fprintf(&b, "weft: %s\nepoch: %d\n", LockVersion, l.Epoch)
	if len(entries) == 0 {
		b.WriteString("packages: []\n")
		return []byte(b.String())
	}
	b.WriteString("packages:\n")
	for _, e := range entries {
		// Values that YAML could take for numbers are quoted; a checked entry
		// has no character that needs escaping.
		fmt.Fprintf(&b, "  - name: %s\n    version: %s\n    arch: %s\n    suite: %s\n    component: %s\n    path: %s\n    size: %d\n    sha256: %s\n",
			quote(e.Name), strconv.Quote(e.Version), quote(e.Arch), quote(e.Suite), quote(e.Component), quote(e.Path), e.Size, strconv.Quote(e.SHA256))
		if len(e.For) > 0 {
			names := slices.Sorted(slices.Values(e.For))
			for i := range names {
				names[i] = quote(names[i])
			}
			fmt.Fprintf(&b, "    for: [%s]\n", strings.Join(names, ", "))
		}
	}
	return []byte(b.String())
}

// quote quotes a text that does not begin with a letter, or that YAML 1.1
// takes for a truth value or nothing.
func quote(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' || slices.Contains([]string{"null", "true", "false", "yes", "no", "on", "off"}, s) {
		return strconv.Quote(s)
	}
	return s
}

func sortEntries(list []Entry) {
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Arch, b.Arch))
	})
}

// Select returns what the lock has for a request: the packages that hold the
// kernel, sorted by name, and the further packages in the order of the
// request. A package the lock does not have is a fault of kind NotLocked.
func (l *Lock) Select(r Request) (kernel, packages []Entry, err error) {
	if r := r.kernel(); r.Kernel != "" {
		for _, e := range l.Packages {
			if e.Arch == r.Arch && e.Suite == r.Suite && (e.Name == r.Kernel || slices.Contains(e.For, r.Kernel)) {
				kernel = append(kernel, e)
			}
		}
		if len(kernel) == 0 {
			return nil, nil, l.missing(r.Kernel, r)
		}
		sortEntries(kernel)
	}
	for _, name := range r.Packages {
		i := slices.IndexFunc(l.Packages, func(e Entry) bool {
			return e.Name == name && e.Arch == r.Arch && e.Suite == r.Suite
		})
		if i < 0 {
			return nil, nil, l.missing(name, r)
		}
		packages = append(packages, l.Packages[i])
	}
	return kernel, packages, nil
}

// missing is the fault of a package that the lock does not have.
func (l *Lock) missing(name string, r Request) error {
	reason := fmt.Sprintf("the lock does not have it for suite %s, architecture %s", r.Suite, r.Arch)
	for _, e := range l.Packages {
		if e.Name == name {
			reason += fmt.Sprintf("; it has it for suite %s, architecture %s", e.Suite, e.Arch)
			break
		}
	}
	return fault.New(fault.NotLocked, "package "+name, reason, "add it: weft lock --update")
}

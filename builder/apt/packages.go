package apt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/klauspost/compress/gzip"

	"weft/builder/apt/deb822"
	"weft/builder/apt/fault"
	"weft/builder/apt/xzblock"
	"weft/document"
)

const (
	// maxIndexFile and maxIndexText bound a Packages file, compressed and
	// not, in bytes; those of trixie main have 10 and 57 MB.
	maxIndexFile = 128 << 20
	maxIndexText = 512 << 20
	// maxDeb bounds a .deb file, in bytes; the largest in trixie has 1.6 GB,
	// the largest kernel 0.1 GB.
	maxDeb = 2 << 30
)

// A Package is one package as an index describes it.
type Package struct {
	Name, Version string
	// Arch is the package's own architecture: that asked for, or all.
	Arch      string
	Component string
	// Path is the file within the mirror, under pool/.
	Path string
	// Size is the file's size in bytes, SHA256 its checksum.
	Size   int64
	SHA256 [32]byte
	// InstalledSize is what it takes unpacked, in KiB; 0 if not said.
	InstalledSize int64
	// Depends are its Pre-Depends and Depends: all are needed, of each one
	// alternative.
	Depends []Dependency
	// Provides are further names it goes by.
	Provides []Relation
}

// A Dependency is a choice of packages, the preferred one first.
type Dependency []Relation

// A Relation names a package, and the versions of it that will do.
type Relation struct {
	Name string
	// Op is =, <<, <=, >= or >>, or empty when any version will do.
	Op, Version string
}

// An Index finds packages of one suite and architecture.
type Index struct {
	suite, arch string
	parts       []indexPart
}

// An indexPart is the index of one component in its reduced form.
type indexPart struct {
	component string
	text      []byte
}

// The fields a reduced index keeps, in this order. Package comes first: a
// lookup searches for it at the start of a stanza.
var keptFields = []string{"Package", "Version", "Architecture", "Installed-Size", "Pre-Depends", "Depends", "Provides", "Filename", "Size", "SHA256"}

// reducedIndex names the form of a reduced index; a change to keptFields or
// to the form needs a new name.
const reducedIndex = "packages-v2"

// reduce decompresses a Packages file and keeps what weft looks at. It begins
// with an empty line, so that every stanza follows two newlines.
func reduce(ctx context.Context, name string, src *os.File, size int64, scratch *os.File) ([]byte, error) {
	text, err := decompressIndex(ctx, name, src, size, scratch)
	if err != nil {
		return nil, err
	}
	// Without the descriptions about a third remains.
	out := append(make([]byte, 0, size*5/2), "\n\n"...)
	in := deb822.NewReader(text, false)
	for n := 0; in.Next(); n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, field := range keptFields {
			value := in.Get(field)
			if len(value) == 0 {
				continue
			}
			out = append(append(append(out, field...), ": "...), bytes.ReplaceAll(value, []byte("\n"), []byte(" "))...)
			out = append(out, '\n')
		}
		out = append(out, '\n')
	}
	if err := in.Err(); err != nil {
		return nil, &fault.Error{Kind: fault.Malformed, File: name, Reason: "it is no index of packages", Err: err, Fix: "use another mirror"}
	}
	return out, nil
}

// decompressIndex returns the text of a Packages file.
func decompressIndex(ctx context.Context, name string, src *os.File, size int64, scratch *os.File) (io.Reader, error) {
	bad := func(err error) error {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			// The fault is of this machine's disk, not of what the mirror sent.
			return fmt.Errorf("decompress %s: %w", path.Base(name), err)
		}
		return &fault.Error{Kind: fault.Malformed, File: name, Reason: "it cannot be decompressed", Err: err, Fix: "use another mirror"}
	}
	if path.Ext(name) == ".gz" {
		r, err := gzip.NewReader(src)
		if err != nil {
			return nil, bad(err)
		}
		return &capped{r: r, left: maxIndexText}, nil
	}
	n, err := xzblock.Decode(ctx, scratch, src, size, xzblock.Options{Limit: maxIndexText})
	if err != nil {
		return nil, bad(err)
	}
	return io.NewSectionReader(scratch, 0, n), nil
}

// capped is a reader that fails, rather than ends, at its limit.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, fmt.Errorf("more than %d bytes of text", int64(maxIndexText))
	}
	return n, err
}

// Package returns the newest version of the package called name. A name that
// the suite does not have is a fault of kind UnknownPackage.
func (x *Index) Package(name string) (Package, error) {
	var best Package
	for _, part := range x.parts {
		for _, stanza := range part.stanzas(name) {
			p, err := parsePackage(stanza, part.component)
			if err != nil {
				return Package{}, &fault.Error{Kind: fault.Malformed, Reason: "package " + name + " in the index of suite " + x.suite,
					Err: err, Fix: "use another mirror"}
			}
			if best.Name == "" || compareVersions(p.Version, best.Version) > 0 {
				best = p
			}
		}
	}
	if best.Name == "" {
		return Package{}, x.unknown(name)
	}
	return best, nil
}

// stanzas returns the stanzas of the package called name.
func (p *indexPart) stanzas(name string) [][]byte {
	if !packageName.MatchString(name) {
		return nil
	}
	var list [][]byte
	text, key := p.text, []byte("\n\nPackage: "+name+"\n")
	for {
		i := bytes.Index(text, key)
		if i < 0 {
			return list
		}
		text = text[i+2:]
		end := bytes.Index(text, []byte("\n\n"))
		if end < 0 {
			return list
		}
		list = append(list, text[:end+1])
		text = text[end:]
	}
}

// unknown is the fault of a name that the suite does not have.
func (x *Index) unknown(name string) error {
	components := make([]string, len(x.parts))
	var names []string
	for i, part := range x.parts {
		components[i] = part.component
		for at := 0; ; {
			next := bytes.Index(part.text[at:], []byte("\nPackage: "))
			if next < 0 {
				break
			}
			at += next + len("\nPackage: ")
			end := bytes.IndexByte(part.text[at:], '\n')
			// Names of much other length are no misspellings.
			if d := end - len(name); -3 <= d && d <= 3 {
				names = append(names, string(part.text[at:at+end]))
			}
		}
	}
	fix := "check the name, the suite and the components of the board file"
	if near := document.Closest(name, names); near != "" {
		fix = "did you mean " + near + "? Else " + fix
	}
	return fault.New(fault.UnknownPackage, "package "+name,
		fmt.Sprintf("suite %s (%s) has no such package for %s", x.suite, strings.Join(components, ", "), x.arch), fix)
}

// packageName matches package names: Debian Policy 5.6.7.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)

// packageVersion matches versions: deb-version(7).
var packageVersion = regexp.MustCompile(`^[0-9][A-Za-z0-9.+~:-]{0,127}$`)

// parsePackage reads one stanza of a reduced index.
func parsePackage(stanza []byte, component string) (Package, error) {
	in := deb822.NewReader(bytes.NewReader(stanza), false)
	if !in.Next() {
		return Package{}, fmt.Errorf("no fields: %w", in.Err())
	}
	get := func(name string) string { return string(in.Get(name)) }
	p := Package{Name: get("Package"), Version: get("Version"), Arch: get("Architecture"),
		Component: component, Path: get("Filename")}
	var err error
	if p.Size, err = strconv.ParseInt(get("Size"), 10, 64); err != nil {
		return Package{}, fmt.Errorf("field Size: %w", err)
	}
	if p.SHA256, err = parseSum(get("SHA256")); err != nil {
		return Package{}, fmt.Errorf("field SHA256: %w", err)
	}
	if text := get("Installed-Size"); text != "" {
		if p.InstalledSize, err = strconv.ParseInt(text, 10, 64); err != nil {
			return Package{}, fmt.Errorf("field Installed-Size: %w", err)
		}
	}
	p.Depends = append(parseDepends(get("Pre-Depends")), parseDepends(get("Depends"))...)
	for _, provided := range parseDepends(get("Provides")) {
		p.Provides = append(p.Provides, provided...)
	}
	return p, p.check()
}

// check refuses values that must not reach a file name, a URL or a lock.
func (p *Package) check() error {
	switch {
	case !packageName.MatchString(p.Name):
		return fmt.Errorf("name %q is none a package can have", p.Name)
	case !packageVersion.MatchString(p.Version):
		return fmt.Errorf("version %q is none a package can have", p.Version)
	case !packageName.MatchString(p.Arch):
		return fmt.Errorf("architecture %q", p.Arch)
	case p.Size <= 0 || p.Size > maxDeb:
		return fmt.Errorf("size %d is not between 1 and %d bytes", p.Size, int64(maxDeb))
	}
	return checkPoolPath(p.Path)
}

// checkPoolPath refuses a path that is not that of a .deb below pool/ within
// a mirror.
func checkPoolPath(file string) error {
	switch {
	case strings.Contains(file, "://") || strings.HasPrefix(file, "/"):
		return fmt.Errorf("path %q is not relative to the mirror", file)
	case path.Clean(file) != file || slices.Contains(strings.Split(file, "/"), ".."):
		return fmt.Errorf("path %q leads out of the mirror", file)
	case len(file) > 1024 || !strings.HasPrefix(file, "pool/") || path.Ext(file) != ".deb":
		return fmt.Errorf("path %q is not a .deb file under pool/", file)
	case strings.ContainsFunc(file, func(r rune) bool { return r <= ' ' || r == '\\' || r > '~' }):
		return fmt.Errorf("path %q has characters that no file of the archive has", file)
	}
	return nil
}

// parseDepends reads a field of dependencies: deb-control(5) and Debian
// Policy 7.1. Architecture and build-profile restrictions, which only source
// packages have, are passed over.
func parseDepends(text string) []Dependency {
	var list []Dependency
	for part := range strings.SplitSeq(text, ",") {
		var d Dependency
		for choice := range strings.SplitSeq(part, "|") {
			if r, ok := parseRelation(choice); ok {
				d = append(d, r)
			}
		}
		if len(d) > 0 {
			list = append(list, d)
		}
	}
	return list
}

// parseRelation reads "name", "name:any" or "name (op version)".
func parseRelation(text string) (Relation, bool) {
	text = strings.TrimSpace(text)
	name, rest, constrained := strings.Cut(text, "(")
	if words := strings.Fields(name); len(words) > 0 {
		name, _, _ = strings.Cut(words[0], ":")
	}
	if !packageName.MatchString(name) {
		return Relation{}, false
	}
	r := Relation{Name: name}
	if constrained {
		rest, _, _ = strings.Cut(rest, ")")
		rest = strings.TrimSpace(rest)
		version := strings.TrimLeft(rest, "<>=")
		r.Op, r.Version = rest[:len(rest)-len(version)], strings.TrimSpace(version)
	}
	return r, true
}

// allows tells whether a version will do.
func (r Relation) allows(version string) bool {
	c := compareVersions(version, r.Version)
	switch r.Op {
	case "":
		return true
	case "=":
		return c == 0
	case "<<":
		return c < 0
	case "<=", "<":
		return c <= 0
	case ">=", ">":
		return c >= 0
	case ">>":
		return c > 0
	}
	return false
}

// parseSum reads a SHA-256 in 64 lower-case hexadecimal digits.
func parseSum(text string) (sum [32]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(sum) || text != strings.ToLower(text) {
		return sum, fmt.Errorf("%q is no SHA-256 in hexadecimal digits", text)
	}
	return [32]byte(raw), nil
}

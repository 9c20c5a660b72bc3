package apt

import (
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"weft/builder/apt/deb822"
	"weft/builder/apt/fault"
)

// maxSources bounds each file of apt sources, in bytes.
const maxSources = 1 << 20

// HostMirror returns the Debian archive that the apt sources of a machine
// name, and the file that names it. root is the machine's root directory.
//
// Read are /etc/apt/sources.list, then the files *.list and *.sources of
// /etc/apt/sources.list.d in the order of their names, as sources.list(5)
// describes them. An entry counts if it is enabled, of type deb, reached by
// http, https or file, has the component main, and a suite with a Debian name
// other than the security ones. An entry signed by a keyring that is not
// Debian's is another archive. One that names Debian's keyring goes before
// one that names none. What was chosen still has to pass the signature check,
// so a wrong guess is an error and never a wrong package.
func HostMirror(root fs.FS) (mirror, origin string, err error) {
	var unsigned *sourceEntry
	for _, file := range sourceFiles(root) {
		data, err := readLimited(root, file, maxSources)
		if err != nil {
			continue // apt would complain; another file may do
		}
		for _, e := range parseSources(file, data) {
			if !e.debian() {
				continue
			}
			uri, ok := usableURI(root, e.uri)
			if !ok {
				continue
			}
			e.uri = uri
			if strings.Contains(path.Base(e.signedBy), "debian-archive") {
				return e.uri, "/" + file, nil
			}
			if e.signedBy == "" && unsigned == nil {
				unsigned = &e
			}
		}
	}
	if unsigned != nil {
		return unsigned.uri, "/" + unsigned.file, nil
	}
	return "", "", fault.New(fault.NoMirror, "", "no Debian mirror is set, and the apt sources of this machine name none",
		"give one with --mirror or WEFT_MIRROR: the http, https or file address of a Debian archive, the folder that holds dists and pool")
}

// sourceFiles lists the files apt reads, in its order.
func sourceFiles(root fs.FS) []string {
	files := []string{"etc/apt/sources.list"}
	list, err := fs.ReadDir(root, "etc/apt/sources.list.d")
	if err != nil {
		return files
	}
	for _, e := range list {
		if ext := path.Ext(e.Name()); ext == ".list" || ext == ".sources" {
			files = append(files, "etc/apt/sources.list.d/"+e.Name())
		}
	}
	return files
}

// A sourceEntry is one archive with one suite.
type sourceEntry struct {
	file       string
	uri, suite string
	components []string
	signedBy   string
}

// debianSuite matches the suites of the Debian archive that hold whole
// releases or additions to them. A suite that ends in a slash is a flat
// archive, security suites lie in an archive of their own; neither matches.
var debianSuite = regexp.MustCompile(`^(bullseye|bookworm|trixie|forky|duke|sid|unstable|testing|stable|oldstable|oldoldstable)(-updates|-backports|-backports-sloppy|-proposed-updates)?$`)

// debian tells whether the entry looks like the Debian archive.
func (e *sourceEntry) debian() bool {
	return debianSuite.MatchString(e.suite) && slices.Contains(e.components, "main")
}

// usableURI tells whether weft can fetch from uri. mirror+file, which Debian's
// cloud images use, names a file with the address in its first line.
func usableURI(root fs.FS, uri string) (string, bool) {
	if list, ok := strings.CutPrefix(uri, "mirror+file:"); ok {
		data, err := readLimited(root, strings.TrimLeft(path.Clean(list), "/"), maxSources)
		if err != nil {
			return "", false
		}
		for line := range strings.Lines(string(data)) {
			if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
				uri = words[0]
				break
			}
		}
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	switch {
	case !ok:
		return "", false
	case scheme == "http", scheme == "https":
		return uri, strings.HasPrefix(rest, "//")
	case scheme == "file":
		return "file://" + path.Clean("/"+strings.TrimLeft(rest, "/")), true
	}
	return "", false
}

// parseSources reads the enabled deb entries of one file, by its name in
// either format. Lines that are not understood are passed over.
func parseSources(file string, data []byte) []sourceEntry {
	if path.Ext(file) == ".sources" {
		return parseDeb822Sources(file, data)
	}
	var list []sourceEntry
	for line := range strings.Lines(string(data)) {
		if e, ok := parseSourceLine(line); ok {
			e.file = file
			list = append(list, e)
		}
	}
	return list
}

// parseSourceLine reads "deb [option=value ...] uri suite component ...".
func parseSourceLine(line string) (sourceEntry, bool) {
	line, _, _ = strings.Cut(line, "#")
	kind, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
	if kind != "deb" {
		return sourceEntry{}, false
	}
	var e sourceEntry
	rest = strings.TrimSpace(rest)
	if options, ok := strings.CutPrefix(rest, "["); ok {
		options, rest, ok = strings.Cut(options, "]")
		if !ok {
			return sourceEntry{}, false
		}
		for option := range strings.FieldsSeq(options) {
			if name, value, _ := strings.Cut(option, "="); strings.EqualFold(name, "signed-by") {
				e.signedBy = value
			}
		}
	}
	words := strings.Fields(rest)
	if len(words) < 2 {
		return sourceEntry{}, false
	}
	e.uri, e.suite, e.components = words[0], words[1], words[2:]
	return e, true
}

// parseDeb822Sources reads stanzas of Types, URIs, Suites and Components, one
// entry for each address and suite.
func parseDeb822Sources(file string, data []byte) []sourceEntry {
	var list []sourceEntry
	r := deb822.NewReader(bytes.NewReader(data), true)
	for r.Next() {
		words := func(name string) []string { return strings.Fields(string(r.Get(name))) }
		switch strings.ToLower(string(r.Get("Enabled"))) {
		case "no", "false", "without", "off", "disable", "0": // apt's StringToBool
			continue
		}
		if !slices.Contains(words("Types"), "deb") {
			continue
		}
		for _, uri := range words("URIs") {
			for _, suite := range words("Suites") {
				if len(list) == 1000 {
					return list // no machine has as many
				}
				list = append(list, sourceEntry{file: file, uri: uri, suite: suite,
					components: words("Components"), signedBy: string(r.Get("Signed-By"))})
			}
		}
	}
	return list
}

// readLimited reads a file of at most limit bytes.
func readLimited(root fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(root, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fault.New(fault.TooLarge, "/"+name, "no regular file of a sensible size", "")
	}
	return fs.ReadFile(root, name)
}

package apt

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"weft/builder/apt/fault"
)

// ChooseMirror returns the address of the Debian archive to use, and where it
// was found: explicit (the value of --mirror), else fromEnvironment (the
// value of WEFT_MIRROR), else what the apt sources of this machine name. root
// is the machine's root directory; see [HostMirror].
func ChooseMirror(explicit, fromEnvironment string, root fs.FS) (mirror, origin string, err error) {
	switch {
	case explicit != "":
		return explicit, "--mirror", nil
	case fromEnvironment != "":
		return fromEnvironment, "WEFT_MIRROR", nil
	}
	return HostMirror(root)
}

// parseMirror reads the address of a mirror: an http or https URL, a file
// URL, or the path of a directory that holds dists and pool.
func parseMirror(text string) (*url.URL, error) {
	bad := func(reason string) error {
		return fault.New(fault.BadInput, "mirror "+redact(text), reason,
			"give the http, https or file address of a Debian archive, the folder that holds dists and pool")
	}
	if text == "" {
		return nil, fault.New(fault.NoMirror, "", "no Debian mirror is set",
			"give one with --mirror or WEFT_MIRROR")
	}
	if !strings.Contains(text, "://") {
		dir, err := filepath.Abs(text)
		if err != nil {
			return nil, bad(err.Error())
		}
		return localMirror(dir, bad)
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, bad("it is no URL")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, bad("it has a query or a fragment")
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, bad("it names no host")
		}
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		return u, nil
	case "file":
		if u.Host != "" || !path.IsAbs(u.Path) {
			return nil, bad("a file URL has three slashes and an absolute path, as in file:///srv/debian")
		}
		return localMirror(u.Path, bad)
	}
	return nil, bad("scheme " + u.Scheme + " is not supported")
}

// localMirror checks that dir looks like an archive, so that a mistyped path
// is not reported as a missing suite.
func localMirror(dir string, bad func(string) error) (*url.URL, error) {
	if info, err := os.Stat(filepath.Join(dir, "dists")); err != nil || !info.IsDir() {
		return nil, bad("there is no folder dists in it")
	}
	return &url.URL{Scheme: "file", Path: strings.TrimRight(filepath.ToSlash(dir), "/")}, nil
}

// under returns the address of a file of the mirror.
func under(mirror *url.URL, file string) *url.URL {
	u := *mirror
	u.Path += "/" + file
	return &u
}

// redact hides the password a mirror's address may hold, also in one that is
// no valid URL.
func redact(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return text
	}
	return scheme + "://xxxxx@" + rest[at+1:]
}

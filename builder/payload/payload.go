// Package payload gets what a profile names by path or URL into an image:
// K3s, RKE2 and other programs, archives of container images, manifests.
//
// Everything is told apart by its SHA-256. What comes from a URL is kept in a
// cache by it, whole or not at all. Programs are looked at before they go into
// an image: a program for another machine, or one that needs what the image
// does not have, is refused by name. The package unpacks and runs nothing.
package payload

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/rancher"
)

// A Kind is what a payload is.
type Kind int

// The kinds of payloads.
const (
	// Program is run on the node.
	Program Kind = iota
	// Images is an archive of container images, or a list of their names.
	Images
	// Manifest is applied by servers.
	Manifest
)

// An Item is one payload with its place in the profile and in the image.
type Item struct {
	// Payload is what the profile says, at Path.
	Payload profiles.Payload
	Path    string
	// Kind is what it is.
	Kind Kind
	// To is where it goes in the root, without a leading slash.
	To string
	// SHA256 is the digest it must have; nil when the profile does not say.
	SHA256 *[32]byte
}

// Name is what messages call the payload.
func (i Item) Name() string { return i.Payload.FileName() }

// A Problem makes an error at a key of the profile.
type Problem func(path, message string) document.Problem

// Items lists the payloads of a profile for an architecture, in the order of
// the file, and what is wrong with what it says of them.
func Items(p profiles.Profile, arch string, problem Problem) ([]Item, document.Problems) {
	l := lister{arch: arch, problem: problem, places: map[string]string{}}
	k := p.Kubernetes
	for i, w := range k.Payload {
		name := w.FileName()
		if k.IsProgram(w) {
			name = k.Distribution
		}
		l.add(w, document.Index("kubernetes.payload", i), Program, profiles.BinDir, name)
	}
	for i, w := range k.Images {
		l.add(w, document.Index("kubernetes.images", i), Images, rancher.SeedImages, w.FileName())
	}
	for i, w := range k.Manifests {
		l.add(w, document.Index("kubernetes.manifests", i), Manifest, rancher.SeedManifests, w.FileName())
	}
	for i, s := range p.Services {
		l.add(s.Program, document.Index("services", i)+".program", Program, profiles.BinDir, s.Name)
	}
	return l.items, l.problems
}

// Missing is the problem of a profile whose Kubernetes has no program for an
// architecture; nil when it has one, or needs none.
func Missing(p profiles.Profile, arch string, problem Problem) document.Problems {
	k := p.Kubernetes
	if !k.On() {
		return nil
	}
	if _, _, found := k.Program(arch); found {
		return nil
	}
	return document.Problems{problem("kubernetes.distribution", fmt.Sprintf("the program %s is not among the payloads for %s", k.Distribution, arch)).
		WithFix(fmt.Sprintf("download it from the release page and name it in a profile that extends this one: kubernetes: {payload: [{name: %s, path: ./%s}]}, or url: with sha256: in place of path:", k.Distribution, k.Distribution))}
}

// A lister gathers items.
type lister struct {
	arch     string
	problem  Problem
	items    []Item
	problems document.Problems
	places   map[string]string // what is at a place already
}

// refuse notes what is wrong with a payload.
func (l *lister) refuse(path, message, fix string) {
	l.problems = append(l.problems, l.problem(path, message).WithFix(fix))
}

// names are file names that need no quoting anywhere.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

// add checks what the profile says of a payload, which goes into a folder under
// a name, and lists it if it is for the architecture.
func (l *lister) add(w profiles.Payload, at string, kind Kind, folder, name string) {
	to := folder[1:] + "/" + name
	item := Item{Payload: w, Path: at, Kind: kind, To: to}
	before := len(l.problems)
	l.checkSource(w, at)
	if sum, ok := parseSum(w.SHA256); ok {
		item.SHA256 = &sum
	} else if w.SHA256 != "" {
		l.refuse(at+".sha256", "this is no SHA-256: it has 64 digits from 0 to 9 and a to f", "copy it from the release page, or print it by sha256sum")
	}
	if !names.MatchString(name) {
		l.refuse(at, fmt.Sprintf("%q is no name for a file on a node", name), "give the payload a name: of letters, digits and . _ + -")
	}
	l.checkKind(w, at, kind)
	if !w.Fits(l.arch) || len(l.problems) > before {
		return
	}
	if other, taken := l.places[to]; taken {
		l.refuse(at, fmt.Sprintf("/%s is the place of %s too", to, other), "give one of them another name:, or an arch: to both")
		return
	}
	l.places[to] = at
	l.items = append(l.items, item)
}

// checkSource wants a path, or a URL with a digest.
func (l *lister) checkSource(w profiles.Payload, at string) {
	switch {
	case w.Path == "" && w.URL == "":
		l.refuse(at, "the payload has neither a path nor a URL", "add path: with a file beside the profile, or url: and sha256:")
	case w.Path != "" && w.URL != "":
		l.refuse(at+".url", "the payload has a path and a URL", "keep one of them")
	case w.URL != "":
		u, err := url.Parse(w.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			l.refuse(at+".url", "a payload is fetched by https, without a name and password in the URL", "write https://HOST/PATH")
		}
		if w.SHA256 == "" {
			l.refuse(at, "a payload from a URL needs its SHA-256: what the server sends may change", "add sha256: from the release page")
		}
	}
}

// imageSuffixes are what K3s and RKE2 import (k3s pkg/agent/containerd,
// isFileSupported).
var imageSuffixes = []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.lz4", ".tar.bz2", ".tbz", ".txt"}

// checkKind wants names that K3s and RKE2 take.
func (l *lister) checkKind(w profiles.Payload, at string, kind Kind) {
	name := w.FileName()
	ends := func(suffixes []string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
	}
	switch {
	case kind == Images && !ends(imageSuffixes):
		l.refuse(at, fmt.Sprintf("%s is no archive of images that is imported", name), "its name must end in "+strings.Join(imageSuffixes, ", "))
	case kind == Manifest && (!ends([]string{".yaml", ".yml", ".json"}) || strings.Contains(name, "_")):
		// The name becomes that of an object of the API (k3s pkg/deploy).
		l.refuse(at, fmt.Sprintf("%s is no manifest that is applied", name), "its name must end in .yaml, .yml or .json and have no underscore; give it a name:")
	}
}

// parseSum reads a SHA-256.
func parseSum(text string) (sum [32]byte, ok bool) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(sum) {
		return sum, false
	}
	return [32]byte(data), true
}

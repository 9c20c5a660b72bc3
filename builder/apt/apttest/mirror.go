package apttest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Now is the date of a mirror's suite, unless a test changes it.
var Now = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// Key makes a key that can sign, in the name of a test archive.
func Key(t testing.TB) *openpgp.Entity {
	t.Helper()
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return Now.AddDate(-1, 0, 0) }}
	key, err := openpgp.NewEntity("Test Archive", "", "archive@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A Mirror is a Debian archive of one suite, served on the loopback
// interface. Change its fields or Files, and Publish, at any time.
type Mirror struct {
	*httptest.Server
	// Keys sign InRelease.
	Keys []*openpgp.Entity
	// Fields are those of InRelease, without the checksums.
	Fields map[string]string
	// Directory is the name under dists, also that in the path of a request.
	Directory string
	// Arch and Component are the only ones there are.
	Arch, Component string
	// Form is the compression of Packages: .xz or .gz.
	Form string

	mu sync.Mutex
	// files are served by path.
	files    map[string][]byte
	stanzas  []string
	hook     func(http.ResponseWriter, *http.Request) bool
	requests []*http.Request
	t        testing.TB
}

// NewMirror returns a mirror of the suite trixie for amd64, with no packages.
func NewMirror(t testing.TB) *Mirror {
	t.Helper()
	m := &Mirror{
		Keys: []*openpgp.Entity{Key(t)}, Directory: "trixie", Arch: "amd64", Component: "main", Form: ".xz",
		Fields: map[string]string{
			"Origin": "Debian", "Label": "Debian", "Suite": "stable", "Codename": "trixie", "Version": "13.7",
			"Date": Now.Format(time.RFC1123), "Valid-Until": Now.AddDate(0, 0, 7).Format(time.RFC1123),
			"Acquire-By-Hash": "yes", "Architectures": "all amd64", "Components": "main",
		},
		files: map[string][]byte{}, t: t,
	}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

// Ring returns the keys that the mirror's users trust.
func (m *Mirror) Ring() openpgp.EntityList { return slices.Clone(m.Keys) }

// Clock is a clock at which the mirror is valid.
func (m *Mirror) Clock() time.Time { return Now.Add(time.Hour) }

// Add puts a package into the pool and the index, to be published. fields
// are further lines of its stanza, such as "Depends: x".
func (m *Mirror) Add(name, version string, deb []byte, fields ...string) (path string) {
	path = fmt.Sprintf("pool/main/%c/%s/%s_%s_%s.deb", name[0], name, name, version, m.Arch)
	m.Put(path, deb)
	stanza := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Nobody <nobody@example.org>\n", name, version, m.Arch)
	for _, f := range fields {
		stanza += f + "\n"
	}
	stanza += fmt.Sprintf("Description: a package\n made for a test\nFilename: %s\nSize: %d\nSHA256: %x\n", path, len(deb), sha256.Sum256(deb))
	m.stanzas = append(m.stanzas, stanza)
	return path
}

// Publish writes the index and signs InRelease.
func (m *Mirror) Publish() *Mirror {
	text := []byte(strings.Join(m.stanzas, "\n"))
	packages := text
	switch m.Form {
	case ".xz":
		packages = XZ(m.t, text)
	case ".gz":
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(text)
		w.Close()
		packages = out.Bytes()
	}
	m.PutPackages(packages)
	m.Sign()
	return m
}

// PutPackages replaces the compressed index, at its name and by its hash.
func (m *Mirror) PutPackages(data []byte) {
	m.Put(m.indexPath(), data)
	m.Put(fmt.Sprintf("dists/%s/%s/binary-%s/by-hash/SHA256/%x", m.Directory, m.Component, m.Arch, sha256.Sum256(data)), data)
}

func (m *Mirror) indexPath() string {
	return fmt.Sprintf("dists/%s/%s/binary-%s/Packages%s", m.Directory, m.Component, m.Arch, m.Form)
}

// Sign writes InRelease for the index that is there.
func (m *Mirror) Sign() {
	m.t.Helper()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
		fmt.Fprintf(&text, "%s: %s\n", name, m.Fields[name])
	}
	data := m.Get(m.indexPath())
	name := strings.TrimPrefix(m.indexPath(), "dists/"+m.Directory+"/")
	fmt.Fprintf(&text, "SHA256:\n %x %d %s\n", sha256.Sum256(data), len(data), name)
	m.Put("dists/"+m.Directory+"/InRelease", Clearsign(m.t, text.String(), m.Keys...))
}

// Clearsign signs a text.
func Clearsign(t testing.TB, text string, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	private := make([]*packet.PrivateKey, len(keys))
	for i, k := range keys {
		private[i] = k.PrivateKey
	}
	w, err := clearsign.EncodeMulti(&out, private, &packet.Config{Time: func() time.Time { return Now }})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// Put replaces a file.
func (m *Mirror) Put(path string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = data
}

// Get returns a file, nil if there is none.
func (m *Mirror) Get(path string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[path]
}

// Remove removes a file.
func (m *Mirror) Remove(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, path)
}

// Hook has f look at each request first; a request for which it returns true
// counts as answered.
func (m *Mirror) Hook(f func(http.ResponseWriter, *http.Request) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = f
}

// Requests returns the requests so far whose path contains part, and forgets
// all.
func (m *Mirror) Requests(part string) []*http.Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.DeleteFunc(m.requests, func(r *http.Request) bool { return !strings.Contains(r.URL.Path, part) })
	m.requests = nil
	return list
}

// WriteTo writes all files below the directory dir.
func (m *Mirror) WriteTo(dir string) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, data := range m.files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *Mirror) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	hook := m.hook
	data, ok := m.files[strings.TrimPrefix(r.URL.Path, "/")]
	m.requests = append(m.requests, r)
	m.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%.8x"`, sha256.Sum256(data)))
	http.ServeContent(w, r, "", Now, bytes.NewReader(data))
}

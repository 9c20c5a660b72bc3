package flash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"weft/builder/file"
)

// A Manifest says which card is which node of a cluster.
type Manifest struct {
	Cluster string `json:"cluster"`
	Cards   []Card `json:"cards"`

	path string
}

// A Card is one that was written and verified.
type Card struct {
	Node string `json:"node"`
	// Serial is the card's, or that of the reader it was in; see [Device].
	Serial string `json:"serial,omitempty"`
	Model  string `json:"model,omitempty"`
	Size   int64  `json:"size"`
	// SHA256 is the digest of all that was verified.
	SHA256  string    `json:"sha256"`
	Written time.Time `json:"written"`
}

// maxManifest bounds a manifest: 65,535 nodes with 256 bytes each.
const maxManifest = 16 << 20

// ReadManifest reads the manifest of a cluster; it is empty when there is no
// such file.
func ReadManifest(path, cluster string) (*Manifest, error) {
	m := &Manifest{Cluster: cluster, path: path}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxManifest)).Decode(m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w\nfix: mend it, or move it away to begin anew", path, err)
	}
	if m.Cluster != cluster {
		return nil, fmt.Errorf("manifest %s: it is of cluster %q, not %q\nfix: name another file: --manifest", path, m.Cluster, cluster)
	}
	return m, nil
}

// Done returns the card of a node, and whether there is one.
func (m *Manifest) Done(node string) (Card, bool) {
	for _, c := range m.Cards {
		if c.Node == node {
			return c, true
		}
	}
	return Card{}, false
}

// Holder returns the node whose card a device is, if it shows a serial of the
// card's own; "" else. Behind a USB reader all cards have the reader's.
func (m *Manifest) Holder(d Device) string {
	if d.Transport != "mmc" || d.Serial == "" {
		return ""
	}
	for _, c := range m.Cards {
		if c.Serial == d.Serial {
			return c.Node
		}
	}
	return ""
}

// Add notes a card and writes the manifest, whole or not at all.
func (m *Manifest) Add(c Card) error {
	m.Cards = append(m.Cards, c)
	return file.Write(m.path, func(f *os.File) error {
		e := json.NewEncoder(f)
		e.SetIndent("", "  ")
		return e.Encode(m)
	})
}

package profiles

import (
	"net/url"
	"path"
	"strings"
)

// FileName is what a payload is called on a node: its name, or the last part
// of its path or URL.
func (p Payload) FileName() string {
	if p.Name != "" {
		return p.Name
	}
	if p.Path != "" {
		return path.Base(strings.ReplaceAll(p.Path, `\`, "/"))
	}
	at := p.URL
	if u, err := url.Parse(p.URL); err == nil {
		at = u.Path
	}
	return path.Base(at)
}

// Fits tells whether a payload is for an architecture.
func (p Payload) Fits(arch string) bool { return p.Arch == "" || arch == "" || p.Arch == arch }

// Program finds the distribution's own program among the payloads for an
// architecture: the one called k3s or rke2, or whose file name begins so, as
// those of the release pages do (k3s-arm64, rke2.linux-amd64). index is its
// place in the list.
func (k Kubernetes) Program(arch string) (p Payload, index int, found bool) {
	for i, p := range k.Payload {
		if p.Fits(arch) && k.IsProgram(p) {
			return p, i, true
		}
	}
	return Payload{}, 0, false
}

// IsProgram tells whether a payload is the distribution's own program.
func (k Kubernetes) IsProgram(p Payload) bool {
	name := p.FileName()
	rest, ok := strings.CutPrefix(name, k.Distribution)
	return k.On() && ok && (rest == "" || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, ".linux"))
}

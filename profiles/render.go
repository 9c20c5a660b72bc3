package profiles

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// YAML renders netd's configuration; [ReadNetd] reads it back equal. Equal
// values give equal bytes.
func (n Netd) YAML() ([]byte, error) { return Render("netd configuration", n) }

// YAML renders the profile; [Read] reads it back equal. Equal values give
// equal bytes.
func (p Profile) YAML() ([]byte, error) { return Render("profile", p) }

// YAML renders the node file; [ReadNode] reads it back equal. Equal values
// give equal bytes.
func (n Node) YAML() ([]byte, error) { return Render("node file", n) }

// Render writes a value as YAML, for a file called what in errors; struct
// fields come in their order and map keys sorted.
func Render(what string, v any) ([]byte, error) {
	var b bytes.Buffer
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	if err := out.Encode(v); err != nil {
		return nil, fmt.Errorf("render %s: %w", what, err)
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("render %s: %w", what, err)
	}
	return b.Bytes(), nil
}

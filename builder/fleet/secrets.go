package fleet

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"weft/builder/file"
	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"

	"go.yaml.in/yaml/v3"
)

// SecretsVersion is what the weft key of every secrets file must say.
const SecretsVersion = cluster.SecretsVersion

// Secrets are the keys of a cluster. They print as nothing.
type Secrets struct {
	// Weft names the kind and version of the file; always [SecretsVersion].
	Weft string `yaml:"weft"`
	// WireGuard are the private keys of nodes, by name, as wg genkey prints
	// them.
	WireGuard map[string]string `yaml:"wireguard,omitempty"`
	// WireGuardPSK is the key all nodes share for backend wireguard, as wg
	// genpsk prints it, and IPsecPSK the one for backend ipsec.
	WireGuardPSK string `yaml:"wireguardPSK,omitempty"`
	IPsecPSK     string `yaml:"ipsecPSK,omitempty"`
	// Token is what nodes join Kubernetes with.
	Token string `yaml:"token,omitempty"`
}

// String says that there are secrets, but not which.
func (s Secrets) String() string { return "(secrets)" }

// GoString is [Secrets.String], for %#v.
func (s Secrets) GoString() string { return s.String() }

// SecretsFile is where the secrets of a cluster are: where its file says, or
// beside it, in NAME.secrets.
func (f *Fleet) SecretsFile() string {
	name := f.file.File()
	if f.Cluster.Secrets == "" {
		return strings.TrimSuffix(name, filepath.Ext(name)) + ".secrets"
	}
	path := strings.TrimSuffix(f.Cluster.Secrets, SealedSuffix)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(name), path)
}

// ReadSecrets reads the secrets of a cluster; the zero value when there is no
// file. Errors never hold what the file says.
func ReadSecrets(path string) (Secrets, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Secrets{}, nil
	}
	if err != nil {
		return Secrets{}, fmt.Errorf("secrets: %w", err)
	}
	say := func(message, fix string) (Secrets, error) {
		return Secrets{}, document.Problems{{File: path, Message: message, Fix: fix}}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return say(fmt.Sprintf("others can read the cluster's secrets: the file has mode %04o", info.Mode().Perm()), "chmod 600 "+path)
	}
	data, err := document.ReadFile(path)
	if err != nil {
		return Secrets{}, fmt.Errorf("secrets: %w", err)
	}
	if len(data) > document.MaxSize {
		return say("the file is too large for secrets", "name the right file")
	}
	s, err := parseSecrets(data)
	if err != nil {
		return say(err.Error(), "put back the right file; weft cluster keys adds what is missing")
	}
	return s, nil
}

// yamlLine finds the number of a line in what package yaml complains of, which
// may hold the line itself too.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// parseSecrets reads the text of a secrets file.
func parseSecrets(data []byte) (Secrets, error) {
	var s Secrets
	in := yaml.NewDecoder(bytes.NewReader(data))
	in.KnownFields(true)
	if err := in.Decode(&s); err != nil {
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			return Secrets{}, fmt.Errorf("line %s cannot be read, or has a key that no secrets file has", m[1])
		}
		return Secrets{}, errors.New("this is no YAML")
	}
	if s.Weft != SecretsVersion {
		return Secrets{}, errors.New("this is no secrets file that this weft reads: it does not say weft: " + SecretsVersion)
	}
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.WireGuard)) {
		public, err := publicKey(s.WireGuard[name])
		if err != nil {
			return Secrets{}, fmt.Errorf("the WireGuard key of %s is %w", name, err)
		}
		if owner[public] != "" {
			return Secrets{}, fmt.Errorf("%s and %s have one WireGuard key", owner[public], name)
		}
		owner[public] = name
	}
	if s.WireGuardPSK != "" {
		if _, err := key32(s.WireGuardPSK); err != nil {
			return Secrets{}, fmt.Errorf("wireguardPSK is %w", err)
		}
	}
	if s.IPsecPSK != "" && len(s.IPsecPSK) < minIPsecPSK {
		return Secrets{}, fmt.Errorf("ipsecPSK is shorter than %d characters", minIPsecPSK)
	}
	if strings.ContainsAny(s.Token+s.IPsecPSK, " \t\r\n") {
		return Secrets{}, errors.New("token and ipsecPSK hold no blanks")
	}
	return s, nil
}

// Write writes the secrets to a file that only its owner reads.
func (s Secrets) Write(path string) error {
	data, err := s.text()
	if err != nil {
		return err
	}
	return file.WritePrivate(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// text is the content of the secrets file.
func (s Secrets) text() ([]byte, error) {
	s.Weft = SecretsVersion
	data, err := profiles.Render("cluster secrets", s)
	if err != nil {
		return nil, err
	}
	return append([]byte("# Keep this file to yourself, and keep it: the nodes of the cluster have these keys.\n"), data...), nil
}

// keyLength is the length of WireGuard's keys and shared keys, in bytes.
const keyLength = 32

// minIPsecPSK is how long the key of backend ipsec must be, in characters
// (flannel, pkg/backend/ipsec, minPasswordLength).
const minIPsecPSK = 96

// key32 reads a key as wg prints it. The error never holds the text.
func key32(text string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(data) != keyLength {
		return nil, errors.New("not 32 bytes in base64, as wg genkey writes them")
	}
	return data, nil
}

// publicKey is the public key of a private one, both as wg prints them.
func publicKey(private string) (string, error) {
	data, err := key32(private)
	if err != nil {
		return "", err
	}
	key, err := ecdh.X25519().NewPrivateKey(data)
	if err != nil {
		return "", errors.New("no key of Curve25519")
	}
	return base64.StdEncoding.EncodeToString(key.PublicKey().Bytes()), nil
}

// newKey makes a private WireGuard key out of random bytes.
func newKey(random io.Reader) (string, error) {
	key, err := randomBytes(random, keyLength)
	if err != nil {
		return "", err
	}
	// A scalar of Curve25519 (RFC 7748, section 5).
	key[0] &= 248
	key[31] = key[31]&127 | 64
	return base64.StdEncoding.EncodeToString(key), nil
}

// randomBytes takes n random bytes.
func randomBytes(random io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("random bytes for a key: %w", err)
	}
	return b, nil
}

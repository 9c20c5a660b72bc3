package wireguard

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"weft/netd/wanted"
	"weft/profiles"
)

// KeyFile is where a node's main private key is, in the directory of state.
// Its form is that of `wg genkey`: 32 bytes in base64 and a line feed.
const KeyFile = profiles.WireGuardKeyFile

// maxKeyFile limits a key file: base64 of 32 bytes takes 44.
const maxKeyFile = 256

// A Private is a secret key: the private one of a node, or the one that all
// nodes share. It prints as nothing, in JSON too; only [Private.Reveal] gives
// it away. The zero value is no key.
type Private struct {
	key    wgtypes.Key
	public wanted.Key
}

func private(key wgtypes.Key) Private { return Private{key, wanted.Key(key.PublicKey())} }

// Generate makes a private key out of random bytes.
func Generate(random io.Reader) (Private, error) {
	var key wgtypes.Key
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return Private{}, fmt.Errorf("random bytes for a WireGuard key: %w", err)
	}
	return clamped(key), nil
}

// New makes a private key with the system's random numbers, which never fail
// (crypto/rand.Read).
func New() Private {
	var key wgtypes.Key
	_, _ = rand.Read(key[:])
	return clamped(key)
}

// clamped makes a scalar of Curve25519 out of random bytes (RFC 7748,
// section 5), as the kernel does with any key it is given.
func clamped(key wgtypes.Key) Private {
	key[0] &= 248
	key[31] = key[31]&127 | 64
	return private(key)
}

// ParsePrivate reads a key as `wg genkey` and `wg genpsk` write them. The
// error never holds the text.
func ParsePrivate(text string) (Private, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil || len(data) != wgtypes.KeyLen {
		return Private{}, errors.New("not 32 bytes in base64, as wg genkey writes them")
	}
	key := wgtypes.Key(data)
	if key == (wgtypes.Key{}) {
		return Private{}, errors.New("a key of zeros protects nothing")
	}
	return private(key), nil
}

// IsZero reports whether there is no key.
func (p Private) IsZero() bool { return p == Private{} }

// Public is the public key that belongs to a private one; zero when there is
// none.
func (p Private) Public() wanted.Key { return p.public }

// Reveal is the key in base64, for the file it is kept in and nothing else.
func (p Private) Reveal() string { return p.key.String() }

// String says that there is a key, but not which.
func (p Private) String() string {
	if p.IsZero() {
		return "(no key)"
	}
	return "(secret key)"
}

// GoString is [Private.String], for %#v.
func (p Private) GoString() string { return p.String() }

// MarshalText is [Private.String], so that no encoder gives the key away.
func (p Private) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ReadKey reads the main key of a node from its directory of state; the error
// is [fs.ErrNotExist] when there is none yet.
func ReadKey(dir string) (Private, error) {
	return readSecret(filepath.Join(dir, KeyFile),
		"put back the right one, or remove the file: the node then makes a new key, and peers that have a list of keys need it")
}

// ReadShared reads the key that all nodes share (`wg genpsk`).
func ReadShared(file string) (Private, error) {
	key, err := readSecret(file, "write the key that all nodes have into it")
	if errors.Is(err, fs.ErrNotExist) {
		return key, fmt.Errorf("pre-shared key: %w", err)
	}
	return key, err
}

// WriteKey makes key the main key of a node.
func WriteKey(dir string, key Private) error {
	return WriteSecret(filepath.Join(dir, KeyFile), []byte(key.Reveal()+"\n"))
}

// readSecret reads a key file; fix says what to do about a damaged one.
func readSecret(file, fix string) (Private, error) {
	f, err := os.Open(file)
	if err != nil {
		return Private{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return Private{}, fmt.Errorf("read key: %w", err)
	case len(data) > maxKeyFile:
		return Private{}, fmt.Errorf("key file %s is larger than %d bytes; fix: %s", file, maxKeyFile, fix)
	}
	key, err := ParsePrivate(string(data))
	if err != nil {
		return Private{}, fmt.Errorf("key file %s is damaged: %w; fix: %s", file, err, fix)
	}
	return key, nil
}

// WriteSecret writes a file whole, for the owner alone, and makes the
// directory if need be.
func WriteSecret(file string, data []byte) (err error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	// The name is always the same, so that a power cut leaves one at most.
	tmp := filepath.Join(dir, "."+filepath.Base(file)+".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write secret: %w", err)
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
			err = fmt.Errorf("write secret: %w", err)
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp, file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

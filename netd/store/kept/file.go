package kept

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"weft/netd/lease"
)

// The files of the folder. Each is a line "weft-kept/1 CRC LENGTH", with the
// CRC-32C of what follows in hex and its length in bytes, and then JSON.
const (
	ownName    = "subnets"
	leasesName = "leases"
	magic      = "weft-kept/1"
)

// maxFile limits a file: 100,000 leases take some 50 MB.
const maxFile = 64 << 20

// Owner is whose file it is.
type Owner struct {
	UUID string         `json:"uuid"`
	Pods []netip.Prefix `json:"pods"`
}

type ownFile struct {
	Owner
	Subnets []netip.Prefix `json:"subnets"`
}

type leasesFile struct {
	Owner
	Revision  int64                  `json:"revision"`
	Held      []string               `json:"held,omitempty"`
	HeldUntil int64                  `json:"heldUntil,omitempty"` // Unix time, in seconds
	Leases    map[string]lease.Lease `json:"leases"`
}

func (k *Keeper) owner() Owner { return Owner{UUID: k.config.UUID, Pods: k.config.Pods} }

// read reads a file of this node and network; false when it does not count.
func (k *Keeper) read(name string, content any, owner *Owner) bool {
	path := filepath.Join(k.config.Dir, name)
	err := readFile(path, content)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		k.config.Log.Warn("what was kept does not count", "error", err)
		return false
	case owner.UUID != k.config.UUID || !slices.Equal(owner.Pods, k.config.Pods):
		k.config.Log.Warn("what was kept does not count", "error", fmt.Errorf("%s: is of node %.64q in %v", path, owner.UUID, owner.Pods))
		return false
	}
	return true
}

func readFile(path string, content any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil {
		err = decode(data, content)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// castagnoli is the polynomial of CRC-32C (RFC 3720, section 12.1).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decode reads what encode wrote.
func decode(data []byte, content any) error {
	if len(data) > maxFile {
		return fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	if want := header(body); string(head) != want {
		return fmt.Errorf("damaged: begins with %.40q, want %q", head, want)
	}
	return json.Unmarshal(body, content)
}

func encode(content any) ([]byte, error) {
	body, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return append([]byte(header(body)+"\n"), body...), nil
}

func header(body []byte) string {
	return fmt.Sprintf("%s %08x %d", magic, crc32.Checksum(body, castagnoli), len(body))
}

// writeFile writes a file whole; only netd may read it.
func writeFile(path string, content any) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	data, err := encode(content)
	if err != nil {
		return err
	}
	if len(data) > maxFile {
		return fmt.Errorf("%d bytes, the limit is %d", len(data), maxFile)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The name is always the same, so that a power cut leaves one at most.
	tmp := filepath.Join(dir, "."+filepath.Base(path)+".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // fails when the rename has succeeded
	_, err = f.Write(data)
	if err := cmp.Or(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

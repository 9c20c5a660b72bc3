// Package identity keeps who the node is: its UUID, its machine id and the
// name it has taken, in one file on the data partition.
//
// An identity is not an address and not a name: it is made once, from random
// bytes, and stays when everything else about the node changes.
package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"weft/init/keep"
)

// Version is what the weft key of the file must say.
const Version = "identity/v1"

// maxFile is the size limit of the file, maxMachine that of a machine's name,
// in bytes.
const (
	maxFile    = 16 << 10
	maxMachine = 256
)

// An Identity is who a node is.
type Identity struct {
	// Weft names the kind and version of the file; always [Version].
	Weft string `json:"weft"`
	// UUID is the node's identity (RFC 9562, version 4), in lower case.
	UUID string `json:"uuid"`
	// MachineID is /etc/machine-id: 32 lower-case hexadecimal digits.
	MachineID string `json:"machineID"`
	// Hostname is the name the node has taken, empty before the first one,
	// and HostnameSource where it came from.
	Hostname       string `json:"hostname,omitempty"`
	HostnameSource string `json:"hostnameSource,omitempty"`
	// Machine is what its firmware calls the machine that the disk was last
	// in; empty when it calls it nothing.
	Machine string `json:"machine,omitempty"`
}

// Moved says that the disk is in another machine than before, and what is to
// be done if it was copied; empty when it is not, or when nobody knows. A
// disk that was moved keeps its identity. That of a copy is the same, and
// nothing on it tells one from the other.
func (id Identity) Moved(machine string) string {
	if machine == "" || id.Machine == "" || machine == id.Machine {
		return ""
	}
	return fmt.Sprintf("this disk was last in the machine %s and is in %s now; it goes on as node %s (uuid %s). "+
		"If the other machine still runs, one of the two disks is a copy and both are the same node: erase the data partition of the copy",
		id.Machine, machine, id.Hostname, id.UUID)
}

// ErrMalformed says that an identity file is damaged.
var ErrMalformed = errors.New("malformed identity")

// New makes an identity from random bytes.
func New(random io.Reader) (Identity, error) {
	uuid, err := uuid4(random)
	if err != nil {
		return Identity{}, err
	}
	// A machine id is 128 random bits in the form of a version 4 UUID
	// (machine-id(5)); a second draw, so that neither tells the other.
	machine, err := uuid4(random)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Weft: Version, UUID: uuid, MachineID: strings.ReplaceAll(machine, "-", "")}, nil
}

// uuid4 draws a version 4 UUID (RFC 9562 section 5.4).
func uuid4(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("identity: random bytes: %w", err)
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// Decode reads an identity file. Keys it does not know are passed over: the
// other slot may hold a newer weft that wrote them.
func Decode(data []byte) (Identity, error) {
	if len(data) > maxFile {
		return Identity{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxFile)
	}
	var id Identity
	if err := json.Unmarshal(data, &id); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case id.Weft != Version:
		return Identity{}, fmt.Errorf("%w: it is %.40q, not %q", ErrMalformed, id.Weft, Version)
	case !isUUID(id.UUID):
		return Identity{}, fmt.Errorf("%w: uuid %.60q", ErrMalformed, id.UUID)
	case len(id.MachineID) != 32 || !isHex(id.MachineID):
		return Identity{}, fmt.Errorf("%w: machine id %.60q", ErrMalformed, id.MachineID)
	case len(id.Machine) > maxMachine || strings.ContainsFunc(id.Machine, unprintable):
		return Identity{}, fmt.Errorf("%w: machine %.60q", ErrMalformed, id.Machine)
	case len(id.Hostname) > 253 || strings.ContainsAny(id.Hostname, " \t\r\n\x00/"):
		return Identity{}, fmt.Errorf("%w: hostname %.60q", ErrMalformed, id.Hostname)
	}
	return id, nil
}

// Encode is the text of the file.
func (id Identity) Encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	_ = e.Encode(id) // five strings always encode
	return b.Bytes()
}

// Load reads the identity at path, or makes one when there is none. A damaged
// file is replaced too; damage then says why, and that the node is a new one.
// The caller keeps the result with Save once it has a name.
func Load(path string, random io.Reader) (id Identity, isNew bool, damage, err error) {
	data, err := keep.Read(path, maxFile)
	if err == nil {
		if id, damage = Decode(data); damage == nil {
			return id, false, nil, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		damage = err
	}
	id, err = New(random)
	return id, true, damage, err
}

// Save keeps the identity at path, safe against a power cut at any moment.
func (id Identity) Save(path string) error { return keep.Write(path, id.Encode(), 0o600) }

// isUUID reports whether s is a UUID in lower case.
func isUUID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	hex := strings.ReplaceAll(s, "-", "")
	return len(hex) == 32 && isHex(hex)
}

// unprintable reports whether a terminal might act on a character.
func unprintable(r rune) bool { return r < ' ' || r >= 0x7f }

// isHex reports whether s is lower-case hexadecimal.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

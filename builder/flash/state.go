package flash

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"weft/builder/file"
)

// A State is how far the writing of an image to a device has come. It is kept
// in a file until all is verified.
type State struct {
	// Proof and Size tell the device, Image the image and what is done of it.
	Proof string `json:"device"`
	Size  int64  `json:"size"`
	Image string `json:"image"`
	// Done has the places of the chunks that were written.
	Done map[int64]bool `json:"done"`

	path string
}

// maxState bounds a state file: a chunk has less than 30 bytes in it.
const maxState = 64 << 20

// NewState begins the state of writing steps of an image, which begins with
// head, to a device, in a file of a folder. With resume, what the file says is taken up if it is of the same
// device, image and steps, and an error if not.
func NewState(dir string, d Device, s *Source, head []byte, steps []Chunk, resume bool) (*State, error) {
	name := sha256.Sum256([]byte(d.Proof()))
	st := &State{Proof: d.Proof(), Size: d.Size, Image: s.identity(head, steps), Done: map[int64]bool{},
		path: filepath.Join(dir, hex.EncodeToString(name[:8])+".json")}
	if !resume {
		return st, nil
	}
	f, err := os.Open(st.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Refusal{Device: d.Name, Reason: ErrNotBegun, Fix: "leave out --resume"}
	}
	if err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	defer f.Close()
	var old State
	if err := json.NewDecoder(io.LimitReader(f, maxState)).Decode(&old); err != nil {
		return nil, fmt.Errorf("resume: %s: %w\nfix: leave out --resume", st.path, err)
	}
	if old.Proof != st.Proof || old.Size != st.Size {
		return nil, &Refusal{d.Name, ErrChanged, fmt.Sprintf("%s with %d bytes was being written, this is %s with %d", old.Proof, old.Size, st.Proof, st.Size), "put that one in, or leave out --resume"}
	}
	if old.Image != st.Image {
		return nil, fmt.Errorf("device %s: another image was being written to it\nfix: name that one, or leave out --resume", d.Name)
	}
	for _, c := range steps {
		if old.Done[c.Start] {
			st.Done[c.Start] = true
		}
	}
	return st, nil
}

// identity tells an image with its steps from others by its head, where its
// ids are, and its size and holes. It need not tell more: what was written is
// compared with the image, chunk by chunk.
func (s *Source) identity(head []byte, steps []Chunk) string {
	h := sha256.New()
	h.Write(head)
	fmt.Fprintln(h, s.Map)
	for _, c := range steps {
		fmt.Fprintln(h, c.Start, c.Size, c.Zero, sumOf(c.Bytes))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Save writes the state, whole or not at all.
func (s *State) Save() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return file.WritePrivate(s.path, func(f *os.File) error { return json.NewEncoder(f).Encode(s) })
}

// Remove forgets the state.
func (s *State) Remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

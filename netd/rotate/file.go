package rotate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// StateFile is what a rotation has to remember, beside the key file
// ([wireguard.KeyFile]) in the directory of state. It holds keys.
const StateFile = "wireguard.json"

// maxStateFile limits the file: two lines for each of some 10,000 peers.
const maxStateFile = 4 << 20

// stored is the file. It says to which main key it belongs.
type stored struct {
	Main   wanted.Key   `json:"main"`
	Made   time.Time    `json:"made"`
	Step   Step         `json:"step,omitempty"`
	Since  time.Time    `json:"since,omitzero"`
	Next   string       `json:"next,omitempty"`
	Lane   string       `json:"lane,omitempty"`
	Via    []wanted.Key `json:"via,omitempty"`
	With   []wanted.Key `json:"with,omitempty"`
	Stayed []wanted.Key `json:"stayed,omitempty"`
	Asked  bool         `json:"asked,omitempty"`
	Held   time.Time    `json:"held,omitzero"`
}

// Load reads a node's state from its directory. A node without a key gets one.
// note is for the log: what was found amiss without being fatal. A damaged key
// file is an error: another key would cut the node off from peers that have a
// list of keys.
func Load(dir string, now time.Time, newKey func() wireguard.Private) (s State, note string, err error) {
	s.Main, err = wireguard.ReadKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		s = State{Main: newKey(), Made: now}
		if err := wireguard.WriteKey(dir, s.Main); err != nil {
			return State{}, "", err
		}
		return s, "", s.write(dir)
	}
	if err != nil {
		return State{}, "", err
	}
	s.Made = now
	file, err := read(filepath.Join(dir, StateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, "", s.write(dir) // the key came from elsewhere
	case err != nil:
		return s, "a key that was being replaced is not any longer: " + err.Error(), s.write(dir)
	}
	full, err := file.state(s.Main)
	if err != nil {
		return s, "a key that was being replaced is not any longer: " + err.Error(), s.write(dir)
	}
	return full, "", nil
}

func read(path string) (file stored, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return file, err
	}
	if info.Size() > maxStateFile {
		return file, fmt.Errorf("%s is larger than %d bytes", path, maxStateFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return file, err
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return file, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// state is the state that a file holds for a main key.
func (f stored) state(main wireguard.Private) (State, error) {
	s := State{Main: main, Made: f.Made, Step: f.Step, Since: f.Since, Via: f.Via, With: f.With, Stayed: f.Stayed, Asked: f.Asked, Held: f.Held}
	for _, key := range []struct {
		text string
		into *wireguard.Private
	}{{f.Next, &s.Next}, {f.Lane, &s.Lane}} {
		if key.text == "" {
			continue
		}
		var err error
		if *key.into, err = wireguard.ParsePrivate(key.text); err != nil {
			return State{}, fmt.Errorf("%s: %w", StateFile, err)
		}
	}
	switch {
	case main.Public() == f.Main:
	case s.Step == StepKey && main == s.Next:
		// The node died between the two files, and with it who was taken out of
		// the main device: any peer may have stayed there.
		s.Step, s.Next, s.Made, s.Held, s.Stayed = StepDone, wireguard.Private{}, s.Since, time.Time{}, s.Via
	default:
		return State{}, fmt.Errorf("%s belongs to another key", StateFile)
	}
	switch s.Step {
	case StepNone, StepLane, StepKey, StepDone:
	default:
		return State{}, fmt.Errorf("%s: unknown step %q", StateFile, s.Step)
	}
	if s.Rotating() && s.Lane.IsZero() || s.Step.needsLane() && s.Next.IsZero() {
		return State{}, fmt.Errorf("%s lacks keys", StateFile)
	}
	return s, nil
}

// Save writes what follows on s to the directory: first the main key, if it is
// another, then the rest.
func (s State) Save(dir string, next State) error {
	if next.Main != s.Main {
		if err := wireguard.WriteKey(dir, next.Main); err != nil {
			return err
		}
	}
	if next.Equal(s) {
		return nil
	}
	return next.write(dir)
}

func (s State) write(dir string) error {
	file := stored{Main: s.Main.Public(), Made: s.Made, Step: s.Step, Since: s.Since, Via: s.Via, With: s.With, Stayed: s.Stayed,
		Asked: s.Asked, Held: s.Held}
	if !s.Next.IsZero() {
		file.Next = s.Next.Reveal()
	}
	if !s.Lane.IsZero() {
		file.Lane = s.Lane.Reveal()
	}
	data, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("state of the WireGuard key: %w", err)
	}
	return wireguard.WriteSecret(filepath.Join(dir, StateFile), append(data, '\n'))
}

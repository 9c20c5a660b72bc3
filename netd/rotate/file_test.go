package rotate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/netd/wanted"
	"weft/netd/wireguard"
)

func TestRotationIsTakenUpWhereACrashLeftIt(t *testing.T) {
	for _, step := range []Step{StepNone, StepLane, StepKey, StepDone} {
		t.Run("step "+string(step), func(t *testing.T) {
			dir := t.TempDir()
			s, _, err := Load(dir, start, wireguard.New)
			if err != nil {
				t.Fatal(err)
			}
			then := s
			if step != StepNone {
				then.Step, then.Since, then.Lane, then.Via, then.With = step, start.Add(time.Minute), wireguard.New(), []wanted.Key{public(1)}, []wanted.Key{public(1)}
			}
			if step.needsLane() {
				then.Next = wireguard.New()
			}
			if err := s.Save(dir, then); err != nil {
				t.Fatal(err)
			}
			again, note, err := Load(dir, start.Add(time.Hour), wireguard.New)
			if err != nil || note != "" || !again.Equal(then) {
				t.Errorf("loaded %+v, %q, %v; want %+v", again, note, err, then)
			}
		})
	}
}

// The key file is written before the rest; a node that dies between the two
// must not take its own new key for a stranger's.
func TestCrashBetweenTheTwoFilesIsTheNewKey(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Load(dir, start, wireguard.New)
	if err != nil {
		t.Fatal(err)
	}
	then := s
	then.Step, then.Since, then.Next, then.Lane, then.Via = StepKey, start, wireguard.New(), wireguard.New(), []wanted.Key{public(1)}
	if err := s.Save(dir, then); err != nil {
		t.Fatal(err)
	}
	if err := wireguard.WriteKey(dir, then.Next); err != nil {
		t.Fatal(err)
	}
	again, note, err := Load(dir, start, wireguard.New)
	if err != nil || note != "" || again.Step != StepDone || again.Main != then.Next || again.Lane != then.Lane {
		t.Errorf("loaded %+v, %q, %v", again, note, err)
	}
	if !slices.Equal(again.Stayed, then.Via) { // who was taken out of the device is not known any longer
		t.Errorf("peers that may have stayed are %v", again.Stayed)
	}
}

// A file whose step has no lane would never come to its end.
func TestStepWithoutALaneIsNotTakenUp(t *testing.T) {
	for _, step := range []Step{StepLane, StepKey, StepDone} {
		dir := t.TempDir()
		s, _, err := Load(dir, start, wireguard.New)
		if err != nil {
			t.Fatal(err)
		}
		then := s
		then.Step, then.Since, then.Next = step, start, wireguard.New()
		if err := s.Save(dir, then); err != nil {
			t.Fatal(err)
		}
		if again, note, err := Load(dir, start, wireguard.New); err != nil || note == "" || again.Rotating() || again.Main != s.Main {
			t.Errorf("step %s: loaded %+v, %q, %v", step, again, note, err)
		}
	}
}

func TestKeyOfSomebodyElseEndsTheRotation(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Load(dir, start, wireguard.New)
	if err != nil {
		t.Fatal(err)
	}
	then := s
	then.Step, then.Next, then.Lane = StepLane, wireguard.New(), wireguard.New()
	if err := s.Save(dir, then); err != nil {
		t.Fatal(err)
	}
	theirs := wireguard.New()
	if err := wireguard.WriteKey(dir, theirs); err != nil {
		t.Fatal(err)
	}
	again, note, err := Load(dir, start, wireguard.New)
	if err != nil || note == "" || again.Rotating() || again.Main != theirs {
		t.Errorf("loaded %+v, %q, %v", again, note, err)
	}
}

func TestDamagedStateIsToldAndDamagedKeyRefused(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Load(dir, start, wireguard.New)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, StateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, note, err := Load(dir, start, wireguard.New)
	if err != nil || note == "" || again.Main != s.Main {
		t.Errorf("damaged state: %+v, %q, %v", again, note, err)
	}
	secret := s.Main.Reveal()
	if err := os.WriteFile(filepath.Join(dir, wireguard.KeyFile), []byte(secret[:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = Load(dir, start, wireguard.New)
	if err == nil || !strings.Contains(err.Error(), wireguard.KeyFile) || strings.Contains(err.Error(), secret[:8]) {
		t.Errorf("damaged key: %v", err)
	}
}

func TestFilesOfKeysAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Load(dir, start, wireguard.New); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{wireguard.KeyFile, StateFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	s := inLane()
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", s, s, s, s.Main), s.Waiting(nil)} {
		for _, key := range []wireguard.Private{s.Main, s.Next, s.Lane} {
			if strings.Contains(text, key.Reveal()) {
				t.Errorf("a key is in %s", text)
			}
		}
	}
}

package vm

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestStateOfKilledProgramsIsRemovedAndNobodyElses(t *testing.T) {
	parent := t.TempDir()
	begin := time.Now()
	inUse, release, err := makeState(parent, begin)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(parent, statePrefix+"left")
	foreign := filepath.Join(parent, "other")
	for _, dir := range []string{left, foreign} {
		if err := os.MkdirAll(filepath.Join(dir, "inside"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	removeStale(parent, begin.Add(time.Minute))
	if !exists(left) {
		t.Error("a young directory was removed: its program may be about to lock it")
	}
	removeStale(parent, begin.Add(2*stateAge))
	if exists(left) || !exists(foreign) || !exists(inUse) {
		t.Errorf("left behind %v, foreign %v, in use %v; want only the first removed", exists(left), exists(foreign), exists(inUse))
	}
	release()
	if exists(inUse) {
		t.Error("the directory outlived its release")
	}
}

package switchroot

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEmptyRemovesAllOfOneDevice(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"a/b/c", "a/d", "e"} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A link out of the tree is removed, what it points to is not.
	outside := filepath.Join(t.TempDir(), "keep")
	if err := os.WriteFile(outside, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := Empty(dir, st.Dev+1); err != nil {
		t.Errorf("another device: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Fatalf("what lies on another device was removed: %v", entries)
	}
	if err := Empty(dir, st.Dev); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if err := Empty(filepath.Join(dir, "none"), st.Dev); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

func TestThisIsNoInitramfs(t *testing.T) {
	if _, err := InInitramfs(); err != nil {
		t.Error(err)
	}
}

package builder

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weft/builder/apt"
)

func entry(name, version, arch string, wanted ...string) apt.Entry {
	return apt.Entry{Name: name, Version: version, Arch: arch, Suite: "trixie", For: wanted}
}

func TestRelockingReplacesWhatWasLookedUpAndKeepsTheRest(t *testing.T) {
	old := &apt.Lock{Epoch: 200, Packages: []apt.Entry{
		entry("linux-image-6.12.1", "1", "amd64", "linux-image-amd64"),
		entry("systemd-boot-efi", "1", "amd64"),
		entry("systemd-boot-efi", "1", "arm64"),
		entry("firmware-realtek", "1", "amd64"),
	}}
	fresh := &apt.Lock{Epoch: 100, Packages: []apt.Entry{
		entry("linux-image-6.12.2", "2", "amd64", "linux-image-amd64"),
		entry("systemd-boot-efi", "2", "amd64"),
	}}
	got := merge(old, fresh)
	var names []string
	for _, e := range got.Packages {
		names = append(names, e.Name+" "+e.Version+" "+e.Arch)
	}
	slices.Sort(names)
	want := []string{
		"firmware-realtek 1 amd64",
		"linux-image-6.12.2 2 amd64",
		"systemd-boot-efi 1 arm64",
		"systemd-boot-efi 2 amd64",
	}
	if !slices.Equal(names, want) {
		t.Errorf("packages:\n got %q\nwant %q", names, want)
	}
	if got.Epoch != 200 {
		t.Errorf("epoch %d: time went back", got.Epoch)
	}
	if merge(nil, fresh) != fresh {
		t.Error("without an old lock the new one is not taken as it is")
	}
}

func TestTheLockIsWrittenWholeAndForAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "weft.lock")
	for range 2 { // the second time over the first
		if err := WriteLock(path, &apt.Lock{Weft: apt.LockVersion, Epoch: 1}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apt.ReadLock(path, data); err != nil {
		t.Errorf("what was written cannot be read: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".weft.lock-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

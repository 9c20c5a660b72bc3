package builder

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func TestRelockingOneProfileLeavesWhatAnotherNeeds(t *testing.T) {
	old := &apt.Lock{Epoch: 1, Packages: []apt.Entry{
		entry("iptables", "1", "amd64"),
		entry("libmnl0", "1", "amd64", "iptables"),
		entry("libc6", "1", "amd64", "iptables", "strongswan-charon"),
		entry("libcap2", "1", "amd64", "iptables", "strongswan-charon"),
		entry("libgone", "1", "amd64", "strongswan-charon"),
		entry("strongswan-charon", "1", "amd64"),
	}}
	fresh := &apt.Lock{Epoch: 2, Packages: []apt.Entry{
		entry("libc6", "2", "amd64", "strongswan-charon"),
		entry("strongswan-charon", "2", "amd64"),
	}}
	got := merge(old, fresh)
	var all []string
	for _, e := range got.Packages {
		all = append(all, e.Name+" "+e.Version+" for "+strings.Join(e.For, ","))
	}
	slices.Sort(all)
	want := []string{
		"iptables 1 for ",
		"libc6 2 for iptables,strongswan-charon",
		"libcap2 1 for iptables",
		"libmnl0 1 for iptables",
		"strongswan-charon 2 for ",
	}
	if !slices.Equal(all, want) {
		t.Errorf("packages:\n got %q\nwant %q", all, want)
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

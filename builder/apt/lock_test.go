package apt

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"weft/builder/apt/fault"
	"weft/document"
)

var update = flag.Bool("update", false, "write the golden files anew")

func mkdirAll(path string) error { return os.MkdirAll(path, 0o755) }

func sampleLock() *Lock {
	sum := strings.Repeat("0123456789abcdef", 4)
	return &Lock{Weft: LockVersion, Epoch: 1789199741, Packages: []Entry{
		{Name: "systemd-boot-efi", Version: "257.13-1~deb13u1", Arch: "amd64", Suite: "trixie", Component: "main",
			Path: "pool/main/s/systemd/systemd-boot-efi_257.13-1~deb13u1_amd64.deb", Size: 135912, SHA256: sum},
		{Name: "linux-image-6.12.107+deb13-cloud-amd64", Version: "6.12.107-1", Arch: "amd64", Suite: "trixie", Component: "main",
			Path: "pool/main/l/linux-signed-amd64/linux-image-6.12.107+deb13-cloud-amd64_6.12.107-1_amd64.deb", Size: 34402644, SHA256: sum,
			For: []string{"linux-image-cloud-amd64"}},
		{Name: "0ad", Version: "1:30", Arch: "arm64", Suite: "trixie", Component: "main", Path: "pool/main/0/0ad/0ad_30_arm64.deb", Size: 5, SHA256: sum},
	}}
}

func TestTheLockFileIsStableAndReadsBack(t *testing.T) {
	const golden = "testdata/weft.lock"
	l := sampleLock()
	data := l.Bytes()
	if *update {
		if err := os.WriteFile(golden, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != string(data) {
		t.Errorf("differs from %s (%v):\n%s", golden, err, data)
	}
	back, err := ReadLock("weft.lock", data)
	if err != nil {
		t.Fatal(err)
	}
	if string(back.Bytes()) != string(data) {
		t.Errorf("read and written again:\n%s", back.Bytes())
	}
	l.Packages[0], l.Packages[2] = l.Packages[2], l.Packages[0]
	if string(l.Bytes()) != string(data) {
		t.Error("the order of the entries shows in the file")
	}
	empty := Lock{Weft: LockVersion, Epoch: 1}
	if _, err := ReadLock("weft.lock", empty.Bytes()); err != nil {
		t.Errorf("an empty lock: %v", err)
	}
}

func TestHostileLocksAreRefused(t *testing.T) {
	good := string(sampleLock().Bytes())
	path := "pool/main/s/systemd/systemd-boot-efi_257.13-1~deb13u1_amd64.deb"
	for name, c := range map[string]struct{ old, new, want string }{
		"another version":      {"weft: lock/v1", "weft: lock/v2", "this weft reads lock/v1"},
		"no epoch":             {"epoch: 1789199741", "epoch: 0", "seconds since 1970"},
		"path with dot dot":    {path, "pool/../../etc/x.deb", "leads out of the mirror"},
		"path of another host": {path, "https://evil.example/x.deb", "not relative to the mirror"},
		"absolute path":        {path, "/etc/x.deb", "not relative to the mirror"},
		"path outside pool":    {path, "dists/x.deb", "not a .deb file under pool/"},
		"path of no deb":       {path, "pool/x.udeb", "not a .deb file under pool/"},
		"path with a space":    {path, `"pool/x y.deb"`, "characters"},
		"path with backslash":  {path, `"pool/x\\y.deb"`, "characters"},
		"double slash":         {path, "pool//x.deb", "leads out of the mirror"},
		"size of nothing":      {"size: 135912", "size: 0", "size must be between"},
		"size of the world":    {"size: 135912", "size: 99999999999999", "size must be between"},
		"short checksum":       {`sha256: "0123456789abcdef`, `sha256: "`, "no SHA-256"},
		"upper-case checksum":  {"0123456789abcdef", "0123456789ABCDEF", "no SHA-256"},
		"name with a slash":    {"name: systemd-boot-efi", "name: ../systemd-boot-efi", "no package name"},
		"version with a slash": {"257.13-1~deb13u1\"", "257/..\"", "no version"},
		"unknown key":          {"component: main", "mirror: http://evil.example", `unknown key "mirror"`},
		"same package twice":   {"name: systemd-boot-efi", "name: linux-image-6.12.107+deb13-cloud-amd64", "here twice"},
		"hostile for":          {"[linux-image-cloud-amd64]", "[../x]", "no package name"},
		"two documents":        {"packages:", "---\npackages:", "second document"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("the case changes nothing")
			}
			_, err := ReadLock("weft.lock", []byte(text))
			var problems document.Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "weft.lock:") {
				t.Errorf("got %v, want %q with its line", err, c.want)
			}
		})
	}
}

func TestAllThatIsWrongWithALockIsSaid(t *testing.T) {
	text := strings.ReplaceAll(string(sampleLock().Bytes()), "size: ", "size: -")
	_, err := ReadLock("weft.lock", []byte(text))
	var problems document.Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Errorf("got %v", err)
	}
}

func TestSelectFindsWhatARequestNeeds(t *testing.T) {
	l := sampleLock()
	r := Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-cloud-amd64", Packages: []string{"systemd-boot-efi"}}
	kernel, packages, err := l.Select(r)
	if err != nil || len(kernel) != 1 || kernel[0].Name != "linux-image-6.12.107+deb13-cloud-amd64" || len(packages) != 1 {
		t.Errorf("got %v %v %v", kernel, packages, err)
	}
	r.Kernel = "linux-image-6.12.107+deb13-cloud-amd64"
	if kernel, _, err = l.Select(r); err != nil || len(kernel) != 1 {
		t.Errorf("by its own name: %v %v", kernel, err)
	}
	for name, c := range map[string]struct {
		r    Request
		want string
	}{
		"no kernel":     {Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-amd64"}, "package linux-image-amd64: the lock does not have it"},
		"no package":    {Request{Suite: "trixie", Arch: "amd64", Packages: []string{"bash"}}, "package bash"},
		"other arch":    {Request{Suite: "trixie", Arch: "arm64", Packages: []string{"systemd-boot-efi"}}, "it has it for suite trixie, architecture amd64"},
		"other suite":   {Request{Suite: "bookworm", Arch: "amd64", Packages: []string{"systemd-boot-efi"}}, "for suite bookworm"},
		"other kernels": {Request{Suite: "bookworm", Arch: "amd64", Kernel: "linux-image-cloud-amd64"}, "for suite bookworm"},
	} {
		_, _, err := l.Select(c.r)
		if !errors.Is(err, fault.NotLocked) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "weft lock --update") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzLock reads broken locks; what passes must be safe and read back.
func FuzzLock(f *testing.F) {
	f.Add(sampleLock().Bytes())
	f.Add([]byte("weft: lock/v1\nepoch: 1\npackages: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ReadLock("weft.lock", data)
		if err != nil {
			return
		}
		for _, e := range l.Packages {
			if err := checkEntry(e); err != nil {
				t.Error(err)
			}
		}
		if _, err := ReadLock("weft.lock", l.Bytes()); err != nil {
			t.Errorf("written again: %v\n%s", err, l.Bytes())
		}
	})
}

package apt

import (
	"crypto/sha256"
	"os"
	"testing"
	"time"

	"weft/builder/apt/store"
)

// sumOf computes a checksum.
func sumOf(data []byte) [32]byte { return sha256.Sum256(data) }

// TestTheRealArchive goes the whole way once with Debian's own signature,
// index and package, from the mirror that WEFT_MIRROR or the apt sources of
// this machine name.
func TestTheRealArchive(t *testing.T) {
	mirror, origin, err := ChooseMirror("", os.Getenv("WEFT_MIRROR"), os.DirFS("/"))
	if err != nil {
		t.Fatalf("this test needs a Debian mirror: %v", err)
	}
	t.Logf("mirror from %s", origin)
	cache, err := store.Open(t.TempDir(), time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Mirror: mirror, Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-cloud-amd64", Packages: []string{"systemd-boot-efi"}}
	l, err := s.Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	kernel, packages, err := l.Select(r)
	if err != nil || len(kernel) == 0 {
		t.Fatalf("no kernel: %v", err)
	}
	for _, e := range kernel {
		t.Logf("kernel %s %s, %d bytes", e.Name, e.Version, e.Size)
	}
	p, err := s.Fetch(t.Context(), packages[0])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const loader = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
	data, err := p.ReadFile(loader)
	if err != nil || len(data) < 50_000 || string(data[:2]) != "MZ" {
		t.Errorf("%s: %d bytes, %v", loader, len(data), err)
	}
}

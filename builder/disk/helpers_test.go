package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"
)

const mib = 1 << 20

// need returns the path of a tool, or fails the test. Some tools live in sbin,
// which is not everybody's path.
func need(t *testing.T, tool, pkg string) string {
	t.Helper()
	for _, path := range []string{tool, "/usr/sbin/" + tool, "/sbin/" + tool} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("install %s (%s): make deps", pkg, tool)
	return ""
}

func testLayout(t testing.TB) Layout {
	t.Helper()
	l, err := Plan(DeriveIDs("test"), Sizes{Arch: "amd64", BIOS: true, Boot: 8 * mib, Root: 4 * mib, Data: 4 * mib})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// noise returns n bytes that are the same in every run.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], random.Uint64())
	}
	return b
}

// testSource is an image with something in most partitions.
func testSource(t testing.TB) Source {
	return Source{
		Layout:   testLayout(t),
		BootCode: noise(1, BootCodeSize),
		Contents: map[string]Producer{
			BIOS: Bytes(noise(2, 48<<10)),
			Boot: func(_ context.Context, w *Window) error {
				_, err := w.WriteAt(noise(3, 64<<10), 512)
				if err == nil {
					_, err = w.WriteAt(noise(4, 100), w.Size()-100)
				}
				return err
			},
			Data: func(_ context.Context, w *Window) error {
				_, err := w.WriteAt(make([]byte, mib), 0)
				if err == nil {
					_, err = io.WriteString(io.NewOffsetWriter(w, 3*mib), "data")
				}
				return err
			},
		},
		Digest: true,
	}
}

var errTest = errors.New("the producer failed")

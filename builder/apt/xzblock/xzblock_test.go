package xzblock

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// memory is an io.WriterAt over a byte slice that grows.
type memory struct{ f *os.File }

func newMemory(t testing.TB) memory {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return memory{f}
}

func (m memory) WriteAt(p []byte, off int64) (int, error) { return m.f.WriteAt(p, off) }

func (m memory) bytes(t testing.TB) []byte {
	data, err := os.ReadFile(m.f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// xz compresses data with the xz tool, the oracle.
func xzTool(t testing.TB, data []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("xz")
	if err != nil {
		t.Fatal("install xz-utils: make deps")
	}
	cmd := exec.Command(path, append(args, "-c")...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz %v: %v", args, err)
	}
	return out
}

// sample is text and noise, so that both kinds of LZMA2 chunk occur.
func sample(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, 0, n+64)
	for len(out) < n {
		if random.IntN(3) == 0 {
			for range 200 {
				out = append(out, byte(random.Uint32()))
			}
		}
		out = append(out, "the quick brown fox jumps over the lazy dog "...)
	}
	return out[:n]
}

func decode(t testing.TB, file []byte, limit int64) ([]byte, error) {
	t.Helper()
	out := newMemory(t)
	n, err := Decode(context.Background(), out, bytes.NewReader(file), int64(len(file)), Options{Limit: limit, Workers: 4})
	if err != nil {
		return nil, err
	}
	got := out.bytes(t)
	if int64(len(got)) != n {
		t.Errorf("Decode says %d bytes, wrote %d", n, len(got))
	}
	return got, nil
}

func TestWhatXzCompressesComesBack(t *testing.T) {
	text := sample(512 << 10)
	for name, file := range map[string][]byte{
		"one block":              xzTool(t, text),
		"blocks of 256 KiB":      xzTool(t, text, "-T2", "--block-size=262144"),
		"sizes left out":         xzTool(t, text, "-T1", "--block-size=100000"),
		"no checksum":            xzTool(t, text, "--check=none", "--block-size=128KiB"),
		"CRC32":                  xzTool(t, text, "--check=crc32", "--block-size=128KiB"),
		"SHA-256":                xzTool(t, text, "--check=sha256", "--block-size=128KiB"),
		"dictionary of 64 MiB":   xzTool(t, text, "-9"),
		"two streams":            append(xzTool(t, text[:200_000]), xzTool(t, text[200_000:], "-T2", "--block-size=262144")...),
		"two streams, padded":    append(append(xzTool(t, text[:100]), make([]byte, 8)...), append(xzTool(t, text[100:]), make([]byte, 4)...)...),
		"an empty stream before": append(xzTool(t, nil), xzTool(t, text)...),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decode(t, file, int64(len(text)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, text) {
				t.Error("contents differ from what xz compressed")
			}
		})
	}
}

func TestAnEmptyFileHasNoContents(t *testing.T) {
	got, err := decode(t, xzTool(t, nil), 0)
	if err != nil || len(got) != 0 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestProgressAddsUpToTheContents(t *testing.T) {
	text := sample(1 << 20)
	file := xzTool(t, text, "-T2", "--block-size=65536")
	var sum atomic.Int64
	_, err := Decode(context.Background(), newMemory(t), bytes.NewReader(file), int64(len(file)),
		Options{Limit: 1 << 20, Written: func(n int) { sum.Add(int64(n)) }})
	if err != nil || sum.Load() != 1<<20 {
		t.Errorf("reported %d bytes, %v", sum.Load(), err)
	}
}

func TestCancelledDecodingStops(t *testing.T) {
	file := xzTool(t, sample(1<<20), "-T2", "--block-size=65536")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Decode(ctx, newMemory(t), bytes.NewReader(file), int64(len(file)), Options{Limit: 1 << 20})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestBrokenFilesAreRefused(t *testing.T) {
	text := sample(1 << 20)
	good := xzTool(t, text, "-T2", "--block-size=262144")
	flip := func(at int) []byte {
		out := bytes.Clone(good)
		if at < 0 {
			at += len(out)
		}
		out[at] ^= 0x10
		return out
	}
	hugeDictionary := bytes.Clone(good)
	binary.LittleEndian.PutUint32(hugeDictionary[headerSize+16:], 0)
	i := bytes.Index(hugeDictionary[headerSize:headerSize+20], []byte{0x21, 1}) + headerSize
	hugeDictionary[i+2] = 40
	binary.LittleEndian.PutUint32(hugeDictionary[headerSize+16:], crc32.ChecksumIEEE(hugeDictionary[headerSize:headerSize+16]))

	for name, c := range map[string]struct {
		file  []byte
		limit int64
		want  error
		text  string
	}{
		"no bytes":                 {nil, 1 << 20, ErrFormat, "no xz file"},
		"not xz at all":            {bytes.Repeat([]byte("text"), 100), 1 << 20, ErrFormat, "footer"},
		"only zeros":               {make([]byte, 4096), 1 << 20, ErrFormat, "no stream"},
		"cut in the middle":        {good[:len(good)/2&^3], 1 << 20, ErrFormat, "footer"},
		"first byte":               {flip(0), 1 << 20, ErrFormat, "stream header"},
		"a byte of the contents":   {flip(5000), 1 << 20, ErrFormat, "block at byte 12"},
		"a byte of the index":      {flip(-20), 1 << 20, ErrFormat, "index"},
		"a byte of the footer":     {flip(-6), 1 << 20, ErrFormat, "footer"},
		"contents over the limit":  {good, 1<<20 - 1, ErrTooLarge, "more than 1048575 bytes"},
		"dictionary of 4 GiB":      {hugeDictionary, 1 << 20, ErrTooLarge, "dictionary"},
		"x86 branch filter":        {xzTool(t, text, "--x86", "--lzma2"), 1 << 20, ErrFormat, "other than LZMA2"},
		"bytes after the last one": {append(bytes.Clone(good), "more"...), 1 << 20, ErrFormat, "footer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(t, c.file, c.limit)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
}

// FuzzDecode feeds broken files; nothing but an error may come of them, and
// never more contents than the limit.
func FuzzDecode(f *testing.F) {
	for _, args := range [][]string{{}, {"-T2", "--block-size=200"}, {"--check=none"}} {
		f.Add(xzTool(f, sample(600), args...))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		const limit = 1 << 16
		out := limited{limit}
		n, err := Decode(context.Background(), out, bytes.NewReader(file), int64(len(file)), Options{Limit: limit, Workers: 2})
		if err == nil && n > limit {
			t.Errorf("%d bytes passed the limit", n)
		}
	})
}

// limited refuses writes beyond its length.
type limited struct{ n int64 }

func (l limited) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > l.n {
		panic("write beyond the limit")
	}
	return len(p), nil
}

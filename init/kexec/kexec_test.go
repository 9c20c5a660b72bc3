package kexec

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func image(size int) []byte {
	b := bytes.Repeat([]byte("weft"), size/4)
	clear(b[:headerSize])
	copy(b[offsetMagic:], magic)
	return b
}

func packed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestKernelsAreUnpacked(t *testing.T) {
	want := image(1 << 20)
	for name, data := range map[string][]byte{"plain": want, "gzip": packed(t, want)} {
		if got, err := unpack(bytes.NewReader(data)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestWhatIsNoKernelIsRefused(t *testing.T) {
	whole := packed(t, image(1<<20))
	for name, test := range map[string]struct {
		in   io.Reader
		want string
	}{
		"nothing":            {strings.NewReader(""), "no Image of arm64"},
		"a bzImage":          {bytes.NewReader(bytes.Repeat([]byte{0}, 4096)), "no Image of arm64"},
		"gzip of a text":     {bytes.NewReader(packed(t, []byte("text"))), "no Image of arm64"},
		"half a gzip":        {bytes.NewReader(whole[:len(whole)/2]), "unexpected EOF"},
		"a damaged gzip":     {bytes.NewReader(append(whole[:len(whole)-5:len(whole)-5], "wrong"...)), "checksum"},
		"one without an end": {zeros{}, "more than 128 MiB"},
	} {
		if _, err := unpack(test.in); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestRefusalsOfTheRunningKernelAreToldFromBadKernels(t *testing.T) {
	for err, refused := range map[error]bool{unix.EBUSY: true, unix.ENOSYS: true, unix.EPERM: true, unix.EINVAL: false} {
		if got := explain(err); errors.Is(got, ErrRefused) != refused || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// iomem is what -M virt with 512 MiB shows, shortened.
const iomem = `09000000-09000fff : pl011@9000000
  09000000-09000fff : 9000000.pl011 pl011@9000000
40000000-5fffffff : System RAM
  40210000-422effff : Kernel code
  422f0000-4282ffff : reserved
  48000000-483fffff : reserved
8000000000-ffffffffff : PCIe
`

func TestWhatIsLoadedLiesInFreeMemoryInOnePiece(t *testing.T) {
	k := Kernel{Image: bytes.NewReader(image(40 << 20)), Initrd: strings.NewReader("initramfs"), CommandLine: "quiet"}
	segments, entry, err := layout(k, Machine{Tree: sampleTree(t), Memory: iomem, Seed: make([]byte, 72)})
	if err != nil {
		t.Fatal(err)
	}
	end := uint64(0x42830000)
	for _, s := range segments {
		if s.at < end || s.at%pageSize != 0 || s.size%pageSize != 0 || s.size < uint64(len(s.data)) {
			t.Errorf("segment at %#x of %d bytes with %d of data; the one before ends at %#x", s.at, s.size, len(s.data), end)
		}
		end = s.at + s.size
	}
	if segments[0].at != 0x42a00000 || entry != segments[3].at || end > 0x48000000 {
		t.Errorf("the kernel is at %#x, and all ends at %#x", segments[0].at, end)
	}
	if _, _, err := layout(Kernel{Image: bytes.NewReader(image(1 << 20))}, Machine{Memory: "00000000-000fffff : System RAM\n"}); err == nil || !strings.Contains(err.Error(), "in one piece") {
		t.Errorf("a MiB of memory: %v", err)
	}
}

func TestMemoryThatIsTakenIsLeftAlone(t *testing.T) {
	free, err := freeMemory(iomem)
	want := []span{{0x40000000, 0x40210000}, {0x42830000, 0x48000000}, {0x48400000, 0x60000000}}
	if err != nil || !slices.Equal(free, want) {
		t.Errorf("free: %x, %v; want %x", free, err, want)
	}
	for _, text := range []string{"", "0-1 : reserved\n", "x-1 : System RAM\n", "2-1 : System RAM\n"} {
		if free, err := freeMemory(text); err == nil {
			t.Errorf("%q: %x", text, free)
		}
	}
}

// source is a tree with all that the editor meets.
const source = `/dts-v1/;
/memreserve/ 0x0 0x1000;
/ {
	#address-cells = <2>;
	model = "board";
	chosen {
		bootargs = "old";
		stdout-path = "/pl011";
		rng-seed = [01 02 03];
		linux,initrd-start = <0x48000000>;
		inner { bootargs = "other"; };
	};
	cpus { cpu@0 { enable-method = "spin-table"; bootargs = "none"; }; };
};
`

// dtc runs the device tree compiler.
func dtc(t testing.TB, in []byte, from, to string) []byte {
	t.Helper()
	path, err := exec.LookPath("dtc")
	if err != nil {
		t.Fatal("install device-tree-compiler: make deps")
	}
	cmd := exec.Command(path, "-q", "-I", from, "-O", to)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dtc: %v", err)
	}
	return out
}

func sampleTree(t testing.TB) []byte { return dtc(t, []byte(source), "dts", "dtb") }

func TestDtcReadsWhatTheKernelIsTold(t *testing.T) {
	tree, err := withChosen(sampleTree(t), chosen("console=ttyS1 quiet", 0x4a000000, 9, make([]byte, 8)))
	if err != nil {
		t.Fatal(err)
	}
	text := string(dtc(t, tree, "dtb", "dts"))
	for _, want := range []string{
		"/memreserve/\t0x0000000000000000 0x0000000000001000;", `bootargs = "console=ttyS1 quiet";`, `stdout-path = "/pl011";`,
		"linux,initrd-start = <0x00 0x4a000000>;", "linux,initrd-end = <0x00 0x4a000009>;", `bootargs = "other";`, `bootargs = "none";`,
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("not once in the tree: %s\n%s", want, text)
		}
	}
	if strings.Contains(text, "seed") || strings.Contains(text, `"old"`) {
		t.Errorf("something old is left:\n%s", text)
	}
	// Without initramfs, and without /chosen.
	bare := dtc(t, []byte("/dts-v1/;\n/ { a { }; };\n"), "dts", "dtb")
	if tree, err = withChosen(bare, chosen("quiet", 0, 0, make([]byte, 72))); err != nil {
		t.Fatal(err)
	}
	if text := string(dtc(t, tree, "dtb", "dts")); !strings.Contains(text, `bootargs = "quiet";`) || !strings.Contains(text, "rng-seed") || strings.Contains(text, "initrd") {
		t.Errorf("the tree without /chosen became\n%s", text)
	}
}

func TestDamagedTreesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(b []byte) []byte
		want   string
	}{
		{"half a header", func(b []byte) []byte { return b[:20] }, "it has 20 bytes"},
		{"another magic", func(b []byte) []byte { b[0] = 0; return b }, "no sound header"},
		{"cut off", func(b []byte) []byte { return b[:len(b)-8] }, "no sound header"},
		{"a structure outside", func(b []byte) []byte { b[8] = 0xff; return b }, "blocks lie outside"},
		{"a token that is none", func(b []byte) []byte { b[structureAt(b)+3] = 7; return b }, "token 7 is not known"},
		{"an end before the beginning", func(b []byte) []byte { b[structureAt(b)+3] = tokenEnd; return b }, "did not begin"},
		{"nothing that ends it", func(b []byte) []byte { clear(b[36:40]); return b }, "it has no end"},
	} {
		_, err := withChosen(test.change(sampleTree(t)), nil)
		if !errors.Is(err, errTree) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// structureAt is where the structure of a tree begins; it is below 64 KiB.
func structureAt(tree []byte) int { return int(tree[10])<<8 | int(tree[11]) }

func FuzzTree(f *testing.F) {
	f.Add(sampleTree(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := withChosen(data, chosen("quiet", 1, 1, nil))
		if err != nil {
			return
		}
		again, err := withChosen(tree, chosen("quiet", 1, 1, nil))
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if _, err := openTree(again); err != nil {
			t.Fatal(err)
		}
	})
}

package qemutests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/builder/disk"
	"weft/builder/inspect"
	"weft/event"
	"weft/profiles"
	"weft/qemu-tests/vm"
	"weft/slot"
)

// A staged is a node that begins with the boot stage. QEMU stands in for the
// firmware of a Raspberry Pi: it starts the boot stage.
type staged struct {
	cfg   vm.Config
	image *inspect.Image
	// lines are the command lines of its slots.
	lines map[slot.Name]string
}

// stage makes a node with two slots of the same system. Its disk has no slot
// record.
func stage(t *testing.T) staged {
	t.Helper()
	cfg := machine(t, buildOf(t, arm64), vm.UEFI)
	s := staged{cfg: cfg, image: readDisk(t, diskOf(cfg)), lines: map[slot.Name]string{}}
	entry, err := fs.ReadFile(s.image.Boot, strings.TrimPrefix(slot.EntriesDir, "/")+"/"+slot.NewEntry(slot.A).File())
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(string(entry)) {
		if options, ok := strings.CutPrefix(text, "options"); ok {
			s.lines[slot.A] = strings.TrimSpace(options)
		}
	}
	a, b := partition(t, diskOf(cfg), disk.RootA), partition(t, diskOf(cfg), disk.RootB)
	s.lines[slot.B] = strings.NewReplacer(
		profiles.ArgSlot+"=a", profiles.ArgSlot+"=b", a.ID.String(), b.ID.String(),
	).Replace(s.lines[slot.A])
	f, _ := openDisk(t, diskOf(cfg))
	if _, err := io.Copy(io.NewOffsetWriter(f, b.Start), io.NewSectionReader(f, a.Start, a.Size)); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	kernel, initrd := s.read(t, slot.A.Kernel()), s.read(t, slot.A.Initrd())
	s.cfg.Firmware, s.cfg.Kernel, s.cfg.Initrd = vm.NoFirmware, filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd")
	s.cfg.CommandLine = strings.Join([]string{
		profiles.ArgStage, profiles.ArgBoot + "=PARTUUID=" + partition(t, diskOf(cfg), disk.Boot).ID.String(),
		"console=ttyAMA0", "loglevel=5", "panic=-1", "nr_cpus=1",
	}, " ")
	for path, data := range map[string][]byte{s.cfg.Kernel: kernel, s.cfg.Initrd: initrd} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, "mtools", "mmd", "-i", s.boot(t), "::weft/b")
	for n, line := range s.lines {
		s.put(t, n.CommandLine(), []byte(line+"\n"))
	}
	// As on a Raspberry Pi. Unpacking takes 10 s of emulation, so the kernel
	// of A, which is started more often, is plain.
	s.put(t, slot.B.Kernel(), pack(t, kernel))
	s.put(t, slot.B.Initrd(), initrd)
	return s
}

// pack compresses a kernel.
func pack(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// boot names the boot partition as mtools take it.
func (s staged) boot(t *testing.T) string {
	return fmt.Sprintf("%s@@%d", diskOf(s.cfg), partition(t, diskOf(s.cfg), disk.Boot).Start)
}

// read reads a file of the boot partition.
func (s staged) read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := fs.ReadFile(s.image.Boot, strings.TrimPrefix(path, "/"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// put writes a file of the boot partition.
func (s staged) put(t *testing.T, path string, data []byte) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(from, data, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "mtools", "mcopy", "-o", "-i", s.boot(t), from, "::"+path)
}

// chosen returns what the boot stage has chosen so far, boot by boot.
func (n node) chosen() []string {
	var texts []string
	for _, e := range n.Events() {
		if e.Kind == event.Step && e.Name == "boot stage" {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// A slot A whose kernel panics at its last try, and a slot B that works: what
// the boot stage is for, in one node. The newer copy of the record is torn.
func TestNightlyBootStageStartsTheOtherSlotWhenOneUsedUpItsTries(t *testing.T) {
	s := stage(t)
	// No root and no init: the kernel panics.
	s.put(t, slot.A.CommandLine(), []byte("rdinit=/none panic=-1 loglevel=5 console=ttyAMA0"))
	f, _ := openDisk(t, diskOf(s.cfg))
	record := slot.NewRecord(slot.A, slot.B)
	record.A.TriesLeft, record.A.TriesDone = 1, slot.DefaultTries-1
	for range 2 {
		if _, err := slot.InGap.Save(f, record); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(make([]byte, slot.SectorSize/2), slot.GapOffset2+slot.SectorSize/2); err != nil {
		t.Fatal(err)
	}

	s.cfg.Faults = []vm.FaultPattern{} // the panic is meant
	n := start(t, s.cfg)
	n.step("boot stage")
	n.wait("slot b", func(e event.Event) bool { return e.Name == "boot stage" && strings.HasPrefix(e.Text, "slot b") })
	n.ready()
	if e := n.step("slot b"); e.Text != "blessed" {
		t.Errorf("step slot b says %q, want blessed", e.Text)
	}
	n.noProblems()
	n.Kill()
	want := []string{"slot a, try 3, 0 left", "slot b, try 1, 2 left"}
	if got := n.chosen(); !slices.Equal(got, want) {
		t.Errorf("chosen: %q, want %q", got, want)
	}
	if r, err := slot.InGap.Load(f); err != nil || r.A.Good || r.A.TriesLeft != 0 || !r.B.Good {
		t.Errorf("the record is %+v, %v", r, err)
	}
}

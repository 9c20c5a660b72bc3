package bios

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/slot"
)

// Where a test disk keeps things, in sectors. The places are awkward on
// purpose: files of a FAT file system begin at any sector.
const (
	partitionLBA = 2048
	kernelALBA   = 4099
	kernelBLBA   = 8191
	initrdLBA    = 12345
	diskSectors  = 96 << 20 / slot.SectorSize
)

// Offsets of the setup header that tests change (boot.rst).
const (
	offSyssize      = 0x1F4
	offMagic        = 0x202
	offProtocol     = 0x206
	offInitrdMax    = 0x22C
	offRelocatable  = 0x234
	offCommandLimit = 0x238
	offPreferred    = 0x258
	offInitSize     = 0x260
)

// stubExit is how QEMU ends when the stub kernel has said everything: its
// isa-debug-exit device turns 0x10 into this.
const stubExit = 0x10<<1 | 1

// need returns the path of a tool, or fails the test.
func need(t *testing.T, tool, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatalf("install %s (%s): make deps", pkg, tool)
	}
	return path
}

// assemble returns what nasm makes of a source file.
func assemble(t *testing.T, source string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.bin")
	cmd := exec.Command(need(t, "nasm", "nasm"), "-w+all", "-f", "bin", "-o", out, filepath.Base(source))
	cmd.Dir = filepath.Dir(source)
	if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
		t.Fatalf("nasm %s: %v\n%s", source, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
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

// sum is the sum that the stub kernel makes of memory.
func sum(b []byte) uint32 {
	var s uint32
	for i := 0; i < len(b); i += 4 {
		var word [4]byte
		copy(word[:], b[i:])
		s = bits.RotateLeft32(s, 1) + binary.LittleEndian.Uint32(word[:])
	}
	return s
}

// stubKernel returns a bzImage of the stub with a protected mode part of
// about size bytes.
func stubKernel(t *testing.T, seed uint64, size int) []byte {
	t.Helper()
	k := assemble(t, "testdata/stub.asm")
	k = append(k, noise(seed, size)...)
	const setup = 5 * slot.SectorSize
	for (len(k)-setup)%16 != 0 {
		k = append(k, 0)
	}
	binary.LittleEndian.PutUint32(k[offSyssize:], uint32(len(k)-setup)/16)
	return k
}

// A machine is a disk to boot and the virtual machine to boot it on.
type machine struct {
	kernelA, kernelB, initrd []byte
	a, b                     *System
	// change alters the finished disk.
	change func(disk *os.File)
	// memory is in MiB; 256 when zero.
	memory int
	// device is the disk's QEMU device; virtio-blk-pci when empty.
	device string
}

// newMachine returns a machine with two sound slots of the same priority: A
// is good, B has three tries.
func newMachine(t *testing.T) *machine {
	m := &machine{
		kernelA: stubKernel(t, 1, 300<<10),
		kernelB: stubKernel(t, 2, 200<<10),
		initrd:  noise(3, 1<<20+512),
	}
	m.a = &System{Good: true, CommandLine: "weft.slot=a console=ttyS0"}
	m.b = &System{Tries: 3, CommandLine: "weft.slot=b"}
	return m
}

// disk writes the machine's disk and returns its path.
func (m *machine) disk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(diskSectors * slot.SectorSize); err != nil {
		t.Fatal(err)
	}
	write := func(b []byte, lba int64) slot.Extent {
		if _, err := f.WriteAt(b, lba*slot.SectorSize); err != nil {
			t.Fatal(err)
		}
		return slot.Extent{LBA: uint64(lba), Bytes: uint32(len(b))}
	}
	initrd := write(m.initrd, initrdLBA)
	if m.a != nil {
		m.a.Kernel, m.a.Initrd = write(m.kernelA, kernelALBA), initrd
	}
	if m.b != nil {
		m.b.Kernel, m.b.Initrd = write(m.kernelB, kernelBLBA), initrd
	}
	code, partition, err := Install(partitionLBA, m.a, m.b)
	if err != nil {
		t.Fatal(err)
	}
	write(code[:], 0)
	write(partition, partitionLBA)
	if _, err := f.WriteAt([]byte{0x55, 0xAA}, 510); err != nil {
		t.Fatal(err)
	}
	if m.change != nil {
		m.change(f)
	}
	return path
}

// boot starts the machine and returns what it wrote to its serial port, until
// the stub kernel ends it or the loader gives up, and the record on the disk
// afterwards.
func (m *machine) boot(t *testing.T) (string, slot.Record) {
	t.Helper()
	path := m.disk(t)
	output, code := start(t, path, m.memory, m.device)
	if !strings.Contains(output, gaveUp) && code != stubExit {
		t.Errorf("QEMU ended with %d, want %d from the stub kernel", code, stubExit)
	}
	return output, recordOf(t, path)
}

// recordOf returns the record in force on a disk, or none when it is damaged.
func recordOf(t *testing.T, path string) slot.Record {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	record, _ := slot.Load(sectionAt(f, partitionLBA*slot.SectorSize))
	return record
}

// controllers are the devices that some disks hang on.
var controllers = map[string]string{
	"usb-storage": "qemu-xhci",
	"scsi-hd":     "virtio-scsi-pci",
}

// sectionAt shifts a file by an offset.
type section struct {
	f   *os.File
	off int64
}

func sectionAt(f *os.File, off int64) section { return section{f, off} }

func (s section) ReadAt(b []byte, off int64) (int, error)  { return s.f.ReadAt(b, s.off+off) }
func (s section) WriteAt(b []byte, off int64) (int, error) { return s.f.WriteAt(b, s.off+off) }

// gaveUp ends the loader's last line when it found nothing to boot.
const gaveUp = "or now by any key\r\n"

// start runs QEMU on a disk until it ends, or until the loader gave up.
func start(t *testing.T, disk string, memory int, device string) (string, int) {
	t.Helper()
	return startUntil(t, disk, memory, device, gaveUp)
}

// startUntil is start that kills QEMU once the guest has said a text. The
// guest may use 20 seconds of processor time: a busy host slows it down, but
// does not fail the test.
func startUntil(t *testing.T, disk string, memory int, device, text string) (string, int) {
	t.Helper()
	if memory == 0 {
		memory = 256
	}
	if device == "" {
		device = "virtio-blk-pci"
	}
	args := []string{
		need(t, "qemu-system-x86_64", "qemu-system-x86"),
		"-machine", "q35", "-accel", "tcg", "-cpu", "max,-cx16", "-m", fmt.Sprint(memory),
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none", "-no-reboot",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=4",
		"-drive", "if=none,id=disk,format=raw,file=" + disk,
	}
	if controller, ok := controllers[device]; ok {
		args = append(args, "-device", controller)
	}
	args = append(args, "-device", device+",drive=disk,bootindex=0")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `ulimit -t 20; exec "$@"`, "sh"}, args...)...)
	out := &watcher{until: []byte(text), then: cancel}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("start QEMU: %v", err)
	}
	t.Logf("%.2f s of processor time\n%s", (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), string(out.text))
	return string(out.text), cmd.ProcessState.ExitCode()
}

// A watcher keeps what is written to it and acts on a text.
type watcher struct {
	text  []byte
	until []byte
	then  func()
}

func (w *watcher) Write(b []byte) (int, error) {
	w.text = append(w.text, b...)
	if bytes.Contains(w.text, w.until) {
		w.then()
	}
	return len(b), nil
}

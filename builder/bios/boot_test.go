package bios

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"weft/slot"
)

// setup is where the stub's protected mode part begins in its file.
const setup = 5 * slot.SectorSize

// says fails the test unless output holds every text, in order.
func says(t *testing.T, output string, texts ...string) {
	t.Helper()
	rest := output
	for _, text := range texts {
		i := strings.Index(rest, text)
		if i < 0 {
			t.Errorf("the console does not say %q (in this order)", text)
			continue
		}
		rest = rest[i+len(text):]
	}
}

func TestGoodSlotGetsEverythingWhole(t *testing.T) {
	m := newMachine(t)
	output, record := m.boot(t)
	says(t, output,
		"weft: booting slot a\r\n",
		"stub: command line [weft.slot=a console=ttyS0]",
		// type_of_loader 0xFF, LOADED_HIGH and CAN_USE_HEAP, heap_end_ptr
		"stub: loader 000000ff 00000081 0000de00",
		fmt.Sprintf("stub: kernel %08x", sum(m.kernelA[setup:])),
		fmt.Sprintf("%08x %08x", len(m.initrd), sum(m.initrd)),
	)
	if record.Sequence != 1 {
		t.Errorf("the record was written to boot a good slot (sequence %d)", record.Sequence)
	}
}

func TestSlotWithoutTriesLosesToTheOther(t *testing.T) {
	m := newMachine(t)
	m.a.Good, m.a.Priority = false, 15
	output, record := m.boot(t)
	says(t, output, "weft: booting slot b, tries left: 2\r\n", "[weft.slot=b]")
	if b := record.B; b.TriesLeft != 2 || b.TriesDone != 1 || record.Sequence != 2 {
		t.Errorf("the try was not counted on the disk: %+v", record)
	}
}

func TestLastTryIsCountedAndThenTheGoodSlotReturns(t *testing.T) {
	m := newMachine(t)
	m.b.Priority = 1
	m.b.Tries = 1
	path := m.disk(t)
	first, _ := start(t, path, 0, "")
	says(t, first, "booting slot b, tries left: 0", "[weft.slot=b]")
	second, _ := start(t, path, 0, "")
	says(t, second, "booting slot a\r\n", "[weft.slot=a")
}

func TestOnlySlotIsBootedWithoutTries(t *testing.T) {
	m := newMachine(t)
	m.a, m.b.Tries = nil, 0
	output, record := m.boot(t)
	says(t, output, "weft: booting slot b, no tries left but nothing better\r\n", "[weft.slot=b]")
	if record.Sequence != 1 {
		t.Errorf("the record was written without a reason: %+v", record)
	}
}

func TestDamagedFirstRecordIsReplacedByTheSecond(t *testing.T) {
	m := newMachine(t)
	m.b.Priority = 1
	m.change = damage(partitionLBA*slot.SectorSize + slot.RecordOffset1 + 100)
	output, record := m.boot(t)
	says(t, output, "weft: slot record, copy 1: damaged\r\n", "booting slot b, tries left: 2", "[weft.slot=b]")
	if record.Sequence != 2 || record.B.TriesLeft != 2 {
		t.Errorf("the damaged copy was not written over: %+v", record)
	}
}

func TestDamagedRecordsAreSaidWithAWayOut(t *testing.T) {
	m := newMachine(t)
	m.change = func(f *os.File) {
		damage(partitionLBA*slot.SectorSize + slot.RecordOffset1)(f)
		damage(partitionLBA*slot.SectorSize + slot.RecordOffset2 + 510)(f)
	}
	output, _ := m.boot(t)
	says(t, output, "slot record, copy 1: damaged", "slot record, copy 2: damaged", "write the image again")
}

func TestNewerRecordCounts(t *testing.T) {
	m := newMachine(t)
	m.change = func(f *os.File) {
		partition := sectionAt(f, partitionLBA*slot.SectorSize)
		r, err := slot.Load(partition)
		if err != nil {
			t.Fatal(err)
		}
		r.B.Priority = 9
		if _, err := slot.Save(partition, r); err != nil {
			t.Fatal(err)
		}
	}
	output, record := m.boot(t)
	says(t, output, "booting slot b, tries left: 2")
	if record.Sequence != 3 {
		t.Errorf("sequence %d, want 3", record.Sequence)
	}
}

func TestWrongKernelMagicFallsBack(t *testing.T) {
	m := newMachine(t)
	copy(m.kernelA[offMagic:], "Hdr!")
	output, _ := m.boot(t)
	says(t, output, "booting slot a", "weft: slot a: kernel: not a Linux kernel\r\n", "booting slot b", "[weft.slot=b]")
}

func TestReadBeyondTheDiskFallsBack(t *testing.T) {
	m := newMachine(t)
	m.change = changeRecord(t, func(r *slot.Record) { r.A.Initrd.LBA = diskSectors - 1000 })
	output, _ := m.boot(t)
	says(t, output, "booting slot a",
		"weft: slot a: initrd: cannot read the disk at or after sector", "(BIOS status ",
		"booting slot b", "[weft.slot=b]")
}

func TestNoSlotIsSaidWithAWayOut(t *testing.T) {
	m := newMachine(t)
	m.change = changeRecord(t, func(r *slot.Record) {
		r.A.Kernel.LBA, r.B.Kernel.LBA = 1<<32+5, diskSectors
	})
	output, _ := m.boot(t)
	says(t, output,
		"slot a: kernel: cannot read the disk at or after sector 4294967301 (BIOS status",
		fmt.Sprintf("slot b: kernel: cannot read the disk at or after sector %d (BIOS status", diskSectors),
		"weft: no slot on this disk can be booted\r\n", "write the image again")
}

func TestDamagedCommandLineFallsBack(t *testing.T) {
	m := newMachine(t)
	m.change = damage(partitionLBA*slot.SectorSize + slot.CommandLineOffsetA + 3)
	output, _ := m.boot(t)
	says(t, output, "slot a: command line: damaged", "[weft.slot=b]")
}

func TestLongestCommandLineArrivesWhole(t *testing.T) {
	m := newMachine(t)
	m.a.CommandLine = strings.Repeat("0123456789abcde ", 128)[:slot.MaxCommandLine]
	output, _ := m.boot(t)
	says(t, output, "["+m.a.CommandLine+"]")
}

func TestEmptyCommandLineAndNoInitrd(t *testing.T) {
	m := newMachine(t)
	m.a.CommandLine = ""
	m.change = changeRecord(t, func(r *slot.Record) { r.A.Initrd = slot.Extent{} })
	output, _ := m.boot(t)
	says(t, output, "command line []", "stub: initrd 00000000 00000000 00000000")
}

func TestLargeInitrdArrivesWholeInLittleMemory(t *testing.T) {
	m := newMachine(t)
	m.memory = 128
	m.initrd = append(noise(4, 32<<20), "odd"...)
	output, _ := m.boot(t)
	says(t, output, fmt.Sprintf("stub: kernel %08x", sum(m.kernelA[setup:])))
	at := initrdAddress(t, output)
	says(t, output, fmt.Sprintf("%08x %08x %08x", at, len(m.initrd), sum(m.initrd)))
	// It must leave the kernel its room from the preferred address on.
	if lowest := uint32(0x1000000 + 0x3000000); at < lowest || at%4096 != 0 {
		t.Errorf("initrd at %#x, want a page at or above %#x", at, lowest)
	}
}

func TestInitrdStaysBelowTheKernelsLimit(t *testing.T) {
	m := newMachine(t)
	const limit = 0x5FFFFFF
	binary.LittleEndian.PutUint32(m.kernelA[offInitrdMax:], limit)
	output, _ := m.boot(t)
	if at := initrdAddress(t, output); at+uint32(len(m.initrd)) > limit+1 {
		t.Errorf("initrd at %#x ends above %#x", at, limit)
	}
	says(t, output, fmt.Sprintf("%08x %08x", len(m.initrd), sum(m.initrd)))
}

func TestKernelThatDoesNotFitIsNamed(t *testing.T) {
	le := binary.LittleEndian
	for _, test := range []struct {
		name   string
		change func(kernel []byte)
		want   string
	}{
		{"needs more memory than there is", func(k []byte) { le.PutUint32(k[offInitSize:], 1<<30) }, "kernel: this machine has too little memory for it"},
		{"needs memory past 4 GiB", func(k []byte) { le.PutUint64(k[offPreferred:], 1<<32) }, "kernel: this machine has too little memory for it"},
		{"leaves no room for the initrd", func(k []byte) { le.PutUint32(k[offInitrdMax:], 0x3FFFFFF) }, "initrd: this machine has too little memory for it"},
		{"has no room for the command line", func(k []byte) { le.PutUint32(k[offCommandLimit:], 10) }, "kernel: the command line is longer than the kernel takes"},
		{"is too old", func(k []byte) { le.PutUint16(k[offProtocol:], 0x0209) }, "kernel: too old, Linux 2.6.31 is the first that works"},
		{"is cut short", func(k []byte) { le.PutUint32(k[offSyssize:], uint32(len(k))) }, "kernel: damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			test.change(m.kernelA)
			output, _ := m.boot(t)
			says(t, output, "slot a: "+test.want+"\r\n", "[weft.slot=b]")
		})
	}
}

func TestBootsFromOtherControllers(t *testing.T) {
	for name, device := range map[string]string{
		"SATA": "ide-hd", "NVMe": "nvme,serial=1", "USB": "usb-storage", "SCSI": "scsi-hd",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.device = device
			m.b.Priority = 1
			output, record := m.boot(t)
			says(t, output, "booting slot b, tries left: 2",
				fmt.Sprintf("stub: kernel %08x", sum(m.kernelB[setup:])),
				fmt.Sprintf("%08x %08x", len(m.initrd), sum(m.initrd)))
			if record.B.TriesLeft != 2 {
				t.Errorf("the try was not counted on the disk: %+v", record)
			}
		})
	}
}

func TestLoaderBeyondTheDiskIsSaid(t *testing.T) {
	m := newMachine(t)
	m.change = func(f *os.File) {
		if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, diskSectors), offHomeLBA); err != nil {
			t.Fatal(err)
		}
	}
	const text = "weft: cannot read the disk\r\n"
	output, _ := startUntil(t, m.disk(t), 0, "", text)
	says(t, output, text)
}

func TestDamagedLoaderIsSaid(t *testing.T) {
	for name, at := range map[string]int64{"first mark": 5, "last mark": int64(len(stage2)) - 2} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.change = damage(partitionLBA*slot.SectorSize + at)
			path := m.disk(t)
			const text = "weft: damaged, write the image again\r\n"
			output, _ := startUntil(t, path, 0, "", text)
			says(t, output, text)
		})
	}
}

// TestLoaderDecidesAsPackageSlotDoes boots disks with random records and
// compares what the loader did with what Record.Order and Record.Tried say.
// Of some disks a slot cannot be loaded, to see the second choice too.
func TestLoaderDecidesAsPackageSlotDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 0))
	kernel := stubKernel(t, 1, 0)
	for i := range 24 {
		m := &machine{kernelA: bytes.Clone(kernel), kernelB: bytes.Clone(kernel)}
		system := func(n slot.Name) *System {
			return &System{
				CommandLine: "weft.slot=" + string(n),
				Priority:    uint8(random.IntN(3)),
				Good:        random.IntN(3) == 0,
				Tries:       uint8(random.IntN(3)),
			}
		}
		m.a, m.b = system(slot.A), system(slot.B)
		if i%8 == 1 {
			m.a = nil
		}
		if i%8 == 2 {
			m.b = nil
		}
		var record slot.Record
		m.change = func(f *os.File) {
			changeRecord(t, func(r *slot.Record) {
				r.A.Initrd, r.B.Initrd = slot.Extent{}, slot.Extent{}
				r.A.TriesDone = 255
				if !r.A.Present {
					r.A = slot.State{}
				}
			})(f)
			record, _ = slot.Load(sectionAt(f, partitionLBA*slot.SectorSize))
		}
		path := m.disk(t)
		want := record
		order := want.Order()
		if broken := i%3 == 0 && len(order) > 1; broken {
			breakKernel(t, path, want.Slot(order[0]).Kernel)
			want, _ = want.Tried(order[0])
			order = order[1:]
		}
		want, _ = want.Tried(order[0])

		output, _ := start(t, path, 0, "")
		says(t, output, "[weft.slot="+string(order[0])+"]")
		if got := recordOf(t, path); got != want {
			t.Errorf("record before %+v\n after %+v\n want %+v", record, got, want)
		}
	}
}

// initrdAddress returns where the stub says that its initrd is.
func initrdAddress(t *testing.T, output string) uint32 {
	t.Helper()
	var at uint32
	_, rest, _ := strings.Cut(output, "stub: initrd ")
	if _, err := fmt.Sscanf(rest, "%x", &at); err != nil {
		t.Fatalf("the stub names no initrd: %v", err)
	}
	return at
}

// breakKernel takes away the mark of a kernel.
func breakKernel(t *testing.T, path string, kernel slot.Extent) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	damage(int64(kernel.LBA)*slot.SectorSize + offMagic)(f)
}

// damage flips the byte at an offset of the disk.
func damage(off int64) func(*os.File) {
	return func(f *os.File) {
		var b [1]byte
		if _, err := f.ReadAt(b[:], off); err != nil {
			panic(err)
		}
		b[0] ^= 0xFF
		if _, err := f.WriteAt(b[:], off); err != nil {
			panic(err)
		}
	}
}

// changeRecord changes both copies of the record.
func changeRecord(t *testing.T, change func(*slot.Record)) func(*os.File) {
	return func(f *os.File) {
		partition := sectionAt(f, partitionLBA*slot.SectorSize)
		for range 2 {
			r, err := slot.Load(partition)
			if err != nil {
				t.Fatal(err)
			}
			change(&r)
			if _, err := slot.Save(partition, r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

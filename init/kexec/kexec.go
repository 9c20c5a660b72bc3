// Package kexec loads a kernel that is then started in place of the running
// one, by kexec_load(2) on arm64. Debian's kernels for arm64 have no
// kexec_file_load(2), so what that would do is done here: the kernel, its
// initramfs and its device tree are laid out in memory, with a few
// instructions that enter the kernel.
//
// The device tree is the one that the running kernel was started with: memory,
// addresses and serial number that the firmware has put there go along.
// Starting the loaded kernel is package power's.
package kexec

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

const (
	// maxKernel and maxInitrd bound what is loaded. Debian's kernel has 50 MB
	// unpacked.
	maxKernel = 128 << 20
	maxInitrd = 128 << 20

	// An arm64 Image (Documentation/arch/arm64/booting.rst, "Call the kernel
	// image").
	headerSize       = 64
	offsetTextOffset = 8
	offsetImageSize  = 16
	offsetMagic      = 56
	magic            = "ARM\x64"

	// kernelAlignment is where an Image goes, and pageSize what kexec_load(2)
	// insists on; 64 KiB are whole pages whatever the page size.
	kernelAlignment = 2 << 20
	pageSize        = 64 << 10
)

// ErrRefused says that the running kernel takes no kernel, whichever.
var ErrRefused = errors.New("the running kernel refuses kexec")

// A Kernel is what is to be started.
type Kernel struct {
	// Image is an arm64 Image, which may be compressed by gzip.
	Image io.Reader
	// Initrd is the initramfs; nil for none.
	Initrd io.Reader
	// CommandLine are the kernel's arguments.
	CommandLine string
}

// A Machine is what the running kernel tells of the machine.
type Machine struct {
	// Tree is the device tree, as /sys/firmware/fdt has it.
	Tree []byte
	// Memory is the text of /proc/iomem.
	Memory string
	// Seed is random, for the next kernel to start with; it may be short.
	Seed []byte
}

// A segment is a piece of memory as it should be when the kernel starts. It
// may be longer than its data.
type segment struct {
	data []byte
	at   uint64
	size uint64
}

// Load loads a kernel.
func Load(k Kernel, m Machine) error {
	segments, entry, err := layout(k, m)
	if err != nil {
		return err
	}
	return explain(load(segments, entry))
}

// layout says what goes where, and where the CPU begins.
func layout(k Kernel, m Machine) (segments []segment, entry uint64, err error) {
	image, err := unpack(k.Image)
	if err != nil {
		return nil, 0, fmt.Errorf("kernel: %w", err)
	}
	var initrd []byte
	if k.Initrd != nil {
		if initrd, err = limited(k.Initrd, 0, maxInitrd); err != nil {
			return nil, 0, fmt.Errorf("initramfs: %w", err)
		}
	}
	free, err := freeMemory(m.Memory)
	if err != nil {
		return nil, 0, err
	}
	le := binary.LittleEndian
	textOffset := le.Uint64(image[offsetTextOffset:])
	kernelSize := max(le.Uint64(image[offsetImageSize:]), uint64(len(image)))
	if textOffset >= kernelAlignment || textOffset%pageSize != 0 || kernelSize > 2*maxKernel {
		return nil, 0, fmt.Errorf("kernel: it wants %d bytes at offset %#x", kernelSize, textOffset)
	}
	// One piece: the kernel, the initramfs, the tree, and the code that enters.
	kernelSpan := whole(textOffset + kernelSize)
	initrdSpan := whole(uint64(len(initrd)))
	base, err := place(free, kernelSpan+initrdSpan+maxTree+pageSize, kernelAlignment)
	if err != nil {
		return nil, 0, err
	}
	kernelAt, initrdAt := base+textOffset, base+kernelSpan
	treeAt := initrdAt + initrdSpan
	entry = treeAt + maxTree
	tree, err := withChosen(m.Tree, chosen(k.CommandLine, initrdAt, uint64(len(initrd)), m.Seed))
	if err != nil {
		return nil, 0, err
	}
	segments = []segment{{image, kernelAt, whole(kernelSize)}}
	if len(initrd) > 0 {
		segments = append(segments, segment{initrd, initrdAt, initrdSpan})
	}
	return append(segments, segment{tree, treeAt, whole(uint64(len(tree)))}, segment{enter(kernelAt, treeAt), entry, pageSize}), entry, nil
}

// whole rounds up to whole pages.
func whole(size uint64) uint64 { return (size + pageSize - 1) &^ (pageSize - 1) }

// chosen is what the kernel is told in /chosen
// (Documentation/arch/arm64/booting.rst; dt-schema, schemas/chosen.yaml). The
// seeds of the running kernel are used up.
func chosen(line string, initrd, size uint64, seed []byte) []property {
	set := []property{{"bootargs", append([]byte(line), 0)}, {"linux,initrd-start", nil}, {"linux,initrd-end", nil}, {"kaslr-seed", nil}, {"rng-seed", nil}}
	if size > 0 {
		set[1].value = binary.BigEndian.AppendUint64(nil, initrd)
		set[2].value = binary.BigEndian.AppendUint64(nil, initrd+size)
	}
	if len(seed) > 8 {
		set[3].value, set[4].value = seed[:8], seed[8:]
	}
	return set
}

// enter is the code that jumps to the kernel with the address of the tree, and
// nothing else, in its registers (booting.rst, "Primary CPU general-purpose
// register settings"). For kernels loaded by kexec_load(2) the running one
// does not do so (arch/arm64/kernel/relocate_kernel.S).
func enter(kernel, tree uint64) []byte {
	var b []byte
	for _, instruction := range []uint32{
		0x580000c4, // ldr x4, kernel
		0x580000e0, // ldr x0, tree
		0xaa1f03e1, // mov x1, xzr
		0xaa1f03e2, // mov x2, xzr
		0xaa1f03e3, // mov x3, xzr
		0xd61f0080, // br x4
	} {
		b = binary.LittleEndian.AppendUint32(b, instruction)
	}
	b = binary.LittleEndian.AppendUint64(b, kernel) // at 24
	return binary.LittleEndian.AppendUint64(b, tree)
}

// explain says what an error of kexec_load(2) means.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		// arch/arm64/kernel/machine_kexec.c, machine_kexec_prepare: a CPU
		// that has left a spin table cannot be given back.
		return fmt.Errorf("%w: %w (a CPU cannot be stopped; the boot stage needs the kernel argument nr_cpus=1)", ErrRefused, err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w (it lacks CONFIG_KEXEC, or is locked down)", ErrRefused, err)
	}
	return fmt.Errorf("kexec: %w", err)
}

// unpack reads a kernel, decompressed and checked.
func unpack(kernel io.Reader) ([]byte, error) {
	in := bufio.NewReaderSize(kernel, 1<<20)
	var plain io.Reader = in
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) { // RFC 1952, 2.3.1
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		plain = z
	}
	// The header says how much room the kernel needs, which is a little more
	// than it has bytes.
	buffered := bufio.NewReader(plain)
	var room uint64
	if head, _ := buffered.Peek(headerSize); len(head) == headerSize {
		room = min(binary.LittleEndian.Uint64(head[offsetImageSize:]), maxKernel)
	}
	image, err := limited(buffered, int(room), maxKernel)
	if err != nil {
		return nil, err
	}
	if len(image) < headerSize || string(image[offsetMagic:offsetMagic+len(magic)]) != magic {
		return nil, errors.New("it is no Image of arm64, plain or compressed by gzip")
	}
	return image, nil
}

// limited reads all of r, which must not be longer than limit, and mostly is
// not longer than room.
func limited(r io.Reader, room int, limit int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(room + bytes.MinRead)
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("it has more than %d MiB", limit>>20)
	}
	return b.Bytes(), err
}

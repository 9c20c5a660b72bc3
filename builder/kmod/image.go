package kmod

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// image is what the kernel file says about itself.
type image struct {
	arch    string
	release string
}

// headSize is how much of the kernel file is read to know its kind. It holds
// an x86 setup area of the largest size: 255 sectors and the boot sector.
const headSize = 64 << 10

// readImage reads release and architecture out of a kernel file.
func readImage(fsys fs.FS, name string) (image, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return image{}, err
	}
	defer file.Close()
	return parseImage(file)
}

// parseImage knows the x86 bzImage and the arm64 Image, plain or gzipped.
func parseImage(r io.Reader) (image, error) {
	plain, err := gunzipped(r)
	if err != nil {
		return image{}, err
	}
	buffered := bufio.NewReaderSize(plain, headSize)
	head, err := buffered.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return image{}, err
	}
	var found image
	switch {
	case isBzImage(head):
		found.arch = "amd64"
		found.release, err = bzImageRelease(head)
	case isArm64Image(head):
		found.arch = "arm64"
		found.release, err = bannerRelease(buffered)
	case len(head) > 8 && string(head[:2]) == "MZ" && string(head[4:8]) == "zimg":
		// drivers/firmware/efi/libstub/zboot-header.S
		err = errors.New("an EFI zboot image cannot be read: give the plain or gzipped Image it was made of (build with CONFIG_EFI_ZBOOT off)")
	default:
		err = errors.New("neither an x86 bzImage nor an arm64 Image")
	}
	if err != nil {
		return image{}, err
	}
	if err := checkRelease(found.release); err != nil {
		return image{}, err
	}
	return found, nil
}

// gunzipped returns r, decompressed if it is gzip, and never longer than
// maxImage.
func gunzipped(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) { // RFC 1952 section 2.3.1
		return io.LimitReader(buffered, maxImage), nil
	}
	plain, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return io.LimitReader(plain, maxImage), nil
}

// Offsets in the setup header of an x86 kernel, from
// Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
const (
	offSetupSects    = 0x1f1 // u8: setup size in sectors, 0 means 4
	offHeader        = 0x202 // "HdrS"
	offVersion       = 0x206 // u16: boot protocol, 0x0200 and up have kernel_version
	offKernelVersion = 0x20e // u16: pointer to the version string, less 0x200
	offXLoadFlags    = 0x236 // u16: bit 0 XLF_KERNEL_64, since protocol 2.12
)

func isBzImage(head []byte) bool {
	return len(head) >= 0x400 && string(head[offHeader:offHeader+4]) == "HdrS"
}

// bzImageRelease follows the kernel_version pointer of an x86 setup header.
// The string reads "RELEASE (builder@host) #1 SMP ...".
func bzImageRelease(head []byte) (string, error) {
	protocol := binary.LittleEndian.Uint16(head[offVersion:])
	if protocol < 0x20c || head[offXLoadFlags]&1 == 0 {
		return "", fmt.Errorf("bzImage of boot protocol %d.%02d without a 64-bit entry: give a 64-bit kernel", protocol>>8, protocol&0xff)
	}
	sectors := int(head[offSetupSects])
	if sectors == 0 {
		sectors = 4
	}
	pointer := int(binary.LittleEndian.Uint16(head[offKernelVersion:]))
	if pointer == 0 {
		return "", errors.New("bzImage without a version string: kernel_version is 0")
	}
	start, end := pointer+0x200, min(0x200*(sectors+1), len(head))
	if start >= end {
		return "", fmt.Errorf("bzImage with its version string at %#x, outside of the setup area of %#x bytes", start, end)
	}
	text := head[start:end]
	length := bytes.IndexByte(text, 0)
	if length < 0 {
		return "", errors.New("bzImage with a version string that does not end")
	}
	release, _, _ := strings.Cut(string(text[:length]), " ")
	return release, nil
}

// isArm64Image knows the header of Documentation/arch/arm64/booting.rst:
// "ARM\x64" at offset 56.
func isArm64Image(head []byte) bool {
	return len(head) >= 64 && string(head[56:60]) == "ARM\x64"
}

// banner is how the kernel's version text starts (init/version-timestamp.c,
// linux_banner). An arm64 Image has its release nowhere else.
const banner = "Linux version "

// bannerRelease searches r for the banner. Format strings that look like it
// have no digit behind it.
func bannerRelease(r io.Reader) (string, error) {
	var release string
	err := search(r, []byte(banner), 128, func(at []byte) bool {
		text := at[len(banner):]
		end := bytes.IndexByte(text, ' ')
		if end <= 0 || text[0] < '0' || text[0] > '9' || checkRelease(string(text[:end])) != nil {
			return false
		}
		release = string(text[:end])
		return true
	})
	if err == nil && release == "" {
		err = errors.New(`arm64 Image without the text "Linux version"`)
	}
	return release, err
}

// search reads r in pieces and calls found at each place that pattern starts,
// with at least window bytes from there on (fewer at the end of r), until
// found returns true.
func search(r io.Reader, pattern []byte, window int, found func([]byte) bool) error {
	buffer := make([]byte, 1<<20)
	filled := 0
	for {
		n, err := io.ReadFull(r, buffer[filled:])
		filled += n
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		at := 0
		for {
			i := bytes.Index(buffer[at:filled], pattern)
			if i < 0 || (!last && at+i+window > filled) {
				break
			}
			at += i
			if found(buffer[at:filled]) {
				return nil
			}
			at++
		}
		if last {
			return nil
		}
		// Whatever starts in the last window bytes is looked at again with
		// the next piece.
		keep := max(at, filled-window+1)
		filled = copy(buffer, buffer[keep:filled])
	}
}

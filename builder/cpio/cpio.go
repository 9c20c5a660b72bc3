// Package cpio writes "newc" cpio archives, the format of Linux's initramfs.
//
// It writes directories, regular files, symbolic links and device nodes, one
// after the other, without hard links and without checksums. It does not read
// archives and does not compress them.
//
// The format is the kernel's own description of it,
// Documentation/driver-api/early-userspace/buffer-format.rst, cited as
// [buffer-format.rst].
package cpio

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"math"

	"weft/builder/tree"
)

const (
	// magic starts every header of a newc archive without checksums
	// [buffer-format.rst: c_magic].
	magic = "070701"
	// headerSize is the length of a header: magic and 13 fields of 8
	// hexadecimal digits [buffer-format.rst].
	headerSize = 6 + 13*8
	// trailer is the name of the entry that ends an archive
	// [buffer-format.rst: end-of-archive].
	trailer = "TRAILER!!!"
	// alignment of headers and of file data [buffer-format.rst: ALGN(4)].
	alignment = 4
	// maxFile is the largest file: c_filesize has 8 hexadecimal digits
	// [buffer-format.rst].
	maxFile = math.MaxUint32
	// maxPath is the longest path the kernel's unpacker takes, without the
	// NUL [init/initramfs.c: do_header compares the name's length with
	// PATH_MAX, 4096].
	maxPath = 4095
)

// File types as they stand in c_mode [sys/stat.h].
const (
	typeRegular   = 0o100000
	typeDirectory = 0o040000
	typeSymlink   = 0o120000
	typeCharacter = 0o020000
	typeBlock     = 0o060000
)

// Write writes the tree as an archive. Everything that can be known wrong is
// refused before the first byte; afterwards only reading a content or writing
// to w can fail. The root directory has no entry of its own.
//
// Inode numbers count up from 1 in the order of the tree. The kernel needs
// them only to find hard links, of which there are none, as every c_nlink is
// 1, or 2 for directories [init/initramfs.c: maybe_link].
func Write(w io.Writer, t *tree.Tree) error {
	if err := check(t); err != nil {
		return err
	}
	a := &archive{w: bufio.NewWriterSize(w, 64<<10)}
	mtime := uint32(t.Epoch().Unix())
	inode := uint32(0)
	for e := range t.All() {
		inode++
		if err := a.entry(e, inode, mtime); err != nil {
			return fmt.Errorf("cpio: %s: %w", e.Path, err)
		}
	}
	a.header(header{nlink: 1, name: trailer})
	if err := a.w.Flush(); err != nil {
		return fmt.Errorf("cpio: %w", err)
	}
	return nil
}

// check refuses trees that the format cannot hold.
func check(t *tree.Tree) error {
	if err := t.Err(); err != nil {
		return fmt.Errorf("cpio: %w", err)
	}
	for e := range t.All() {
		switch {
		case e.Size() > maxFile:
			return fmt.Errorf("cpio: %s has %d bytes; a file in a newc archive has at most %d", e.Path, e.Size(), uint32(maxFile))
		case len(e.Path) > maxPath:
			return fmt.Errorf("cpio: path of %d bytes (%.60s…); the kernel takes at most %d", len(e.Path), e.Path, maxPath)
		case e.Path == trailer:
			return fmt.Errorf("cpio: a file at the top cannot be called %s: that name ends the archive", trailer)
		}
	}
	return nil
}

// An archive is a writer that knows how far it is from an aligned position.
type archive struct {
	w      *bufio.Writer
	offset int64
}

// A header is what differs between entries, in the order of the fields
// [buffer-format.rst: cpio_header]. The device the files came from (c_maj,
// c_min) and the checksum (c_chksum) are always 0.
type header struct {
	inode, mode, uid, gid, nlink, mtime, size, rmajor, rminor uint32
	name                                                      string
}

// entry writes one entry of the tree with its data.
func (a *archive) entry(e tree.Entry, inode, mtime uint32) error {
	h := header{
		inode:  inode,
		mode:   mode(e.Mode),
		uid:    e.UID,
		gid:    e.GID,
		nlink:  1,
		mtime:  mtime,
		size:   uint32(e.Size()),
		rmajor: e.Major,
		rminor: e.Minor,
		name:   e.Path,
	}
	switch {
	case e.Mode.IsDir():
		h.nlink = 2
	case e.Target != "":
		h.size = uint32(len(e.Target))
	}
	a.header(h)
	if e.Content != nil {
		if err := tree.Copy(a.w, e.Content); err != nil {
			return err
		}
	} else if _, err := a.w.WriteString(e.Target); err != nil {
		return err
	}
	a.offset += int64(h.size)
	return a.align()
}

// header writes h and its name. Errors stay in the buffered writer and come
// back from its next use.
func (a *archive) header(h header) {
	fmt.Fprintf(a.w, "%s%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		magic, h.inode, h.mode, h.uid, h.gid, h.nlink, h.mtime, h.size,
		0, 0, h.rmajor, h.rminor, len(h.name)+1, 0, h.name)
	a.offset += int64(headerSize + len(h.name) + 1)
	a.align()
}

// align pads with zeros to the next aligned position.
func (a *archive) align() error {
	var zeros [alignment]byte
	pad := -a.offset & (alignment - 1)
	a.offset += pad
	_, err := a.w.Write(zeros[:pad])
	return err
}

// mode turns a Go file mode into c_mode.
func mode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	switch {
	case m.IsDir():
		bits |= typeDirectory
	case m&fs.ModeSymlink != 0:
		bits |= typeSymlink
	case m&fs.ModeCharDevice != 0:
		bits |= typeCharacter
	case m&fs.ModeDevice != 0:
		bits |= typeBlock
	default:
		bits |= typeRegular
	}
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

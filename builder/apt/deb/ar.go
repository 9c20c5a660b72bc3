package deb

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The ar archive of a package: deb(5), and ar(5) for the 60-byte header.
const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	// maxMembers bounds the members of a package; dpkg writes three or four.
	maxMembers = 16
)

// A member is one file of an ar archive and where its contents lie.
type member struct {
	name         string
	offset, size int64
}

// readArchive lists the members of the ar archive in src, of size bytes.
func readArchive(src io.ReaderAt, size int64) ([]member, error) {
	var magic [len(arMagic)]byte
	if err := readAt(src, magic[:], 0); err != nil {
		return nil, err
	}
	if string(magic[:]) != arMagic {
		return nil, fmt.Errorf("%w: no ar archive", ErrFormat)
	}
	var list []member
	for at := int64(len(arMagic)); at < size; {
		if len(list) == maxMembers {
			return nil, fmt.Errorf("%w: more than %d members", ErrTooLarge, maxMembers)
		}
		var header [arHeaderSize]byte
		if err := readAt(src, header[:], at); err != nil {
			return nil, err
		}
		m, err := parseArHeader(string(header[:]))
		if err != nil {
			return nil, fmt.Errorf("member at byte %d: %w", at, err)
		}
		m.offset = at + arHeaderSize
		if m.size > size-m.offset {
			return nil, fmt.Errorf("%w: member %s ends beyond the file", ErrFormat, m.name)
		}
		list = append(list, m)
		at = m.offset + m.size
		at += at & 1 // members begin at even offsets
	}
	return list, nil
}

// parseArHeader reads the 60 bytes before a member: name in bytes 0..15, size
// as a decimal number in bytes 48..57, the end mark in the last two.
func parseArHeader(header string) (member, error) {
	if header[58:] != "`\n" {
		return member{}, fmt.Errorf("%w: no ar header", ErrFormat)
	}
	// Some writers end the name with a slash (the System V form).
	name := strings.TrimSuffix(strings.TrimRight(header[:16], " "), "/")
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return member{}, fmt.Errorf("%w: member name %q", ErrFormat, header[:16])
	}
	size, err := strconv.ParseUint(strings.TrimRight(header[48:58], " "), 10, 62)
	if err != nil {
		return member{}, fmt.Errorf("%w: size of member %s", ErrFormat, name)
	}
	return member{name: name, size: int64(size)}, nil
}

// dataMember finds the archive of a package's files and checks the rest of
// the package's form: "debian-binary" first, saying version 2, then control
// and data; members whose name begins with an underscore may lie between
// (deb(5), "FORMAT").
func dataMember(src io.ReaderAt, list []member) (member, error) {
	if len(list) == 0 || list[0].name != "debian-binary" || list[0].size < 4 || list[0].size > 64 {
		return member{}, fmt.Errorf("%w: the first member is not debian-binary", ErrFormat)
	}
	version := make([]byte, 2)
	if err := readAt(src, version, list[0].offset); err != nil {
		return member{}, err
	}
	if string(version) != "2." {
		return member{}, fmt.Errorf("%w: package format %q, only 2.x is known", ErrFormat, version)
	}
	control := false
	for _, m := range list[1:] {
		switch {
		case strings.HasPrefix(m.name, "_"):
		case !control && (m.name == "control.tar" || strings.HasPrefix(m.name, "control.tar.")):
			control = true
		case control && (m.name == "data.tar" || strings.HasPrefix(m.name, "data.tar.")):
			return m, nil
		default:
			return member{}, fmt.Errorf("%w: member %s where control.tar or data.tar belongs", ErrFormat, m.name)
		}
	}
	return member{}, fmt.Errorf("%w: no data.tar", ErrFormat)
}

// readAt fills p from offset off; a file shorter than that is broken.
func readAt(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return fmt.Errorf("%w: ends at byte %d", ErrFormat, off+int64(n))
	}
	return fmt.Errorf("read package: %w", err)
}

// Package apttest makes Debian packages and signed mirrors for tests, without
// any tool. What it makes is small and plain; it is no way to build packages.
package apttest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

// Time is the modification time of all files in packages made here.
var Time = time.Date(2026, 8, 29, 4, 19, 0, 0, time.UTC)

// A File is one entry of a package.
type File struct {
	// Name is the name in the archive; directories end in a slash.
	Name string
	// Body is the contents of a regular file.
	Body string
	// Link makes it a symbolic link with that target, HardLink a hard link.
	Link, HardLink string
	// Mode is the permissions; 0 for 0644, or 0755 for a directory.
	Mode int64
	// Type overrides the type of the tar entry if it is not 0.
	Type byte
}

// Tar returns a tar archive.
func Tar(t testing.TB, files ...File) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, ModTime: Time, Typeflag: tar.TypeReg, Uname: "root", Gname: "root"}
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		case f.HardLink != "":
			h.Typeflag, h.Linkname = tar.TypeLink, f.HardLink
		case f.Name == "" || f.Name[len(f.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		default:
			h.Size = int64(len(f.Body))
		}
		if f.Type != 0 {
			h.Typeflag = f.Type
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("tar header %q: %v", f.Name, err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(f.Body)); err != nil {
				t.Fatalf("tar %q: %v", f.Name, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// XZ compresses data in one block.
func XZ(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A Member is one file of an ar archive.
type Member struct {
	Name string
	Data []byte
}

// Ar returns an ar archive.
func Ar(members ...Member) []byte {
	out := []byte("!<arch>\n")
	for _, m := range members {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.Name, Time.Unix(), 0, 0, 0o100644, len(m.Data))
		out = append(out, m.Data...)
		if len(m.Data)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

// Deb returns a package whose data.tar, with the given ending such as ".xz",
// is data.
func Deb(t testing.TB, ending string, data []byte) []byte {
	t.Helper()
	control := XZ(t, Tar(t, File{Name: "./"}, File{Name: "./control", Body: "Package: test\n"}))
	return Ar(Member{"debian-binary", []byte("2.0\n")}, Member{"control.tar.xz", control}, Member{"data.tar" + ending, data})
}

// Package returns a package of the files, compressed by xz.
func Package(t testing.TB, files ...File) []byte {
	t.Helper()
	return Deb(t, ".xz", XZ(t, Tar(t, files...)))
}

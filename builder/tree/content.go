package tree

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
)

// A Content is what a regular file holds. It is opened each time it is
// needed, and must give the same bytes every time.
type Content interface {
	// Size is the length in bytes.
	Size() int64
	// Open returns the bytes from the start; the caller closes it.
	Open() (io.ReadCloser, error)
}

// A Digester is a [Content] that knows the SHA-256 of its bytes, such as a
// file of a content-addressed store. [Tree.Digest] trusts it instead of
// reading the content.
type Digester interface {
	Content
	// Digest is the SHA-256 of the content.
	Digest() [sha256.Size]byte
}

// copyBuffer is how much of a content is in memory while it is copied. Large
// pieces matter to writers whose every write is a system call.
const copyBuffer = 256 << 10

// Bytes is content that is already in memory. The slice must not be changed
// afterwards.
func Bytes(b []byte) Content { return memory(b) }

// FromFS is the content of the regular file name in fsys. Its size is taken
// now; the bytes are read when a writer asks for them.
func FromFS(fsys fs.FS, name string) (Content, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("content of %s: it is %v, not a regular file", name, info.Mode())
	}
	return file{fsys: fsys, name: name, size: info.Size()}, nil
}

// Copy writes all of c to w. It is an error when c gives more or fewer bytes
// than its size, because every writer has by then promised that size.
func Copy(w io.Writer, c Content) error {
	if b, ok := c.(memory); ok {
		_, err := w.Write(b)
		return err
	}
	r, err := Reader(c)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, max(1, min(c.Size(), copyBuffer)))
	_, err = io.CopyBuffer(onlyWriter{w}, r, buf)
	return err
}

// Reader opens c and checks its length as it is read: the reader fails with
// the last byte when there are more than c's size, and at the end when there
// are fewer.
func Reader(c Content) (io.ReadCloser, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	return &exact{ReadCloser: r, size: c.Size(), left: c.Size()}, nil
}

// An exact reader gives size bytes or an error.
type exact struct {
	io.ReadCloser
	size, left int64
}

func (x *exact) Read(p []byte) (int, error) {
	if x.left == 0 {
		return 0, x.end()
	}
	n, err := x.ReadCloser.Read(p[:min(int64(len(p)), x.left)])
	x.left -= int64(n)
	if err == io.EOF && x.left > 0 {
		return n, fmt.Errorf("content ended after %d of %d bytes: %w", x.size-x.left, x.size, io.ErrUnexpectedEOF)
	}
	if x.left == 0 && (err == nil || err == io.EOF) {
		err = x.end()
	}
	return n, err
}

// end is [io.EOF] when nothing follows the promised bytes.
func (x *exact) end() error {
	var next [1]byte
	switch n, err := io.ReadFull(x.ReadCloser, next[:]); {
	case n > 0:
		return fmt.Errorf("content is longer than the %d bytes it had before; do not change files during a build", x.size)
	default:
		return err
	}
}

// onlyWriter hides other methods of a writer, so that [io.CopyBuffer] uses
// the buffer it is given.
type onlyWriter struct{ io.Writer }

// memory is the content of [Bytes].
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }

// file is the content of [FromFS].
type file struct {
	fsys fs.FS
	name string
	size int64
}

func (f file) Size() int64 { return f.size }

func (f file) Open() (io.ReadCloser, error) { return f.fsys.Open(f.name) }

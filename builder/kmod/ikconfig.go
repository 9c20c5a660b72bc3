package kmod

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
)

// ikconfigMark stands before the gzipped configuration that CONFIG_IKCONFIG
// puts into a kernel (kernel/configs.c).
const ikconfigMark = "IKCFG_ST"

// configInside returns the configuration that an arm64 kernel may carry in
// itself. An x86 kernel is compressed as a whole and not searched; its
// configuration stays unknown, which is no error.
func configInside(fsys fs.FS, name string) (Config, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return Config{}, err
	}
	defer file.Close()
	plain, err := gunzipped(file)
	if err != nil {
		return Config{}, err
	}
	buffered := bufio.NewReaderSize(plain, headSize)
	head, err := buffered.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return Config{}, err
	}
	if !isArm64Image(head) {
		return Config{}, nil
	}
	return ikconfig(buffered)
}

// ikconfig searches r for a configuration and parses it. The mark alone also
// stands in the code that knows it, so only one followed by gzip counts.
func ikconfig(r io.Reader) (Config, error) {
	var packed []byte
	// The configuration of a large kernel is 70 KB when compressed.
	const window = 512 << 10
	err := search(r, []byte(ikconfigMark), window, func(at []byte) bool {
		data := at[len(ikconfigMark):]
		if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			return false
		}
		packed = bytes.Clone(data[:min(len(data), window)])
		return true
	})
	if err != nil || packed == nil {
		return Config{}, err
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Config{}, err
	}
	// What follows the configuration is the rest of the kernel, no second
	// gzip member.
	reader.Multistream(false)
	data, err := readAll(reader, maxConfig)
	if err != nil {
		return Config{}, err
	}
	return parseConfig(data)
}

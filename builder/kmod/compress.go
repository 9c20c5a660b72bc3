package kmod

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"weft/builder/apt/xzblock"
)

// decompress returns the plain .ko of a module packaged with the given
// suffix, at most maxModule bytes.
func decompress(data []byte, suffix string) ([]byte, error) {
	switch suffix {
	case ".ko":
		return data, nil
	case ".ko.xz":
		return decodeXZ(data)
	case ".ko.zst":
		return decodeZstd(data)
	case ".ko.gz":
		return decodeGzip(data)
	default:
		return nil, fmt.Errorf("unknown suffix %q", suffix)
	}
}

// decodeXZ needs no context: a module takes milliseconds, and modules are
// what is decoded side by side, not the blocks of one.
func decodeXZ(data []byte) ([]byte, error) {
	var plain appender
	_, err := xzblock.Decode(context.Background(), &plain, bytes.NewReader(data), int64(len(data)),
		xzblock.Options{Limit: maxModule, Workers: 1})
	return plain, err
}

// appender is memory that is written from the start to the end.
type appender []byte

func (a *appender) WriteAt(p []byte, off int64) (int, error) {
	if off != int64(len(*a)) {
		return 0, fmt.Errorf("write at %d, have %d bytes", off, len(*a))
	}
	*a = append(*a, p...)
	return len(p), nil
}

func decodeZstd(data []byte) ([]byte, error) {
	// The window is the memory a frame may ask for before its first byte;
	// 64 MiB covers zstd -19 with --long=26.
	decoder, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(maxModule), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	defer decoder.Close()
	plain, err := readAll(decoder, maxModule)
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return plain, nil
}

func decodeGzip(data []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	plain, err := readAll(reader, maxModule)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return plain, nil
}

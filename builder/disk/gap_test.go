package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"testing"
)

func TestTheGapIsWrittenBetweenTableAndFirstPartition(t *testing.T) {
	const first, second = 256 << 10, 768 << 10
	text := []byte("what the gap holds")
	for name, l := range map[string]Layout{"MBR": cardLayout(t), "GPT": testLayout(t)} {
		t.Run(name, func(t *testing.T) {
			path, result := write(t, Source{Layout: l, Digest: true, Gap: func(_ context.Context, w *Window) error {
				_, err := w.WriteAt(text, first)
				_, again := w.WriteAt(text, second)
				return errors.Join(err, again)
			}})
			image, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(image[first:], text) || !bytes.HasPrefix(image[second:], text) {
				t.Error("the gap does not hold what was written")
			}
			if result.SHA256 != sha256.Sum256(image) {
				t.Error("the digest is not that of the file")
			}
			end := int64(0)
			for _, e := range result.Extents {
				if !bytes.Equal(image[end:e.Start], make([]byte, e.Start-end)) {
					t.Errorf("there is data before byte %d and no extent", e.Start)
				}
				end = e.Start + e.Size
			}
			if _, err := Open(bytes.NewReader(image), l.Size); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheGapEndsAtTableAndPartition(t *testing.T) {
	l := cardLayout(t)
	for at, fits := range map[int64]bool{
		0: false, SectorSize: false, blockSize - 1: false, blockSize: true,
		l.first() - 1: true, l.first(): false,
	} {
		var got error
		write(t, Source{Layout: l, Gap: func(_ context.Context, w *Window) error {
			_, got = w.WriteAt([]byte{1}, at)
			return nil
		}})
		if (got == nil) != fits || got != nil && !errors.Is(got, ErrNoRoom) {
			t.Errorf("one byte at byte %d: %v", at, got)
		}
	}
}

package image

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/boards"
	"weft/builder/disk"
	"weft/builder/plan"
	"weft/builder/tree"
	"weft/document"
	"weft/profiles"
)

const slotBoard = `weft: board/v1
disk:
  slot: 16
`

// writeSlot writes a root of one file into a slot of 16 MiB.
func writeSlot(t *testing.T, file int) (size int64, err error) {
	t.Helper()
	root := tree.New(time.Unix(0, 0))
	root.File("file", 0o644, tree.Bytes(make([]byte, file)))
	board, doc, _ := boards.Read("board.yaml", []byte(slotBoard))
	d := diskWriter{
		in:   Input{Plan: plan.New("1", board, doc, profiles.Profile{}, nil)},
		root: root,
		ids:  disk.DeriveIDs("test"),
	}
	layout, err := disk.Plan(d.ids, disk.Sizes{Arch: "amd64", Boot: 36 << 20, Root: 16 << 20, Data: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	_, err = disk.Write(t.Context(), filepath.Join(t.TempDir(), "disk"), disk.Source{
		Layout: layout, Contents: map[string]disk.Producer{disk.RootA: d.writeRoot(&size)},
	})
	return size, err
}

func TestARootThatDoesNotFitPointsAtTheSlot(t *testing.T) {
	if size, err := writeSlot(t, 15<<20); err != nil || size < 15<<20 || size > 16<<20 {
		t.Errorf("15 MiB: %d, %v", size, err)
	}
	// The file alone would fit in the first case; its inode does not.
	for _, bytes := range []int{16 << 20, 17 << 20} {
		_, err := writeSlot(t, bytes)
		var problems document.Problems
		if !errors.As(err, &problems) || !strings.HasPrefix(problems.Error(), "board.yaml:3:9: ") || !strings.Contains(problems.Error(), "fix: make ") {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
}

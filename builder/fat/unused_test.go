package fat

import (
	"bytes"
	"testing"

	"weft/builder/tree"
)

func TestUnusedIsWhatNoFileHas(t *testing.T) {
	for typ, size := range map[Type]int64{FAT12: 2 << 20, FAT16: 16 << 20, FAT32: 64 << 20} {
		tr := tree.New(epoch)
		tr.File("zeros", 0o644, tree.Bytes(make([]byte, 300<<10)))
		var image disk = make([]byte, size)
		layout, err := Write(image, size, tr, Params{Type: typ, Label: "WEFT"})
		if err != nil {
			t.Fatal(err)
		}
		runs, label, err := Unused(bytes.NewReader(image), size, 1)
		if err != nil || label != "WEFT" || len(runs) != 1 {
			t.Fatalf("%v: %+v, %q: %v", typ, runs, label, err)
		}
		at, n, _ := layout.Extent("zeros")
		if free := int64(layout.Free) * int64(layout.ClusterSize); runs[0].Size != free || runs[0].Start < at+n {
			t.Errorf("%v: %+v, want %d bytes behind byte %d", typ, runs, free, at+n)
		}
		// A cluster in the middle is taken: two runs, of which one is too small.
		f := open(t, image)
		middle := firstData + f.clusters - 3
		if err := f.set(middle, f.end()); err != nil {
			t.Fatal(err)
		}
		runs, _, err = Unused(bytes.NewReader(image), size, 3*f.clusterSize)
		if err != nil || len(runs) != 1 || runs[0].Start+runs[0].Size != f.clusterOffset(middle) {
			t.Errorf("%v: %+v: %v", typ, runs, err)
		}
	}
}

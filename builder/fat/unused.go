package fat

import (
	"fmt"
	"io"
)

// A Run is a part of a volume, in bytes.
type Run struct{ Start, Size int64 }

// Unused returns the runs of at least least bytes in which a volume has free
// clusters, and the label of its boot sector. What is there means nothing to
// anyone: systems read only what the table gives to a file. It reads the boot
// sector and the active table, from the front to the back. The errors wrap
// [ErrCorrupt] or come from r.
func Unused(r io.ReaderAt, size, least int64) (runs []Run, label string, err error) {
	f := &FS{r: r}
	if err := f.parse(size); err != nil {
		return nil, "", fmt.Errorf("fat: boot sector: %w", err)
	}
	w, run := &walker{f: f}, Run{}
	end := firstData + f.clusters
	for c := uint32(firstData); c <= end; c++ {
		if c < end {
			v, err := w.entry(c)
			if err != nil {
				return nil, "", fmt.Errorf("fat: %w", err)
			}
			if v == 0 {
				if run.Size == 0 {
					run.Start = f.clusterOffset(c)
				}
				run.Size += f.clusterSize
				continue
			}
		}
		if run.Size > 0 && run.Size >= least {
			runs = append(runs, run)
		}
		run = Run{}
	}
	return runs, f.label, nil
}

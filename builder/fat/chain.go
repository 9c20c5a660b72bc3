package fat

import "fmt"

// window is how much of the FAT a walker reads at once.
const window = 4096

// A walker follows chains of clusters. It keeps a piece of the table, so it
// must not outlive a change of it.
type walker struct {
	f    *FS
	at   int64 // offset of buf in the table
	buf  []byte
	room [window]byte
}

// entry reads the table's entry of a valid cluster.
func (w *walker) entry(cluster uint32) (uint32, error) {
	at, n := w.f.entryAt(cluster)
	if at < w.at || at+int64(n) > w.at+int64(len(w.buf)) {
		size := min(window, int64(w.f.fatSectors)*w.f.sectorSize-at)
		w.buf = w.room[:size]
		if _, err := w.f.r.ReadAt(w.buf, w.f.fatOffset(w.f.activeFAT)+at); err != nil {
			w.buf = nil
			return 0, fmt.Errorf("read the FAT: %w", err)
		}
		w.at = at
	}
	return w.f.decode(w.buf[at-w.at:], cluster), nil
}

// next follows a chain by one cluster; end says that there is none.
func (w *walker) next(cluster uint32) (next uint32, end bool, err error) {
	v, err := w.entry(cluster)
	switch {
	case err != nil:
		return 0, false, err
	case v >= w.f.endFrom():
		return 0, true, nil
	case !w.f.valid(v):
		return 0, false, corrupt("cluster %d is followed by %d, which is no cluster in use", cluster, v)
	}
	return v, false, nil
}

// chain returns the clusters of a chain, at most limit of them.
func (f *FS) chain(first uint32, limit int64, visit func(uint32) error) ([]uint32, error) {
	if !f.valid(first) {
		return nil, corrupt("a chain starts at cluster %d of %d", first, f.clusters)
	}
	w := &walker{f: f}
	var clusters []uint32
	for c := first; ; {
		if int64(len(clusters)) >= limit {
			return nil, corrupt("the chain from cluster %d is a loop or longer than %d clusters", first, limit)
		}
		if visit != nil {
			if err := visit(c); err != nil {
				return nil, err
			}
		}
		clusters = append(clusters, c)
		next, end, err := w.next(c)
		if err != nil {
			return nil, err
		}
		if end {
			return clusters, nil
		}
		c = next
	}
}

package pathwatch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watched is a file two folders deep that is being watched.
type watched struct {
	root, folder, file string
	told               chan struct{}
}

func newWatched(t *testing.T, exists bool) watched {
	t.Helper()
	w := watched{root: t.TempDir(), told: make(chan struct{}, 1000)}
	w.folder = filepath.Join(w.root, "a", "b")
	w.file = filepath.Join(w.folder, "file")
	if exists {
		w.make(t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	changes, err := Changes(ctx, w.file, filepath.Join(w.root, "other"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, err := range changes {
			if err != nil {
				t.Error(err)
			}
			w.told <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("the watch does not end")
		}
	})
	return w
}

func (w watched) make(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(w.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.file, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tells waits until a change is told of.
func (w watched) tells(t *testing.T, what string) {
	t.Helper()
	select {
	case <-w.told:
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing was told of %s", what)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryWayAFileChangesIsTold(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, w watched){
		"a write":            func(t *testing.T, w watched) { must(t, os.WriteFile(w.file, []byte("two"), 0o644)) },
		"cut off":            func(t *testing.T, w watched) { must(t, os.Truncate(w.file, 1)) },
		"a deletion":         func(t *testing.T, w watched) { must(t, os.Remove(w.file)) },
		"moved away":         func(t *testing.T, w watched) { must(t, os.Rename(w.file, w.file+"2")) },
		"its folder deleted": func(t *testing.T, w watched) { must(t, os.RemoveAll(w.folder)) },
		"all deleted":        func(t *testing.T, w watched) { must(t, os.RemoveAll(filepath.Dir(w.folder))) },
		"its folder moved":   func(t *testing.T, w watched) { must(t, os.Rename(w.folder, w.folder+"2")) },
		"the one above moved": func(t *testing.T, w watched) {
			must(t, os.Rename(filepath.Dir(w.folder), filepath.Dir(w.folder)+"2"))
		},
		"replaced": func(t *testing.T, w watched) {
			must(t, os.WriteFile(filepath.Join(w.root, "new"), nil, 0o644))
			must(t, os.Rename(filepath.Join(w.root, "new"), w.file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, true)
			change(t, w)
			w.tells(t, name)
		})
	}
}

// A file is watched wherever its folder is made anew.
func TestWhatComesBackIsWatchedAgain(t *testing.T) {
	w := newWatched(t, false)
	for range 3 {
		w.make(t)
		w.tells(t, "a file that appears")
		must(t, os.RemoveAll(filepath.Join(w.root, "a")))
		w.tells(t, "a file that goes")
	}
	// Of all that happened at once one change may be told, so the last write
	// is told of when the folders stand.
	w.make(t)
	for len(w.told) > 0 {
		<-w.told
	}
	must(t, os.Remove(w.file))
	w.tells(t, "the deletion")
}

func TestOtherFilesAreNotTold(t *testing.T) {
	w := newWatched(t, true)
	for _, other := range []string{filepath.Join(w.root, "b"), w.file + ".tmp", filepath.Join(w.root, "a", "file")} {
		must(t, os.WriteFile(other, []byte("x"), 0o644))
		must(t, os.Remove(other))
	}
	must(t, os.Remove(w.file)) // what came before has been read when this is told
	w.tells(t, "the deletion")
	if n := len(w.told); n != 0 {
		t.Errorf("%d more were told", n)
	}
}

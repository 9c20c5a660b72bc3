package storage

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeFS is a data partition whose answers are given.
type fakeFS struct {
	probe  error
	mounts []error // of each mount in turn
	make   error
	log    []string
}

func (f *fakeFS) Probe(string) error { return f.probe }

// SetAside keeps three quarters of what is large.
func (f *fakeFS) SetAside(_ string, size int64) int64 {
	if size < 4<<30 {
		return size
	}
	f.log = append(f.log, "aside")
	return size / 4
}

func (f *fakeFS) Make(_ string, bytes int64) error {
	f.log = append(f.log, fmt.Sprintf("make %d", bytes>>20))
	return f.make
}

func (f *fakeFS) Mount(string) error {
	f.log = append(f.log, "mount")
	err := f.mounts[0]
	f.mounts = f.mounts[1:]
	return err
}

func TestOpen(t *testing.T) {
	noFS := errors.New("no ext4 file system")
	for name, c := range map[string]struct {
		fs     fakeFS
		size   int64
		log    string
		remade string
		err    string
	}{
		"sound":                   {fakeFS{mounts: []error{nil}}, 1 << 30, "mount", "", ""},
		"garbage is made new":     {fakeFS{probe: noFS, mounts: []error{nil}}, 1 << 30, "make 128,mount", "no ext4", ""},
		"room to keep the old":    {fakeFS{probe: noFS, mounts: []error{nil}}, 4 << 30, "aside,make 128,mount", "no ext4", ""},
		"sound and large":         {fakeFS{mounts: []error{nil}}, 4 << 30, "mount", "", ""},
		"small stays small":       {fakeFS{probe: noFS, mounts: []error{nil}}, 64 << 20, "make 64,mount", "no ext4", ""},
		"damage below":            {fakeFS{mounts: []error{unix.EUCLEAN, nil}}, 1 << 30, "mount,make 128,mount", "mount: ", ""},
		"a journal beyond repair": {fakeFS{mounts: []error{unix.EIO, nil}}, 1 << 30, "mount,make 128,mount", "mount: ", ""},
		"a kernel without ext4":   {fakeFS{mounts: []error{unix.ENODEV}}, 1 << 30, "mount", "", "no such device"},
		"in use":                  {fakeFS{mounts: []error{unix.EBUSY}}, 1 << 30, "mount", "", "busy"},
		"a disk that is broken":   {fakeFS{probe: noFS, make: unix.EIO}, 1 << 30, "make 128", "no ext4", "make a new file system"},
		"new and still not good":  {fakeFS{probe: noFS, mounts: []error{unix.EINVAL}}, 1 << 30, "make 128,mount", "no ext4", "mount the new file system"},
		"nonsense":                {fakeFS{}, -1, "", "", "size -1"},
	} {
		remade, err := Open(&c.fs, "/dev/x", c.size)
		if got := strings.Join(c.fs.log, ","); got != c.log {
			t.Errorf("%s: did %s, want %s", name, got, c.log)
		}
		for _, e := range []struct {
			got  error
			want string
		}{{remade, c.remade}, {err, c.err}} {
			if (e.got == nil) != (e.want == "") || e.got != nil && !strings.Contains(e.got.Error(), e.want) {
				t.Errorf("%s: %v, want %q", name, e.got, e.want)
			}
		}
	}
}

package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestWhatWasPutIsFound(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "new", "folder"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "plain", "with/slash and \x00 byte"} {
		if _, ok := d.Get(key); ok {
			t.Errorf("Get(%q) found something before Put", key)
		}
		d.Put(key, []byte("value of "+key))
		got, ok := d.Get(key)
		if !ok || string(got) != "value of "+key {
			t.Errorf("Get(%q) = %q, %v", key, got, ok)
		}
	}
	d.Put("empty", nil)
	if got, ok := d.Get("empty"); !ok || len(got) != 0 {
		t.Errorf("Get(empty) = %q, %v; an empty value is a value", got, ok)
	}
}

func TestARottenEntryIsAbsentAndRemoved(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"flipped bit": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut short":   func(b []byte) []byte { return b[:len(b)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			d.Put("k", []byte("some value"))
			data, err := os.ReadFile(d.file("k"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(d.file("k"), spoil(data), 0o644); err != nil {
				t.Fatal(err)
			}
			if got, ok := d.Get("k"); ok {
				t.Errorf("Get returned %q from a rotten entry", got)
			}
			if _, err := os.Stat(d.file("k")); !os.IsNotExist(err) {
				t.Errorf("the rotten entry is still there: %v", err)
			}
		})
	}
}

func TestManyWritersOfOneKey(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("weft"), 1<<16)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				d.Put("k", value)
				if got, ok := d.Get("k"); !ok || !bytes.Equal(got, value) {
					t.Errorf("Get during writes: %d bytes, %v", len(got), ok)
				}
			}
		})
	}
	group.Wait()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(d.file("k")), ".new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v %v", left, err)
	}
}

func TestTheZeroValueKeepsNothing(t *testing.T) {
	var d Dir
	d.Put("k", []byte("v"))
	if got, ok := d.Get("k"); ok {
		t.Errorf("Get = %q", got)
	}
}

func BenchmarkGet(b *testing.B) {
	d, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1 << 10, 4 << 20} {
		d.Put(fmt.Sprint(size), make([]byte, size))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				d.Get(fmt.Sprint(size))
			}
		})
	}
}

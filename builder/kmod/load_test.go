package kmod

import (
	"bytes"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func TestWarmCacheDecompressesNothing(t *testing.T) {
	files := vxlanKernel(t)
	cache := &memory{}
	closure := func() map[string][]byte {
		set, err := files.open(t, WithCache(cache)).Closure("vxlan", "bridge")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := set.RawAll()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	cold := closure()
	if cache.hits != 0 || cache.misses == 0 {
		t.Errorf("cold: %d hits, %d misses", cache.hits, cache.misses)
	}
	cache.reset()
	warm := closure()
	if cache.misses != 0 || cache.hits == 0 {
		t.Errorf("warm: %d hits, %d misses", cache.hits, cache.misses)
	}
	for name, data := range cold {
		if !bytes.Equal(warm[name], data) || !bytes.HasPrefix(data, []byte("\x7fELF")) {
			t.Errorf("%s differs", name)
		}
	}
}

// A rebuilt module of the same name and size must not get the other's data.
func TestCacheGoesByContent(t *testing.T) {
	cache := &memory{}
	read := func(alias string) string {
		files := newKernel()
		files.module(t, "kernel/m.ko", "name=m", "alias="+alias)
		set, err := files.open(t, WithCache(cache)).Closure("m")
		if err != nil {
			t.Fatal(err)
		}
		return string(set.Alias())
	}
	if read("one") == read("two") {
		t.Error("the second kernel was told the first one's alias")
	}
}

func TestModulesTooLargeSayHowToMakeThemSmaller(t *testing.T) {
	_, err := readAll(strings.NewReader("12345"), 4)
	err = moduleError("kernel/m.ko", err)
	for _, want := range []string{"kernel/m.ko", "limit is 4 bytes", "INSTALL_MOD_STRIP=1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if _, err := readAll(strings.NewReader("1234"), 4); err != nil {
		t.Errorf("just at the limit: %v", err)
	}
}

// opened counts what is read of a file system.
type opened struct {
	fstest.MapFS
	mu    sync.Mutex
	files map[string]int
}

func (o *opened) Open(name string) (fs.File, error) {
	o.mu.Lock()
	o.files[name]++
	o.mu.Unlock()
	return o.MapFS.Open(name)
}

func TestOnlyModulesAskedForAreRead(t *testing.T) {
	files := vxlanKernel(t)
	seen := &opened{MapFS: files.MapFS, files: map[string]int{}}
	k, err := Open(seen)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := k.Closure("vxlan"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{
		"kernel/drivers/net/vxlan/vxlan.ko.xz": 1,
		"kernel/net/ipv4/udp_tunnel.ko.zst":    1,
		"kernel/net/bridge/bridge.ko":          0,
		"kernel/crypto/crc32c_generic.ko":      0,
	} {
		if got := seen.files[files.dir+"/"+name]; got != want {
			t.Errorf("%s was opened %d times, want %d", name, got, want)
		}
	}
}

func TestBuiltinModulesHaveNoFile(t *testing.T) {
	k := vxlanKernel(t).open(t)
	set, err := k.Closure("wireguard")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := set.Member("wireguard")
	if _, err := k.Raw(m); err == nil {
		t.Error("Raw gave a file")
	}
	if raw, err := set.RawAll(); err != nil || len(raw) != 0 {
		t.Errorf("RawAll: %d files, %v", len(raw), err)
	}
}

func TestKernelIsUsedBySeveralGoroutines(t *testing.T) {
	k := vxlanKernel(t).open(t, WithCache(&memory{}))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := k.Closure("vxlan", "bridge", "wireguard"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

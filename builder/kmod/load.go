package kmod

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"weft/builder/apt/xzblock"
)

// A Cache keeps between builds what is expensive to get out of a module. Keys
// are made of letters, digits and "-" and name contents by their SHA-256, so
// an entry never becomes stale and may be dropped at any time. A Cache is
// used by several goroutines at once, must return whole values only, and
// nobody changes a value once it is put or got.
type Cache interface {
	Get(key string) ([]byte, bool)
	Put(key string, value []byte)
}

// The kinds of cache entries; the content's hash follows.
const (
	keyModinfo = "kmod-modinfo-" // the .modinfo section
	keyRaw     = "kmod-ko-"      // the decompressed module
)

// Packaged returns a module as it is in the package, compressed or not.
func (k *Kernel) Packaged(m Member) ([]byte, error) {
	if m.Builtin {
		return nil, fmt.Errorf("module %s is built in and has no file", m.Name)
	}
	return k.packaged(m.Name)
}

// Raw returns a module as a plain .ko.
func (k *Kernel) Raw(m Member) ([]byte, error) {
	data, err := k.Packaged(m)
	if err != nil {
		return nil, err
	}
	_, suffix := splitSuffix(k.modules[m.Name])
	if suffix == ".ko" {
		return data, nil
	}
	raw, err := k.cached(keyRaw, data, func() ([]byte, error) { return decompress(data, suffix) })
	if err != nil {
		return nil, moduleError(k.modules[m.Name], err)
	}
	return raw, nil
}

// packaged reads the file of a loadable module.
func (k *Kernel) packaged(name string) ([]byte, error) {
	file := k.modules[name]
	if file == "" {
		return nil, fmt.Errorf("module %s is not in kernel %s", name, k.Release)
	}
	data, err := readLimited(k.fsys, k.ModulesDir+"/"+file, maxModule)
	if err != nil {
		return nil, moduleError(file, err)
	}
	return data, nil
}

// moduleError names the file in an error.
func moduleError(file string, err error) error {
	if errors.Is(err, errTooLarge) || errors.Is(err, xzblock.ErrTooLarge) {
		// Debug information makes a module ten times its size.
		return fmt.Errorf("module %s: %w; install modules stripped (make INSTALL_MOD_STRIP=1 modules_install)", file, err)
	}
	return fmt.Errorf("module %s: %w", file, err)
}

// cached returns what the cache has for data, or makes and keeps it.
func (k *Kernel) cached(kind string, data []byte, make func() ([]byte, error)) ([]byte, error) {
	if k.cache == nil {
		return make()
	}
	sum := sha256.Sum256(data)
	key := kind + hex.EncodeToString(sum[:])
	if value, ok := k.cache.Get(key); ok {
		return value, nil
	}
	value, err := make()
	if err != nil {
		return nil, err
	}
	k.cache.Put(key, value)
	return value, nil
}

// load returns what the named loadable modules say about themselves. Those
// not known yet are read by as many goroutines as there are processors.
func (k *Kernel) load(names []string) (map[string]*info, error) {
	found := map[string]*info{}
	var missing []string
	k.mu.Lock()
	for _, name := range names {
		if i := k.infos[name]; i != nil {
			found[name] = i
		} else {
			missing = append(missing, name)
		}
	}
	k.mu.Unlock()

	err := parallel(missing, func(name string) error {
		i, err := k.read(name)
		if err != nil {
			return moduleError(k.modules[name], err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.infos[name], found[name] = i, i
		return nil
	})
	return found, err
}

// read reads what one module says about itself and checks that it belongs to
// this kernel.
func (k *Kernel) read(name string) (*info, error) {
	data, err := readLimited(k.fsys, k.ModulesDir+"/"+k.modules[name], maxModule)
	if err != nil {
		return nil, err
	}
	section, err := k.cached(keyModinfo, data, func() ([]byte, error) {
		_, suffix := splitSuffix(k.modules[name])
		raw, err := decompress(data, suffix)
		if err != nil {
			return nil, err
		}
		section, err := elfSection(raw, k.Arch, ".modinfo")
		// A copy, so that a cache in memory does not keep the whole module.
		return bytes.Clone(section), err
	})
	if err != nil {
		return nil, err
	}
	parsed, err := parseModinfo(section)
	if err != nil {
		return nil, err
	}
	// The loader compares the whole of vermagic; its first word is what can
	// be known here (kernel/module/main.c, check_modinfo).
	if parsed.release != k.Release {
		return nil, fmt.Errorf("built for kernel %q, this is %s: the module would be refused at boot; take modules and kernel from one build", parsed.release, k.Release)
	}
	if parsed.name != "" && parsed.name != name {
		return nil, fmt.Errorf("calls itself %s: give the file its own name back", parsed.name)
	}
	return parsed, nil
}

// RawAll returns all loadable modules of the set as plain .ko, by name. Use
// it for small sets: all of them are in memory at once.
func (s Set) RawAll() (map[string][]byte, error) {
	var mu sync.Mutex
	raw := map[string][]byte{}
	err := parallel(s.Loadable(), func(m Member) error {
		data, err := s.kernel.Raw(m)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		raw[m.Name] = data
		return nil
	})
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// maxParallel bounds how many modules are in memory at once.
const maxParallel = 8

// parallel calls do for every item, on as many goroutines as there are
// processors, and returns all errors, joined in the order of the items.
func parallel[T any](items []T, do func(T) error) error {
	var group errgroup.Group
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxParallel))
	errs := make([]error, len(items))
	for i, item := range items {
		group.Go(func() error {
			errs[i] = do(item)
			return nil
		})
	}
	_ = group.Wait() // the functions return no error
	return errors.Join(errs...)
}

// Package kmod says what a kernel package carries and what follows from it:
// the release, the configuration, the graph of its modules, the modules a
// node needs (the closure), the files depmod would write for them, and
// whether the kernel keeps a profile's contract.
//
// It reads a folder laid out like an unpacked Debian kernel package, of the
// layout of Linux 6.12 or of 7.x, or one a person made with `make
// modules_install`. Debian's packages carry no modules.dep, so everything
// comes from the modules themselves: from the .modinfo section of each, and
// from modules.builtin and modules.builtin.modinfo for what is built in.
//
// Modules are compressed, and to read all 4,229 of a full kernel costs some
// 20 s of processor time. So only those that are asked for are ever
// decompressed, and with a [Cache] each of them once.
//
// It does not load modules, does not fetch packages, and does not read symbol
// tables: dependencies are those the kernel's build wrote into each module.
package kmod

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Kernel is what one kernel package carries. It is safe for use by several
// goroutines at once.
type Kernel struct {
	// Release is what uname -r will say, such as 6.12.107+deb13-amd64.
	Release string
	// Arch is the Debian architecture, amd64 or arm64.
	Arch string
	// ModulesDir is the folder of the modules, in the file system given to
	// [Open], such as usr/lib/modules/6.12.107+deb13-amd64.
	ModulesDir string
	// ImagePath is the kernel itself, in the same file system.
	ImagePath string
	// Config is the configuration the kernel was built with.
	Config Config

	fsys   fs.FS
	cache  Cache
	digest string

	// modules are the loadable modules by name: paths below ModulesDir.
	modules map[string]string
	// builtin are the built-in modules.
	builtin builtins

	mu    sync.Mutex
	infos map[string]*info // of the modules read so far, by name
	// scopes are the alias tables of the parts searched so far.
	scopes map[string]aliasTable
}

// Limits on what is read whole. Debian's largest are given for comparison.
const (
	maxImage   = 512 << 20 // vmlinuz: 49 MB (arm64, not compressed)
	maxConfig  = 8 << 20   // config: 0.3 MB
	maxBuiltin = 8 << 20   // modules.builtin.modinfo: 0.1 MB
	maxModule  = 256 << 20 // one module, packaged or plain: 4 and 30 MB (amdgpu)
	maxTree    = 2 << 20   // a device tree: 0.2 MB, and the kernel takes no more than 2
	maxModules = 1 << 16   // modules of one kernel: 4,403
)

// An Option changes how [Open] reads a kernel.
type Option func(*Kernel)

// WithCache makes the kernel keep what it decompressed in c.
func WithCache(c Cache) Option {
	return func(k *Kernel) { k.cache = c }
}

// WithDigest names the content of the kernel's files, so that what follows
// from all of them can be cached.
func WithDigest(digest string) Option {
	return func(k *Kernel) { k.digest = digest }
}

// Open reads a kernel from fsys, which is laid out like an unpacked kernel
// package. These are looked for, the first found wins:
//
//   - modules: the one folder below usr/lib/modules and lib/modules
//   - kernel: vmlinuz in that folder, boot/vmlinuz-RELEASE, and for folders a
//     person brings vmlinuz, Image and any other vmlinuz-*, in boot or at the
//     top
//   - configuration: config in the modules folder, boot/config-RELEASE, and
//     config or .config at the top; else the copy inside an arm64 kernel
//     built with CONFIG_IKCONFIG
//
// The release inside the kernel must be the name of the modules folder: with
// any other name no module would ever be found or loaded. No module is read
// yet.
func Open(fsys fs.FS, options ...Option) (*Kernel, error) {
	k := &Kernel{fsys: fsys, infos: map[string]*info{}, scopes: map[string]aliasTable{}}
	for _, option := range options {
		option(k)
	}
	var err error
	if k.ModulesDir, k.Release, err = findModules(fsys); err != nil {
		return nil, err
	}
	if k.ImagePath, err = findImage(fsys, k.ModulesDir, k.Release); err != nil {
		return nil, err
	}
	img, err := readImage(fsys, k.ImagePath)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.ImagePath, err)
	}
	if img.release != k.Release {
		return nil, &ReleaseError{Image: k.ImagePath, ImageRelease: img.release, ModulesDir: k.ModulesDir}
	}
	k.Arch = img.arch
	if k.Config, err = findConfig(fsys, k.ModulesDir, k.Release, k.ImagePath); err != nil {
		return nil, err
	}
	if k.modules, err = listModules(fsys, k.ModulesDir); err != nil {
		return nil, err
	}
	if k.builtin, err = readBuiltins(fsys, k.ModulesDir); err != nil {
		return nil, err
	}
	return k, nil
}

// Image returns the kernel as packaged.
func (k *Kernel) Image() ([]byte, error) {
	data, err := readLimited(k.fsys, k.ImagePath, maxImage)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.ImagePath, err)
	}
	return data, nil
}

// Has says whether the kernel has the named module, loadable or built in.
func (k *Kernel) Has(name string) bool {
	name = normalise(name)
	return k.modules[name] != "" || k.builtin.has(name)
}

// Builtin says whether the named module is built in. A module file of the
// same name, which can only be an update, is preferred.
func (k *Kernel) Builtin(name string) bool {
	name = normalise(name)
	return k.modules[name] == "" && k.builtin.has(name)
}

// Names returns the names of all modules, loadable and built in, sorted.
func (k *Kernel) Names() []string {
	names := slices.Collect(maps.Keys(k.modules))
	names = slices.AppendSeq(names, maps.Keys(k.builtin.paths))
	slices.Sort(names)
	return slices.Compact(names)
}

// Decompresses says whether this kernel can load a module file that ends in
// suffix as it is, by finit_module(2) with MODULE_INIT_COMPRESSED_FILE: a
// kernel knows the one compression it was built for
// (kernel/module/decompress.c). Plain .ko files it always loads. Without a
// known configuration the answer for compressed files is no.
func (k *Kernel) Decompresses(suffix string) bool {
	if suffix == ".ko" {
		return true
	}
	symbol := map[string]string{
		".ko.xz":  "CONFIG_MODULE_COMPRESS_XZ",
		".ko.zst": "CONFIG_MODULE_COMPRESS_ZSTD",
		".ko.gz":  "CONFIG_MODULE_COMPRESS_GZIP",
	}[suffix]
	return symbol != "" && k.Config.Value("CONFIG_MODULE_DECOMPRESS") == "y" && k.Config.Value(symbol) == "y"
}

// symbolFor guesses the configuration symbol of a module from its name. It
// returns "" when the configuration does not know the guess: many symbols are
// not named like their module.
func (k *Kernel) symbolFor(module string) string {
	symbol := "CONFIG_" + strings.ToUpper(module)
	if k.Config.mentions(symbol) {
		return symbol
	}
	return ""
}

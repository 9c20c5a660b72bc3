package image

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"weft/boards"
	"weft/builder/cpio"
	"weft/builder/kmod"
	"weft/builder/tree"

	"github.com/klauspost/compress/zstd"
)

// initramfs is the compressed archive that finds the root: init and the boot
// modules.
func (in Input) initramfs(boot kmod.Set) ([]byte, error) {
	t := tree.New(in.Epoch)
	for _, dir := range []string{"proc", "sys", "dev", "run", "newroot"} {
		t.Dir(dir, 0o755)
	}
	// The kernel opens the console before init can mount devtmpfs
	// (init/main.c, console_on_rootfs).
	t.Device("dev/console", fs.ModeDevice|fs.ModeCharDevice|0o600, 5, 1)
	program, err := in.Program(in.Plan.Board.Arch, "init")
	if err != nil {
		return nil, err
	}
	t.File("init", 0o755, tree.Bytes(program))
	if err := in.addModules(t, boot); err != nil {
		return nil, err
	}
	load := "# Loaded before the root is looked for.\n" + strings.Join(in.Plan.Board.Boot.Load, "\n") + "\n"
	t.File("etc/modules-load.d/weft.conf", 0o644, tree.Bytes([]byte(load)))
	return in.compress(t)
}

// moduleDir is where modules live in every tree, without a leading slash.
func (in Input) moduleDir() string {
	return "usr/lib/modules/" + in.Kernel.Release
}

// addModules adds the modules of a set as plain .ko, and what depmod would
// write for them. Packages have them compressed by xz, which the kernel could
// unpack itself: under emulation that made the boot 1.5 s longer, and plain
// modules make the compressed image only 1 MB larger.
func (in Input) addModules(t *tree.Tree, set kmod.Set) error {
	const suffix = ".ko"
	raw, err := set.RawAll()
	if err != nil {
		return err
	}
	for _, m := range set.Loadable() {
		module := raw[m.Name]
		if in.Plan.Board.Kernel.Signatures == boards.Strip {
			module = kmod.StripSignature(module)
		}
		t.File(path.Join(in.moduleDir(), m.StoredAs(suffix)), 0o644, tree.Bytes(module))
	}
	for name, data := range map[string][]byte{
		"modules.dep":     set.Dep(suffix),
		"modules.alias":   set.Alias(),
		"modules.softdep": set.Softdep(),
		"modules.builtin": set.Builtin(),
	} {
		t.File(path.Join(in.moduleDir(), name), 0o644, tree.Bytes(data))
	}
	return nil
}

// compress makes the archive of t, or finds it in the cache: it changes only
// with init and the board, and costs more than all else of a warm build.
func (in Input) compress(t *tree.Tree) ([]byte, error) {
	digest, err := t.Digest()
	if err != nil {
		return nil, err
	}
	key := "initramfs-zstd-1-" + hex.EncodeToString(digest[:])
	if data, ok := in.Cache.Get(key); ok {
		return data, nil
	}
	var out bytes.Buffer
	// One goroutine, so that the output does not depend on the machine. The
	// kernel takes windows up to 128 MiB (lib/decompress_unzstd.c,
	// ZSTD_WINDOWSIZE_MAX) and allocates as much.
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	if err := cpio.Write(w, t); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	in.Cache.Put(key, out.Bytes())
	return out.Bytes(), nil
}

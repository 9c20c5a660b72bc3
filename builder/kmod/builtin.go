package kmod

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// builtins are the modules that are part of the kernel itself.
type builtins struct {
	// paths are by name, as modules.builtin has them; lines are in its order.
	paths map[string]string
	lines []string
	// infos are by name, for those that modules.builtin.modinfo tells of.
	// They include parts of the kernel that can never be modules, such as
	// intel_pstate.
	infos   map[string]*info
	aliases aliasTable
}

// has says whether the named module or part is built in.
func (b *builtins) has(name string) bool {
	return b.paths[name] != "" || b.infos[name] != nil
}

// readBuiltins reads modules.builtin, which must be there, and
// modules.builtin.modinfo, which kernels before 5.2 do not have.
func readBuiltins(fsys fs.FS, dir string) (builtins, error) {
	name := dir + "/modules.builtin"
	data, err := readLimited(fsys, name, maxBuiltin)
	if errors.Is(err, fs.ErrNotExist) {
		return builtins{}, fmt.Errorf("no %s: what is built in cannot be known; give a whole kernel package, or the result of make modules_install", name)
	}
	if err != nil {
		return builtins{}, fmt.Errorf("built-in modules: %w", err)
	}
	found, err := parseBuiltin(data)
	if err != nil {
		return builtins{}, fmt.Errorf("%s: %w", name, err)
	}
	data, err = readLimited(fsys, name+".modinfo", maxBuiltin)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return builtins{}, fmt.Errorf("built-in modules: %w", err)
	}
	if err := found.parseModinfo(data); err != nil {
		return builtins{}, fmt.Errorf("%s.modinfo: %w", name, err)
	}
	return found, nil
}

// parseBuiltin reads modules.builtin: one path a line
// (Documentation/kbuild/kbuild.rst).
func parseBuiltin(data []byte) (builtins, error) {
	found := builtins{paths: map[string]string{}, infos: map[string]*info{}}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		file := strings.TrimRight(string(line), "\r\n")
		if file == "" {
			continue
		}
		name, ok := moduleName(file)
		if !ok || checkText("path", file) != nil {
			return builtins{}, fmt.Errorf("line %d: %.40q is not the path of a module", number, file)
		}
		found.paths[name] = file
		found.lines = append(found.lines, file)
	}
	return found, nil
}

// parseModinfo reads modules.builtin.modinfo: strings MODULE.key=value that
// end in NUL (include/linux/moduleparam.h, MODULE_PARAM_PREFIX).
func (b *builtins) parseModinfo(data []byte) error {
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if len(entry) == 0 {
			continue
		}
		module, rest, ok := strings.Cut(string(entry), ".")
		if !ok {
			return fmt.Errorf("%.40q is not MODULE.key=value", entry)
		}
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			return fmt.Errorf("%.40q is not MODULE.key=value", entry)
		}
		module = normalise(module)
		if b.infos[module] == nil {
			b.infos[module] = &info{}
		}
		if err := b.infos[module].set(key, value); err != nil {
			return fmt.Errorf("module %s: %w", module, err)
		}
	}
	for module, i := range b.infos {
		for _, alias := range i.aliases {
			b.aliases.add(alias, module)
		}
	}
	return nil
}

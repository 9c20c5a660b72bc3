package kmod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// findModules returns the one modules folder and the release it is named for.
func findModules(fsys fs.FS) (dir, release string, err error) {
	var found []string
	releases := map[string]bool{}
	for _, root := range []string{"usr/lib/modules", "lib/modules"} {
		entries, err := fs.ReadDir(fsys, root)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("modules folder: %w", err)
		}
		for _, entry := range entries {
			// With /usr merged, lib is usr/lib, and both names are one
			// folder.
			if entry.IsDir() && !releases[entry.Name()] {
				releases[entry.Name()] = true
				found = append(found, path.Join(root, entry.Name()))
			}
		}
	}
	switch len(found) {
	case 0:
		return "", "", errors.New("no modules folder: neither usr/lib/modules nor lib/modules has a folder named for the kernel's release; give the folder of an unpacked kernel package")
	case 1:
		release = path.Base(found[0])
		if err := checkRelease(release); err != nil {
			return "", "", fmt.Errorf("modules folder %s: %w", found[0], err)
		}
		return found[0], release, nil
	default:
		slices.Sort(found)
		return "", "", fmt.Errorf("several modules folders (%s): leave only the one of the kernel to boot", strings.Join(found, ", "))
	}
}

// checkRelease refuses what cannot be a kernel release. The kernel's own
// limit is 64 bytes (include/linux/uts.h, __NEW_UTS_LEN); letters beyond
// these are not used, and blanks or slashes would break files and paths.
func checkRelease(release string) error {
	if release == "" || len(release) > 64 {
		return fmt.Errorf("kernel release of %d bytes, want 1 to 64", len(release))
	}
	for _, c := range []byte(release) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("+-._~", c) >= 0:
		default:
			return fmt.Errorf("kernel release %q: character %q is not allowed", release, c)
		}
	}
	return nil
}

// findImage returns the path of the kernel that goes with the modules.
func findImage(fsys fs.FS, modulesDir, release string) (string, error) {
	names := []string{
		modulesDir + "/vmlinuz", "boot/vmlinuz-" + release, "vmlinuz-" + release,
		"boot/vmlinuz", "vmlinuz", "boot/Image", "Image",
	}
	for _, name := range names {
		if isFile(fsys, name) {
			return name, nil
		}
	}
	// A kernel named for another release is found all the same, so that the
	// mismatch can be named.
	var others []string
	for _, pattern := range []string{"boot/vmlinuz-*", "vmlinuz-*"} {
		// The only error of Glob is a malformed pattern.
		matches, _ := fs.Glob(fsys, pattern)
		others = append(others, matches...)
	}
	switch len(others) {
	case 0:
		return "", fmt.Errorf("no kernel for %s: looked for %s", release, strings.Join(names, ", "))
	case 1:
		return others[0], nil
	default:
		return "", fmt.Errorf("no kernel for %s among %s", release, strings.Join(others, ", "))
	}
}

// findConfig reads the configuration, wherever the package has it.
func findConfig(fsys fs.FS, modulesDir, release, image string) (Config, error) {
	for _, name := range []string{modulesDir + "/config", "boot/config-" + release, "config-" + release, "boot/config", "config", ".config"} {
		if !isFile(fsys, name) {
			continue
		}
		data, err := readLimited(fsys, name, maxConfig)
		if err != nil {
			return Config{}, fmt.Errorf("kernel configuration %s: %w", name, err)
		}
		config, err := parseConfig(data)
		if err != nil {
			return Config{}, fmt.Errorf("kernel configuration %s: %w", name, err)
		}
		return config, nil
	}
	config, err := configInside(fsys, image)
	if err != nil {
		return Config{}, fmt.Errorf("kernel configuration inside %s: %w", image, err)
	}
	return config, nil
}

// DeviceTree returns a device tree that came with the kernel, by the names of
// its maker's folder and its file, such as broadcom/bcm2711-rpi-4-b.dtb. A
// tree that is not there is a [fs.ErrNotExist].
//
// Up to Linux 6.12 Debian has them in usr/lib/linux-image-RELEASE, from 7.x on
// in dtb of the modules folder; make dtbs_install puts them in
// boot/dtbs/RELEASE.
func (k *Kernel) DeviceTree(name string) ([]byte, error) {
	dirs := []string{k.ModulesDir + "/dtb", "usr/lib/linux-image-" + k.Release, "boot/dtbs/" + k.Release, "dtbs/" + k.Release, "dtbs"}
	for _, dir := range dirs {
		if !fs.ValidPath(name) || !isFile(k.fsys, dir+"/"+name) {
			continue
		}
		data, err := readLimited(k.fsys, dir+"/"+name, maxTree)
		if err != nil {
			return nil, fmt.Errorf("device tree %s: %w", name, err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("device tree %s of kernel %s: %w", name, k.Release, fs.ErrNotExist)
}

// listModules returns the paths of all loadable modules, by name, below dir.
func listModules(fsys fs.FS, dir string) (map[string]string, error) {
	modules := map[string]string{}
	err := fs.WalkDir(fsys, dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, ok := moduleName(file)
		if !ok || !entry.Type().IsRegular() {
			return nil
		}
		file = strings.TrimPrefix(file, dir+"/")
		if err := checkText("path", file); err != nil {
			return err
		}
		if strings.ContainsAny(file, " :") {
			return fmt.Errorf("path %q: modules.dep cannot hold blanks or colons", file)
		}
		if modules[name], err = prefer(modules[name], file); err != nil {
			return err
		}
		if len(modules) > maxModules {
			return fmt.Errorf("more than %d modules", maxModules)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("modules folder %s: %w", dir, err)
	}
	return modules, nil
}

// prefer chooses between two files of one module. What is below updates wins,
// as depmod's default search order has it (depmod.d(5)).
func prefer(have, file string) (string, error) {
	update := strings.HasPrefix(file, "updates/")
	switch {
	case have == "":
		return file, nil
	case update && !strings.HasPrefix(have, "updates/"):
		return file, nil
	case !update && strings.HasPrefix(have, "updates/"):
		return have, nil
	}
	return "", fmt.Errorf("two files of one module, %s and %s: remove one", have, file)
}

// isFile says whether fsys has a regular file of that name.
func isFile(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, name)
	return err == nil && info.Mode().IsRegular()
}

// readLimited reads a file of at most limit bytes.
func readLimited(fsys fs.FS, name string, limit int64) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, limit)
}

var errTooLarge = errors.New("larger than allowed")

// readAll reads r to its end, at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: the limit is %d bytes", errTooLarge, limit)
	}
	return data, nil
}

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"weft/builder/kmod"
	"weft/builder/tree"
	"weft/builder/userland"
	"weft/profiles"
)

// rootDirs are the mount points and empty folders of the root.
var rootDirs = []string{"boot", "data", "dev", "proc", "root", "run", "sys", "usr/bin", "usr/sbin"}

// rootLinks are the symbolic links of the root. The root is read-only: what
// changes at run time lives in /run, what must outlive it in /data.
var rootLinks = map[string]string{
	"bin":             "usr/bin",
	"sbin":            "usr/sbin",
	"lib":             "usr/lib",
	"var":             "data/var",
	"opt":             "data/opt",
	"etc/cni":         "../run/cni",
	"etc/hostname":    "../run/weft/etc/hostname",
	"etc/hosts":       "../run/weft/etc/hosts",
	"etc/resolv.conf": "../run/weft/etc/resolv.conf",
	"etc/machine-id":  "../run/weft/etc/machine-id",
	"etc/mtab":        "../proc/self/mounts",
	// init answers the kernel's requests for modules.
	"usr/sbin/modprobe": "init",
}

// root is the tree of the root file system. It also returns the firmware that
// carried drivers name and no package has.
func (in Input) root(set kmod.Set, id string, programs []userland.File) (*tree.Tree, []string, error) {
	t := tree.New(in.Epoch)
	for _, dir := range rootDirs {
		t.Dir(dir, 0o755)
	}
	t.Dir("tmp", 0o777|fs.ModeSticky)
	for name, target := range rootLinks {
		t.Symlink(name, target)
	}
	for _, name := range []string{"init", "netd"} {
		program, err := in.Program(in.Plan.Board.Arch, name)
		if err != nil {
			return nil, nil, err
		}
		t.File("usr/sbin/"+name, 0o755, tree.Bytes(program))
	}
	if err := userland.AddTo(t, programs, in.Userland); err != nil {
		return nil, nil, err
	}
	in.payloads(t)
	if err := in.certificates(t); err != nil {
		return nil, nil, err
	}
	if err := in.etc(t, id); err != nil {
		return nil, nil, err
	}
	if err := in.addModules(t, set); err != nil {
		return nil, nil, err
	}
	lacking, err := in.firmware(t, set)
	if err != nil {
		return nil, nil, err
	}
	if err := in.copyrights(t); err != nil {
		return nil, nil, err
	}
	return t, lacking, t.Err()
}

// userland picks the programs that the profile needs beside weft's own.
func (in Input) userland() ([]userland.File, error) {
	u := userland.Input{Arch: in.Plan.Board.Arch, Packages: in.Userland, Cache: in.Cache}
	for _, need := range in.Plan.Userland {
		u.Roots = append(u.Roots, need.Name)
	}
	return userland.Pick(u)
}

// etc adds the files that tell init and people what the image is.
func (in Input) etc(t *tree.Tree, id string) error {
	p := in.Plan
	system, err := json.MarshalIndent(profiles.System{
		Version: p.Version,
		ID:      id,
		Epoch:   in.Epoch.Unix(),
		Board:   p.Board.Name,
		Profile: p.Profile.Name,
		Arch:    p.Board.Arch,
		Kernel:  in.Kernel.Release,
		Trees:   in.deviceTrees(),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", profiles.SystemFile, err)
	}
	contract, err := json.MarshalIndent(p.Contract, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", profiles.ContractFile, err)
	}
	profile, err := p.Profile.YAML()
	if err != nil {
		return err
	}
	passwd, group := in.accounts()
	for name, data := range map[string]string{
		profiles.SystemFile:   string(system) + "\n",
		profiles.ContractFile: string(contract) + "\n",
		profiles.ProfileFile:  string(profile),
		"/etc/os-release":     in.osRelease(id),
		"/etc/passwd":         passwd,
		"/etc/group":          group,
		"/etc/nsswitch.conf":  "hosts: files dns\n",
	} {
		t.File(strings.TrimPrefix(name, "/"), 0o644, tree.Bytes([]byte(data)))
	}
	return nil
}

// osRelease is /etc/os-release [os-release(5)].
func (in Input) osRelease(id string) string {
	p := in.Plan
	var b strings.Builder
	for _, line := range [][2]string{
		{"NAME", "weft"},
		{"ID", "weft"},
		{"PRETTY_NAME", fmt.Sprintf("weft %s (%s, %s)", p.Version, p.Board.Name, p.Profile.Name)},
		{"VERSION_ID", p.Version},
		{"IMAGE_ID", p.Name()},
		{"IMAGE_VERSION", id[:16]},
	} {
		fmt.Fprintf(&b, "%s=%q\n", line[0], line[1])
	}
	return b.String()
}

// firmware adds the firmware files that the drivers of the set name. Names
// may hold wildcards.
func (in Input) firmware(t *tree.Tree, set kmod.Set) (lacking []string, err error) {
	files := map[string]tree.Content{}
	for _, pattern := range set.Firmware() {
		found, err := in.firmwareFiles(pattern, files)
		if err != nil {
			return nil, fmt.Errorf("firmware %s: %w", pattern, err)
		}
		if !found {
			lacking = append(lacking, pattern)
		}
	}
	for name, content := range files {
		t.File("usr/lib/firmware/"+name, 0o644, content)
	}
	return lacking, nil
}

// firmwareFiles adds to files what matches pattern in the first of the
// board's firmware packages that has it.
func (in Input) firmwareFiles(pattern string, files map[string]tree.Content) (found bool, err error) {
	for _, pkg := range in.Plan.Board.Firmware {
		for _, dir := range []string{"usr/lib/firmware/", "lib/firmware/"} {
			names, err := fs.Glob(in.Packages[pkg], dir+pattern)
			if err != nil {
				return false, err
			}
			for _, name := range names {
				content, err := tree.FromFS(in.Packages[pkg], name)
				if err != nil {
					return false, err
				}
				files[strings.TrimPrefix(name, dir)] = content
			}
			if len(names) > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// copyrights adds the copyright file of every package, as their licences ask.
func (in Input) copyrights(t *tree.Tree) error {
	for _, name := range slices.Sorted(maps.Keys(in.Packages)) {
		file := "usr/share/doc/" + name + "/copyright"
		content, err := tree.FromFS(in.Packages[name], file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the package shares the file of another by a link
		}
		if err != nil {
			return err
		}
		t.File(file, 0o644, content)
	}
	return nil
}

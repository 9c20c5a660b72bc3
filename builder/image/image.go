// Package image assembles what a plan asks for into a disk: the initramfs,
// the root, the boot partition and the loaders.
//
// Everything it needs has been fetched before; it decides what goes where and
// leaves the bytes of each format to the package of that format.
package image

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"weft/builder/cache"
	"weft/builder/kmod"
	"weft/builder/payload"
	"weft/builder/plan"
	"weft/builder/userland"
)

// An Input is all that an image is made from.
type Input struct {
	// Plan says what to make.
	Plan plan.Plan
	// Kernel is the kernel, read from KernelFiles.
	Kernel      *kmod.Kernel
	KernelFiles fs.FS
	// KernelDigest names the content of KernelFiles.
	KernelDigest string
	// Overlays are the overlays of the device tree that the board names, by
	// name.
	Overlays map[string][]byte
	// Packages are the unpacked Debian packages by name, the kernel's among
	// them.
	Packages map[string]fs.FS
	// Userland are the packages whose programs go into the root, with all
	// they need.
	Userland []userland.Package
	// Payloads are the files that the profile names, K3s or RKE2 among them.
	Payloads []payload.File
	// Epoch is the image's one timestamp.
	Epoch time.Time
	// Digests name the content of everything above that the plan does not
	// say, in a fixed order.
	Digests []string
	// Program returns the node's programs: init and netd for a Debian
	// architecture.
	Program func(arch, name string) ([]byte, error)
	// Cache keeps compressed initramfs between builds.
	Cache cache.Dir
}

// A Result is what was made.
type Result struct {
	// Path is the image.
	Path string `json:"path"`
	// ID names the image; see [plan.Plan.ID].
	ID string `json:"id"`
	// SHA256 is the digest of the whole file.
	SHA256 string `json:"sha256"`
	// Size is the length of the file in bytes, Mapped how many of them are
	// not in holes.
	Size   int64 `json:"size"`
	Mapped int64 `json:"mapped"`
	// Kernel is the kernel's release.
	Kernel string `json:"kernel"`
	// Modules counts the modules in the root, BootModules those in the
	// initramfs.
	Modules     int `json:"modules"`
	BootModules int `json:"bootModules"`
	// Initramfs and Root are sizes in bytes.
	Initramfs int64 `json:"initramfs"`
	Root      int64 `json:"root"`
	// Userland is the size of the programs that the profile needs beside
	// weft's own, with their libraries, in bytes.
	Userland int64 `json:"userland,omitempty"`
	// Payload is the size of what the profile names by path or URL, in bytes.
	Payload int64 `json:"payload,omitempty"`
	// Epoch is the image's one timestamp, in seconds since 1970.
	Epoch int64 `json:"epoch"`
	// NoFirmware are the firmware files that carried drivers name and no
	// package of the board has.
	NoFirmware []string `json:"noFirmware,omitempty"`
}

// Write checks the kernel against the plan and writes the image to path,
// whole or not at all. What the kernel lacks comes back as
// document.Problems that point at the lines asking for it.
func Write(ctx context.Context, in Input, path string) (Result, error) {
	sets, err := in.modules()
	if err != nil {
		return Result{}, err
	}
	id, err := in.Plan.ID(in.Digests...)
	if err != nil {
		return Result{}, err
	}
	result := Result{
		Path:        path,
		ID:          id,
		Epoch:       in.Epoch.Unix(),
		Kernel:      in.Kernel.Release,
		Modules:     len(sets.root.Loadable()),
		BootModules: len(sets.boot.Loadable()),
	}
	initramfs, err := in.initramfs(sets.boot)
	if err != nil {
		return result, fmt.Errorf("initramfs: %w", err)
	}
	result.Initramfs = int64(len(initramfs))
	programs, err := in.userland()
	if err != nil {
		return result, err
	}
	result.Userland = userland.Size(programs)
	if err := in.checkPayloads(programs); err != nil {
		return result, err
	}
	for _, f := range in.Payloads {
		result.Payload += f.Content.Size()
	}
	root, lacking, err := in.root(sets.root, id, programs)
	if err != nil {
		return result, fmt.Errorf("root: %w", err)
	}
	result.NoFirmware = lacking
	d := diskWriter{in: in, id: id, initramfs: initramfs, root: root, machines: sets.machines}
	if err := d.write(ctx, path, &result); err != nil {
		return result, err
	}
	return result, nil
}

package apt

import (
	"fmt"
	"slices"
	"strings"

	"weft/builder/apt/fault"
)

// The names that packages of a kernel begin with. Up to Linux 6.12 Debian has
// all of a kernel in linux-image-VERSION. From 7.x on that package is empty
// and depends on linux-base-VERSION (config, built-in lists, device trees),
// linux-binary-VERSION (the kernel) and linux-modules-VERSION. The hyphen
// keeps out linux-base itself, which holds scripts.
var kernelPrefixes = []string{"linux-image-", "linux-base-", "linux-binary-", "linux-modules-"}

// emptyBelow is the installed size, in KiB, below which a package that
// depends on other packages of the kernel holds nothing itself: meta packages
// have 9 to 16 (a copyright file), the smallest real one has 1,250.
const emptyBelow = 256

// maxKernelPackages bounds the packages of one kernel; six are known.
const maxKernelPackages = 32

// isKernel tells whether a package is part of a kernel by its name.
func isKernel(name string) bool {
	return !strings.HasSuffix(name, "-dbg") && slices.ContainsFunc(kernelPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// Kernel follows the dependencies of a kernel package, which may be a meta
// package such as linux-image-cloud-amd64, and returns the packages that hold
// the kernel's files, sorted by name. Packages that are not part of a kernel
// (initramfs-tools, kmod) are not followed.
func (x *Index) Kernel(name string) ([]Package, error) {
	if !strings.HasPrefix(name, "linux-image-") {
		return nil, fault.New(fault.BadInput, "package "+name, "it is no kernel package",
			"name one that begins with linux-image-, such as linux-image-amd64")
	}
	first, err := x.Package(name)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{name: true}
	var holders []Package
	for queue := []Package{first}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		parts, err := x.kernelParts(p)
		if err != nil {
			return nil, err
		}
		if len(parts) == 0 || p.InstalledSize >= emptyBelow {
			holders = append(holders, p)
		}
		for _, part := range parts {
			if !seen[part.Name] {
				seen[part.Name] = true
				queue = append(queue, part)
			}
		}
		if len(seen) > maxKernelPackages {
			return nil, fault.New(fault.Malformed, "package "+name,
				fmt.Sprintf("it leads to more than %d kernel packages", maxKernelPackages), "name the package of one kernel")
		}
	}
	slices.SortFunc(holders, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return holders, nil
}

// kernelParts returns the packages of a kernel that p depends on.
func (x *Index) kernelParts(p Package) ([]Package, error) {
	var parts []Package
	for _, choice := range p.Depends {
		i := slices.IndexFunc(choice, func(r Relation) bool { return isKernel(r.Name) })
		if i < 0 {
			continue
		}
		part, err := x.Package(choice[i].Name)
		if err != nil {
			return nil, &fault.Error{Kind: fault.UnknownPackage, File: "package " + p.Name,
				Reason: "what it depends on is missing", Err: err, Fix: "the mirror may be in the middle of an update: try again later"}
		}
		if !choice[i].allows(part.Version) {
			return nil, fault.New(fault.UnknownPackage, "package "+p.Name,
				fmt.Sprintf("it depends on %s (%s %s), the suite has %s", part.Name, choice[i].Op, choice[i].Version, part.Version),
				"the mirror may be in the middle of an update: try again later")
		}
		parts = append(parts, part)
	}
	return parts, nil
}

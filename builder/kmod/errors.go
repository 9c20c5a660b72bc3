package kmod

import (
	"fmt"
	"strings"

	"weft/document"
)

// A ReleaseError says that the kernel and the modules are of two builds.
type ReleaseError struct {
	// Image is the path of the kernel, ImageRelease the release inside it.
	Image, ImageRelease string
	// ModulesDir is the folder of the modules, named for another release.
	ModulesDir string
}

// Error names both releases and what to do.
func (e *ReleaseError) Error() string {
	return fmt.Sprintf("kernel %s is release %s, but the modules are in %s: no module would load; take both from one build",
		e.Image, e.ImageRelease, e.ModulesDir)
}

// A MissingError says that a module is neither in the package nor built in.
type MissingError struct {
	// Name is the module.
	Name string
	// Chain leads from the module that was asked for to Name; it is Name
	// alone when that was asked for itself.
	Chain []string
	// Release is the kernel.
	Release string
	// Config says what the configuration says of the symbol named like the
	// module, such as "CONFIG_VXLAN is not set"; empty when it has none.
	Config string
	// Near is the name most like it that the kernel does have, if any is.
	Near string
}

// Error names the module, what needs it, and what is most like it.
func (e *MissingError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kernel %s has no module %s", e.Release, e.Name)
	if len(e.Chain) > 1 {
		fmt.Fprintf(&b, ", needed by %s (%s)", e.Chain[len(e.Chain)-2], strings.Join(e.Chain, " -> "))
	}
	if e.Config != "" {
		fmt.Fprintf(&b, ": %s", e.Config)
		if strings.HasSuffix(e.Config, "=m") {
			b.WriteString(", so its file is in another package, such as linux-modules-extra")
		}
	}
	if e.Near != "" {
		fmt.Fprintf(&b, "; did you mean %s?", e.Near)
	}
	return b.String()
}

// missing makes the error for a module that is not there.
func (k *Kernel) missing(name string, chain []string) *MissingError {
	e := &MissingError{Name: name, Chain: chain, Release: k.Release}
	if symbol := k.symbolFor(name); symbol != "" {
		e.Config = k.Config.State(symbol)
	}
	// A dependency is not a name a person may have mistyped.
	if len(chain) <= 1 {
		e.Near = document.Closest(name, k.Names())
	}
	return e
}

package boards

import (
	"fmt"
	"strings"

	"weft/document"
)

func checkConsoles(b Board, d *document.Document) document.Problems {
	if len(b.Consoles) == 0 {
		return document.Problems{d.Problem("consoles", "the board has no console").
			WithFix("write consoles: [tty0] for a screen, or [\"ttyS0,115200\"] for a serial port")}
	}
	var found document.Problems
	for i, c := range b.Consoles {
		if !consolePattern.MatchString(c) {
			found = append(found, d.Problem(document.Index("consoles", i), fmt.Sprintf("%q is no console", c)).
				WithFix("write the device without /dev/, and a speed if it is serial: ttyS0,115200"))
		}
	}
	return append(found, unique(d, "consoles", b.Consoles)...)
}

// maxModule is the longest module name, in bytes (MODULE_NAME_LEN less the
// final zero, include/linux/moduleparam.h).
const maxModule = 55

func checkModules(b Board, d *document.Document) document.Problems {
	var found document.Problems
	for _, l := range []struct {
		path  string
		names []string
	}{{"boot.load", b.Boot.Load}, {"boot.drivers", b.Boot.Drivers}, {"drivers", b.Drivers}} {
		folded := make([]string, len(l.names))
		for i, name := range l.names {
			// The kernel takes - and _ for the same in module names.
			folded[i] = strings.ReplaceAll(name, "-", "_")
			if modulePattern.MatchString(name) && len(name) <= maxModule {
				continue
			}
			p := d.Problem(document.Index(l.path, i), fmt.Sprintf("%q is no module name", name))
			if short, _, cut := strings.Cut(name, ".ko"); cut {
				p.Fix = "write " + short[strings.LastIndex(short, "/")+1:]
			}
			found = append(found, p)
		}
		found = append(found, unique(d, l.path, folded)...)
	}
	return found
}

// owned are kernel arguments that the builder writes.
var owned = []string{"console=", "root=", "rootfstype=", "init=", "rdinit=", "initrd=", "weft."}

func checkArguments(b Board, d *document.Document) document.Problems {
	var found document.Problems
	for _, l := range []struct {
		path string
		args []string
	}{{"commandLine", b.CommandLine}, {"qemu.commandLine", b.QEMU.CommandLine}, {"qemu.append", b.QEMU.Append}} {
		for i, arg := range l.args {
			path := document.Index(l.path, i)
			if !plainArgument(arg) {
				found = append(found, d.Problem(path, "a kernel argument is one word of plain ASCII").
					WithFix("make each argument an element of its own"))
				continue
			}
			for _, own := range owned {
				if strings.HasPrefix(arg, own) {
					found = append(found, d.Problem(path, strings.TrimRight(own, "=.")+" is written by the builder").
						WithFix("remove it; consoles go under consoles"))
				}
			}
		}
	}
	return found
}

// plainArgument tells whether s can stand on the kernel command line: boot
// loaders disagree on quoting, so there is none.
func plainArgument(s string) bool {
	if s == "" || len(s) > maxArgument {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '"' || c == '\'' || c == '\\' {
			return false
		}
	}
	return true
}

func checkSignatures(b Board, d *document.Document) document.Problems {
	if b.Kernel.Signatures == "" {
		return nil
	}
	return oneOf(d, "kernel.signatures", b.Kernel.Signatures, Signatures)
}

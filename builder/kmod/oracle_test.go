package kmod

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// agreesWithDepmod lays the set's modules out as files, runs depmod(8) on
// them, and compares what it writes with what the set says. depmod finds
// dependencies by symbols, the set by depends=, so the two do not share a
// mistake.
func agreesWithDepmod(t *testing.T, k *Kernel, set Set) {
	t.Helper()
	depmod, err := exec.LookPath("depmod")
	if err != nil {
		// Where ordinary users have no sbin in their PATH.
		if depmod = "/usr/sbin/depmod"; !isExecutable(depmod) {
			t.Fatal("install kmod: make deps")
		}
	}
	base := t.TempDir()
	dir := filepath.Join(base, "usr/lib/modules", k.Release)
	for _, m := range set.Loadable() {
		data, err := k.Packaged(m)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, m.Path), data)
	}
	write(t, filepath.Join(dir, "modules.builtin"), set.Builtin())
	write(t, filepath.Join(dir, "modules.order"), nil)
	// depmod looks in lib or usr/lib, as it was built.
	if err := os.Symlink("usr/lib", filepath.Join(base, "lib")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(depmod, "-b", base, "-C", "/dev/null", k.Release).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}

	for name, ours := range map[string][]byte{"modules.alias": set.Alias(), "modules.softdep": set.Softdep()} {
		theirs, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := lineSet(ours), lineSet(theirs); !slices.Equal(a, b) {
			t.Errorf("%s: %d lines, depmod has %d", name, len(a), len(b))
		}
	}
	theirs, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		t.Fatal(err)
	}
	sameDependencies(t, parseDep(string(set.Dep(""))), parseDep(string(theirs)))
}

// sameDependencies compares two modules.dep, and checks that ours names each
// module before those it depends on, for modprobe loads from the right.
func sameDependencies(t *testing.T, ours, theirs map[string][]string) {
	t.Helper()
	if len(ours) != len(theirs) {
		t.Errorf("modules.dep: %d modules, depmod has %d", len(ours), len(theirs))
	}
	for file, deps := range ours {
		if a, b := slices.Sorted(slices.Values(deps)), slices.Sorted(slices.Values(theirs[file])); !slices.Equal(a, b) {
			t.Errorf("%s: depends on %v, depmod says %v", file, a, b)
		}
		for i, d := range deps {
			for _, below := range ours[d] {
				if slices.Index(deps, below) < i {
					t.Errorf("%s: %s comes before %s, which needs it loaded first", file, below, d)
				}
			}
		}
	}
}

func parseDep(text string) map[string][]string {
	deps := map[string][]string{}
	for line := range strings.Lines(text) {
		file, rest, _ := strings.Cut(line, ":")
		deps[file] = strings.Fields(rest)
	}
	return deps
}

// lineSet returns the lines that are no comments, sorted.
func lineSet(text []byte) []string {
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func isExecutable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode()&0o111 != 0
}

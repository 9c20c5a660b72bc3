package apt

import (
	"errors"
	"strings"
	"testing"

	"weft/builder/apt/apttest"
	"weft/builder/apt/fault"
)

// mirrorWithPrograms has a program and what it needs, in the ways packages
// say so.
func mirrorWithPrograms(t testing.TB) *apttest.Mirror {
	t.Helper()
	m := apttest.NewMirror(t)
	for _, p := range [][]string{
		{"tool", "1", "Pre-Depends: libc6 (>= 2.38)", "Depends: libssl3 (>= 3.0), editor | vi, debconf (>= 0.5) | debconf-2.0, libc6"},
		{"libc6", "2.41", "Depends: libgcc-s1"},
		{"libgcc-s1", "14", "Depends: libc6"}, // in a circle
		{"libssl3t64", "3.5", "Provides: libssl3 (= 3.5), libssl-abi"},
		{"libssl3old", "1.1", "Provides: libssl3 (= 1.1)"},
		{"vi", "9"},
		{"alpha", "1", "Provides: mail-agent"},
		{"beta", "1", "Provides: mail-agent"},
		{"mailer", "1", "Depends: mail-agent"},
		{"careful", "1", "Depends: beta | gone, mail-agent"},
		{"versioned", "1", "Depends: mail-agent (>= 1)"},
		{"broken", "1", "Depends: tool (>= 2)"},
	} {
		m.Add(p[0], p[1], apttest.Package(t), p[2:]...)
	}
	return m.Publish()
}

func closureOf(t *testing.T, x *Index, name string) string {
	t.Helper()
	all, err := x.Closure(name, []string{"debconf"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

func TestClosureIsWhatIsNeededToRun(t *testing.T) {
	x, _, err := source(t, mirrorWithPrograms(t)).Index(t.Context(), "trixie", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"tool":    "libc6 libgcc-s1 libssl3t64 tool vi",
		"mailer":  "alpha mailer",
		"careful": "beta careful",
		"vi":      "vi",
	} {
		if got := closureOf(t, x, name); got != want {
			t.Errorf("closure of %s is %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"broken", "versioned"} {
		if _, err := x.Closure(name, nil); !errors.Is(err, fault.UnknownPackage) || !strings.Contains(err.Error(), name) {
			t.Errorf("closure of %s: %v", name, err)
		}
	}
}

func TestLockHoldsClosuresAndGivesThemBack(t *testing.T) {
	s := source(t, mirrorWithPrograms(t))
	r := Request{Suite: "trixie", Arch: "amd64", Closures: []string{"tool", "vi"}, Without: []string{"debconf"}}
	l, err := s.Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	l, err = ReadLock("weft.lock", l.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.Closure(r)
	if err != nil || names(all) != "libc6 libgcc-s1 libssl3t64 tool vi" {
		t.Errorf("the lock gives %s, %v", names(all), err)
	}
	r.Closures = []string{"mailer"}
	if _, err := l.Closure(r); !errors.Is(err, fault.NotLocked) || !strings.Contains(err.Error(), "weft lock --update") {
		t.Errorf("what is not in the lock: %v", err)
	}
}

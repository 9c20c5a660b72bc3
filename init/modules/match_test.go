package modules

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestGlobIsFnmatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"virtio:d00000001v*", "virtio:d00000001v00001AF4", true},
		{"virtio:d00000001v*", "virtio:d00000002v00001AF4", false},
		{"pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", true},
		{"pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc02sc00i00", false},
		{"acpi*:PNP0C0C:*", "acpi:PNP0C0C:", true},
		{"acpi*:PNP0C0C:*", "acpi:LNXPWRBN:PNP0C0C:", true},
		{"input:b*v*p*e*-e*1,*k*", "input:b0019v0000p0001e0000-e0,1,k74,ramlsfw", true},
		{"of:N*T*Cbrcm,bcm2711-genet-v5", "of:NethernetT(null)Cbrcm,bcm2711-genet-v5", true},
		{"", "", true},
		{"*", "", true},
		{"?", "", false},
		{"a*b*c", "aXbYcZc", true},
		{"a*b*c", "aXbYcZ", false},
		{"[a-c]x", "bx", true},
		{"[!a-c]x", "bx", false},
		{"[]]x", "]x", true},
		{"[abc", "[abc", true},
		{`\*x`, "*x", true},
		{`\*x`, "ax", false},
		{"x", "xy", false},
		{"usb:v0525p[A-F]4*", "usb:v0525pA4A2d", true},
	} {
		if got := glob(c.pattern, c.name); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestAHostilePatternTakesNoTime(t *testing.T) {
	a := NewAliases()
	a.Add(strings.Repeat("*a", 200)+"b", "m")
	start := time.Now()
	a.Match(strings.Repeat("a", 4000))
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestMatchFindsEveryModuleOnce(t *testing.T) {
	a := NewAliases()
	a.Add("pci:v00001AF4d*", "virtio_pci")
	a.Add("pci:v00001AF4d00001000*", "virtio_pci_legacy")
	a.Add("pci:v00001AF4d00001000*", "virtio_pci")
	a.Add("crc32c", "crc32c_generic")
	a.Add("*", "catch_all")
	got := a.Match("pci:v00001AF4d00001000sv0")
	if want := []string{"catch_all", "virtio_pci", "virtio_pci_legacy"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := a.Match("crc32c"); !slices.Equal(got, []string{"catch_all", "crc32c_generic"}) {
		t.Errorf("got %q", got)
	}
	if a.Len() != 5 {
		t.Errorf("%d patterns", a.Len())
	}
}

// many is an alias table of the size of a full kernel's.
func many() (*Aliases, []string) {
	a := NewAliases()
	for i := range 20000 {
		a.Add(fmt.Sprintf("pci:v%08Xd%08Xsv*sd*bc*sc*i*", i%300, i), fmt.Sprintf("m%d", i%900))
	}
	a.Add("pci:v*d*sv*sd*bc01sc06i01*", "ahci")
	var devices []string
	for i := range 100 {
		devices = append(devices, fmt.Sprintf("pci:v%08Xd%08Xsv00001AF4sd00001100bc01sc06i01", i%300, i*7))
	}
	return a, devices
}

// TestThousandsOfAliasesCostNothing holds the look-up of a hundred devices in
// a full kernel's table under a thousandth of a second's order: the emulated
// boot is some thirty times slower.
func TestThousandsOfAliasesCostNothing(t *testing.T) {
	a, devices := many()
	start := time.Now()
	found := 0
	for _, d := range devices {
		found += len(a.Match(d))
	}
	if d := time.Since(start); d > 100*time.Millisecond || found < 100 {
		t.Errorf("%d devices took %v and found %d modules", len(devices), d, found)
	}
}

func BenchmarkMatch(b *testing.B) {
	a, devices := many()
	for i := 0; b.Loop(); i++ {
		a.Match(devices[i%len(devices)])
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b[c-e]?", "axxbdz")
	f.Add(`[!x]\`, "y")
	f.Add("[", "[")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := glob(pattern, name)
		// path.Match agrees wherever neither a slash nor a bracket is in
		// play: it treats those apart.
		if strings.ContainsAny(pattern+name, `/[]\`) || !isASCII(pattern+name) {
			return
		}
		if want, err := path.Match(pattern, name); err == nil && got != want {
			t.Errorf("glob(%q, %q) = %v", pattern, name, got)
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

package disk

import (
	"regexp"
	"strings"
	"testing"
)

func TestPlanLaysPartitionsOutWithoutGaps(t *testing.T) {
	l := testLayout(t)
	at := int64(mib)
	var names []string
	for _, p := range l.Partitions {
		if p.Start != at {
			t.Errorf("%s begins at %d, want %d", p.Name, p.Start, at)
		}
		at += p.Size
		names = append(names, p.Name)
	}
	if got, want := strings.Join(names, " "), "weft-bios weft-boot weft-root-a weft-root-b weft-data"; got != want {
		t.Errorf("partitions %s, want %s", got, want)
	}
	if l.Size != at+mib {
		t.Errorf("the disk has %d bytes, want %d", l.Size, at+mib)
	}
}

func TestArm64HasNoBIOSPartitionAndItsOwnRootType(t *testing.T) {
	sizes := Sizes{Arch: "arm64", Boot: mib, Root: mib, Data: mib}
	l, err := Plan(DeriveIDs("x"), sizes)
	if err != nil {
		t.Fatal(err)
	}
	if p := l.Partitions[0]; p.Name != Boot || p.Start != mib {
		t.Errorf("first partition %+v", p)
	}
	if p, _ := l.Partition(RootA); p.Type != TypeRootARM64 {
		t.Errorf("root has type %s", p.Type)
	}
	sizes.BIOS = true
	if _, err := Plan(DeriveIDs("x"), sizes); err == nil || !strings.Contains(err.Error(), "arm64 has no BIOS") {
		t.Errorf("BIOS on arm64: %v", err)
	}
}

func TestPlanRefusesOddSizes(t *testing.T) {
	for name, change := range map[string]func(*Sizes){
		"weft-boot of 1048577 bytes":      func(s *Sizes) { s.Boot++ },
		"weft-root-a of 0 bytes":          func(s *Sizes) { s.Root = 0 },
		"weft-data of -1048576 bytes":     func(s *Sizes) { s.Data = -mib },
		"weft-data of 9223372036853727":   func(s *Sizes) { s.Data = 1<<63 - mib },
		`for architecture "riscv64"; use`: func(s *Sizes) { s.Arch = "riscv64" },
	} {
		sizes := Sizes{Arch: "amd64", BIOS: true, Boot: mib, Root: mib, Data: mib}
		change(&sizes)
		if _, err := Plan(DeriveIDs("x"), sizes); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func TestUnsoundLayoutsAreRefusedByName(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Layout)
		want   string
	}{
		{"two partitions share a byte range", func(l *Layout) { l.Partitions[2].Start -= mib }, `"weft-boot" and "weft-root-a" overlap`},
		{"one partition lies within another", func(l *Layout) { l.Partitions[4] = l.Partitions[1]; l.Partitions[4].Size = mib }, `overlap`},
		{"partition in the first table", func(l *Layout) { l.Partitions[0].Start = 0 }, `"weft-bios", 1048576 bytes at byte 0, does not fit`},
		{"partition in the last table", func(l *Layout) { l.Partitions[4].Size += mib }, `"weft-data", 5242880 bytes`},
		{"partition far past the disk", func(l *Layout) { l.Partitions[4].Start = 1<<63 - mib }, `"weft-data"`},
		{"partition of negative size", func(l *Layout) { l.Partitions[4].Size = -mib }, `"weft-data"`},
		{"partition at an odd sector", func(l *Layout) { l.Partitions[4].Start -= 512 }, `whole MiB`},
		{"same name twice", func(l *Layout) { l.Partitions[3].Name = RootA }, `two partitions are called "weft-root-a"`},
		{"same GUID twice", func(l *Layout) { l.Partitions[3].ID = l.Partitions[2].ID }, `the same GUID`},
		{"no name", func(l *Layout) { l.Partitions[3].Name = "" }, `partition 4 has no name`},
		{"name of 37 characters", func(l *Layout) { l.Partitions[3].Name = strings.Repeat("x", 37) }, `longer than 36`},
		{"name of 19 emoji, two units each", func(l *Layout) { l.Partitions[3].Name = strings.Repeat("😀", 19) }, `longer than 36`},
		{"no type", func(l *Layout) { l.Partitions[3].Type = GUID{} }, `no type`},
		{"disk without GUID", func(l *Layout) { l.ID = GUID{} }, `the disk has no GUID`},
		{"disk of odd size", func(l *Layout) { l.Size++ }, `want whole MiB`},
		{"129 partitions", func(l *Layout) { l.Partitions = append(l.Partitions, make([]Partition, 124)...) }, `129 partitions: the table holds 128`},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := testLayout(t)
			test.change(&l)
			if err := l.Check(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, _, err := l.tables(nil); err == nil {
				t.Error("a table was made all the same")
			}
		})
	}
}

func TestLongestNameIsTaken(t *testing.T) {
	l := testLayout(t)
	l.Partitions[3].Name = strings.Repeat("x", 36)
	if err := l.Check(); err != nil {
		t.Error(err)
	}
}

func TestGUIDsAreDerivedFromIDAndName(t *testing.T) {
	seen := map[GUID]string{}
	for _, id := range []string{"a", "b", ""} {
		for _, name := range []string{"disk", BIOS, Boot, RootA, RootB, Data} {
			g := DeriveGUID(id, name)
			if g != DeriveGUID(id, name) {
				t.Error("not the same twice")
			}
			if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(g.String()) {
				t.Errorf("%s is no UUID of version 8", g)
			}
			if other, ok := seen[g]; ok {
				t.Errorf("%s/%s has the GUID of %s", id, name, other)
			}
			seen[g] = id + "/" + name
			if back, err := ParseGUID(strings.ToUpper(g.String())); err != nil || back != g {
				t.Errorf("%s reads back as %s, %v", g, back, err)
			}
		}
	}
}

func TestMalformedGUIDsAreRefused(t *testing.T) {
	for _, s := range []string{"", "01234567", "01234567-89ab-cdef-0123-456789abcde", "0123456789abcdef0123456789abcdef", "0123456-789ab-cdef-0123-456789abcdef", "g1234567-89ab-cdef-0123-456789abcdef"} {
		if g, err := ParseGUID(s); err == nil {
			t.Errorf("%q was read as %s", s, g)
		}
	}
}

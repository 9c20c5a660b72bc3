package flash

import (
	"errors"
	"testing"
)

func TestEveryReasonRefuses(t *testing.T) {
	card := Device{Name: "sdb", Path: "/dev/sdb", Size: 1000, SectorSize: 512, Serial: "S1", Removable: true}
	for name, c := range map[string]struct {
		change  func(*Device)
		allowed []string
		want    error
	}{
		"a card":                 {func(*Device) {}, nil, nil},
		"exactly large enough":   {func(d *Device) { d.Size = 900 }, nil, nil},
		"a byte too small":       {func(d *Device) { d.Size = 899 }, nil, ErrTooSmall},
		"the system":             {func(d *Device) { d.System = "/ is on it" }, []string{"S1"}, ErrSystemDisk},
		"mounted":                {func(d *Device) { d.Mounts = []string{"/mnt"} }, nil, ErrMounted},
		"held by a volume":       {func(d *Device) { d.Users = []string{"vg-lv"} }, nil, ErrInUse},
		"locked":                 {func(d *Device) { d.ReadOnly = true }, nil, ErrReadOnly},
		"fixed":                  {func(d *Device) { d.Removable = false }, nil, ErrFixed},
		"fixed, another allowed": {func(d *Device) { d.Removable = false }, []string{"S2"}, ErrFixed},
		"fixed, allowed":         {func(d *Device) { d.Removable = false }, []string{"S1"}, nil},
		"no serial, allowed":     {func(d *Device) { d.Removable, d.Serial = false, "" }, []string{"sdb-1000"}, nil},
		"an empty reader":        {func(d *Device) { d.Size = 0 }, nil, ErrNoMedium},
		"large sectors":          {func(d *Device) { d.SectorSize = 4096 }, nil, ErrSectors},
	} {
		t.Run(name, func(t *testing.T) {
			d := card
			c.change(&d)
			err := Check(d, 900, c.allowed)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if r := (*Refusal)(nil); err != nil && (!errors.As(err, &r) || r.Fix == "") {
				t.Errorf("there is no way out in %v", err)
			}
		})
	}
}

func FuzzParseBmap(f *testing.F) {
	seed, err := Bmap(Map{Size: 3 * blockSize}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ParseBmap(data); err == nil && m.check() != nil {
			t.Error("an unsound map is taken")
		}
	})
}

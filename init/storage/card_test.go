package storage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestACardSaysHowWornItIs(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		want    *Card
		warning string
	}{
		{"an SD card, which tells nothing of wear",
			map[string]string{"type": "SD\n", "name": "SC32G\n", "manfid": "0x000003\n", "date": "06/2023\n"},
			&Card{Type: "SD", Name: "SC32G", Manufacturer: "0x000003", Made: "06/2023"}, ""},
		{"a new eMMC",
			map[string]string{"type": "MMC\n", "name": "BJTD4R\n", "life_time": "0x01 0x01\n", "pre_eol_info": "0x01\n"},
			&Card{Type: "MMC", Name: "BJTD4R", Worn: 10, Reserve: ReserveNormal}, ""},
		{"an eMMC whose one kind of memory is old",
			map[string]string{"type": "MMC\n", "life_time": "0x02 0x09\n", "pre_eol_info": "0x01\n"},
			&Card{Type: "MMC", Worn: 90, Reserve: ReserveNormal}, "up to 90 % of its life is used"},
		{"an eMMC at its end",
			map[string]string{"type": "MMC\n", "life_time": "0x0b 0x03\n", "pre_eol_info": "0x03\n"},
			&Card{Type: "MMC", Worn: 110, Reserve: ReserveGone}, "more than its whole life is used, its spare blocks are used up"},
		{"an eMMC short of spare blocks",
			map[string]string{"type": "MMC\n", "life_time": "0x00 0x00\n", "pre_eol_info": "0x02\n"},
			&Card{Type: "MMC", Reserve: ReserveLow}, "80 % of its spare blocks are used"},
		{"an eMMC that writes nonsense",
			map[string]string{"type": "MMC\n", "name": strings.Repeat("x", 5000), "life_time": "0xff worn\n", "pre_eol_info": "0x77\n"},
			&Card{Type: "MMC"}, ""},
		{"a disk", map[string]string{"type": "0\n", "model": "QEMU HARDDISK\n"}, nil, ""},
		{"a disk without a device", nil, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sys := t.TempDir()
			dir := filepath.Join(sys, "class/block/mmcblk0/device")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got := ReadCard(sys, "mmcblk0")
			if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if w := got.Warning(); w != c.warning {
				t.Errorf("warning %q, want %q", w, c.warning)
			}
		})
	}
}

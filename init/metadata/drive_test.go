package metadata

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// devices makes folders as sysfs and devtmpfs have them, with images in place
// of block devices.
func devices(t *testing.T, images map[string][]byte) (sys, dev string) {
	t.Helper()
	sys, dev = t.TempDir(), t.TempDir()
	for name, image := range images {
		if err := os.Mkdir(filepath.Join(sys, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if image == nil {
			continue // an empty drive has no medium
		}
		if err := os.WriteFile(filepath.Join(dev, name), image, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return sys, dev
}

// fat makes a FAT with a label, by the tool people use.
func fat(t *testing.T, label string, bits string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.vfat", "-F", bits, "-n", label, path).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.vfat (install dosfstools: make deps): %v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data[:1<<20]
}

// iso makes the descriptor of an ISO 9660 volume.
func iso(label string) []byte {
	image := make([]byte, isoDescriptor+2048)
	copy(image[isoDescriptor:], "\x01CD001\x01")
	copy(image[isoLabel:], label+"                                ")
	return image
}

func TestADriveIsFoundByItsLabel(t *testing.T) {
	for name, c := range map[string]struct {
		image            []byte
		platform, kind   string
		file, data, host string
	}{
		"NoCloud on FAT32":     {fat(t, "CIDATA", "32"), "nocloud", "vfat", "meta-data", "local-hostname: a1", "a1"},
		"NoCloud on FAT16":     {fat(t, "cidata", "16"), "nocloud", "vfat", "meta-data", "local-hostname: a2", "a2"},
		"NoCloud on a CD":      {iso("cidata"), "nocloud", "iso9660", "meta-data", "local-hostname: a3", "a3"},
		"a config drive":       {iso("config-2"), "configdrive", "iso9660", "openstack/latest/meta_data.json", `{"hostname":"a4"}`, "a4"},
		"another CD":           {image: iso("DEBIAN")},
		"an empty disk":        {image: make([]byte, 1<<16)},
		"a disk of one sector": {image: make([]byte, 512)},
		"no medium":            {},
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := FindDrive(devices(t, map[string][]byte{"sr0": c.image, "vda": make([]byte, 1<<16)}))
			if ok != (c.platform != "") {
				t.Fatalf("found %v: %+v", ok, d)
			}
			if !ok {
				return
			}
			data, err := d.Read([]byte(c.data))
			if err != nil || data.Platform != c.platform || data.Hostname != c.host || d.Type != c.kind || d.File != c.file {
				t.Errorf("%+v gives %+v, %v", d, data, err)
			}
		})
	}
}

package flash

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// tree makes a copy of /sys and /proc with the files named.
func tree(t *testing.T, files map[string]string) Linux {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return Linux{root}
}

func TestSystemDiskIsKnownThroughWhatIsMadeOfIt(t *testing.T) {
	disk := map[string]string{
		"sys/block/sda/dev": "8:0", "sys/block/sda/size": "1000", "sys/block/sda/queue/logical_block_size": "512",
		"sys/block/sda/sda1/partition": "1", "sys/block/sda/sda1/size": "900",
		"sys/class/block/sda/dev": "8:0", "sys/class/block/sda1/dev": "8:1",
	}
	mount := func(number, where, source string) string {
		return "22 1 " + number + " / " + where + " rw - ext4 " + source + " rw\n"
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  error
	}{
		"partition":   {map[string]string{"proc/self/mountinfo": mount("8:1", "/", "/dev/sda1")}, ErrSystemDisk},
		"boot only":   {map[string]string{"proc/self/mountinfo": mount("8:1", "/boot/efi", "/dev/sda1")}, ErrSystemDisk},
		"Btrfs":       {map[string]string{"proc/self/mountinfo": mount("0:35", "/", "/dev/sda1")}, ErrSystemDisk},
		"LVM on LUKS": {map[string]string{"proc/self/mountinfo": mount("253:1", "/", "/dev/mapper/v"), "sys/class/block/sda1/holders/dm-0": "", "sys/class/block/dm-0/dev": "253:0", "sys/class/block/dm-0/holders/dm-1": "", "sys/class/block/dm-1/dev": "253:1"}, ErrSystemDisk},
		"swap":        {map[string]string{"proc/self/mountinfo": "", "proc/swaps": "Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n"}, ErrSystemDisk},
		"a folder":    {map[string]string{"proc/self/mountinfo": mount("8:1", `/mnt/my\040card`, "/dev/sda1")}, ErrMounted},
		"an array":    {map[string]string{"proc/self/mountinfo": "", "sys/class/block/sda1/holders/md0": "", "sys/class/block/md0/dev": "9:0"}, ErrInUse},
		"nothing":     {map[string]string{"proc/self/mountinfo": ""}, ErrFixed},
	} {
		t.Run(name, func(t *testing.T) {
			for name, text := range disk {
				c.files[name] = text
			}
			all, err := tree(t, c.files).Devices(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatalf("%+v: %v", all, err)
			}
			if err := Check(all[0], 1, nil); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

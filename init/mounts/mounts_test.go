package mounts

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fake is a system that notes what is mounted.
type fake struct {
	done    []string
	mounted map[string]bool
	fails   map[string]error
}

func (f *fake) Mount(source, target, fstype string, flags uintptr, data string) error {
	if err := f.fails[target]; err != nil {
		return err
	}
	f.done = append(f.done, fstype+" "+target)
	return nil
}

func (f *fake) Mkdir(path string) error {
	f.done = append(f.done, "mkdir "+path)
	if path == "/dev/shm" {
		return os.ErrExist
	}
	return nil
}

func (f *fake) Mounted(target string) bool { return f.mounted[target] }

func TestWhatIsMountedStaysAndOneFailureStopsNothing(t *testing.T) {
	f := &fake{
		mounted: map[string]bool{"/dev": true},
		fails:   map[string]error{"/sys": unix.EPERM, "/dev/mqueue": unix.ENODEV, "/sys/fs/bpf": unix.ENODEV, "/tmp": unix.ENODEV},
	}
	errs := All(f, append(Early(), Late()...))
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "mount sysfs on /sys") || !strings.Contains(errs[1].Error(), "/tmp") {
		t.Errorf("errors %v", errs)
	}
	for _, want := range []string{"proc /proc", "tmpfs /run", "cgroup2 /sys/fs/cgroup", "devpts /dev/pts", "tmpfs /dev/shm"} {
		if !slices.Contains(f.done, want) {
			t.Errorf("no %q in %q", want, f.done)
		}
	}
	if slices.Contains(f.done, "devtmpfs /dev") {
		t.Error("/dev was mounted twice")
	}
	if i, j := slices.Index(f.done, "mkdir /dev/pts"), slices.Index(f.done, "devpts /dev/pts"); i < 0 || i > j {
		t.Errorf("/dev/pts was not made first: %q", f.done)
	}
}

func TestParentsComeBeforeChildren(t *testing.T) {
	seen := map[string]bool{"/": true}
	for _, m := range append(Early(), Late()...) {
		for other := range seen {
			if strings.HasPrefix(other, m.Target+"/") {
				t.Errorf("%s would hide %s", m.Target, other)
			}
		}
		seen[m.Target] = true
	}
}

func TestShareTellsItsReason(t *testing.T) {
	if err := Share(&fake{}); err != nil {
		t.Error(err)
	}
	if err := Share(&fake{fails: map[string]error{"/": unix.EINVAL}}); err == nil || !strings.Contains(err.Error(), "share mounts") {
		t.Errorf("error %v", err)
	}
}

func TestMountedTellsMountPoints(t *testing.T) {
	k := Kernel{}
	dir := t.TempDir()
	for path, want := range map[string]bool{"/proc": true, "/sys": true, dir: false, dir + "/none": false} {
		if got := k.Mounted(path); got != want {
			t.Errorf("Mounted(%s) = %v", path, got)
		}
	}
	if err := k.Mkdir(dir + "/x"); err != nil {
		t.Error(err)
	}
	if err := k.Mkdir(dir + "/x"); !os.IsExist(err) {
		t.Errorf("error %v", err)
	}
}

func TestTargetsAreLeftDeepestFirst(t *testing.T) {
	const info = `21 1 253:1 / / ro,noatime shared:1 - erofs /dev/vda3 ro
30 21 253:4 / /data rw,noatime shared:9 - ext4 /dev/vda4 rw
31 30 0:40 / /data/var/lib/kubelet/pods/a\040b rw - tmpfs tmpfs rw
32 21 0:41 / /database rw - tmpfs tmpfs rw
33 30 0:42 / /data/x rw - overlay overlay rw
short line
`
	got := Targets(info, "/data")
	if want := []string{"/data/x", "/data/var/lib/kubelet/pods/a b", "/data"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzTargets(f *testing.F) {
	f.Add("30 21 253:4 / /data\\040x rw", "/data")
	f.Fuzz(func(t *testing.T, info, prefix string) {
		for _, target := range Targets(info, prefix) {
			if !strings.HasPrefix(target, strings.TrimSuffix(prefix, "/")) {
				t.Errorf("%q is not below %q", target, prefix)
			}
		}
	})
}

func TestHoldingFindsWhatKeepsAFileSystemInUse(t *testing.T) {
	const info = `21 1 254:3 / / ro - erofs /dev/vda3 ro
30 21 254:5 / /data rw - ext4 /dev/vda5 rw
31 21 254:5 /etc/rancher /etc/rancher rw - ext4 /dev/vda5 rw
32 30 0:40 / /data/var/lib/kubelet/pods/x/vol rw - tmpfs tmpfs rw
33 21 0:41 / /run/other rw - tmpfs tmpfs rw
34 31 254:5 /a\040b /run/a\040b rw - ext4 /dev/vda5 rw
`
	got := strings.Join(Holding(info, "/data"), ", ")
	if want := "/run/a b, /data/var/lib/kubelet/pods/x/vol, /etc/rancher, /data"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := Holding(info, "/boot"); len(got) != 0 {
		t.Errorf("what is not mounted is held by %q", got)
	}
}

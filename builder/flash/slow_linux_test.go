package flash

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// What a good SD card does, in bytes per second.
const (
	cardWrites = 40 * mib
	cardReads  = 80 * mib
)

// slow makes a device as slow as a card for all that this process and those it
// starts do with it, by the kernel's own limits: io.max of cgroup v2, or
// blkio.throttle of v1 (Documentation/admin-guide/cgroup-v2.rst and
// cgroup-v1/blkio-controller.rst).
func slow(b *testing.B, d Device) {
	b.Helper()
	if v1 := "/sys/fs/cgroup/blkio/blkio.throttle."; exists(v1 + "write_bps_device") {
		for file, rate := range map[string]int{"write_bps_device": cardWrites, "read_bps_device": cardReads} {
			tell(b, v1+file, fmt.Sprintf("%s %d", d.Number, rate))
			b.Cleanup(func() { tell(b, v1+file, d.Number+" 0") })
		}
		return
	}
	const root = "/sys/fs/cgroup"
	group := filepath.Join(root, fmt.Sprintf("weft-bench-%d", os.Getpid()))
	tell(b, filepath.Join(root, "cgroup.subtree_control"), "+io")
	if err := os.Mkdir(group, 0o755); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		tell(b, filepath.Join(root, "cgroup.procs"), strconv.Itoa(os.Getpid()))
		if err := os.Remove(group); err != nil {
			b.Error(err)
		}
	})
	tell(b, filepath.Join(group, "io.max"), fmt.Sprintf("%s wbps=%d rbps=%d", d.Number, cardWrites, cardReads))
	tell(b, filepath.Join(group, "cgroup.procs"), strconv.Itoa(os.Getpid()))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tell writes to a file of the kernel.
func tell(b *testing.B, path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		b.Fatalf("%v\nslowing a device down needs root and the kernel's io controller (CONFIG_BLK_DEV_THROTTLING)", err)
	}
}

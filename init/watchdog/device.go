package watchdog

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Device is a watchdog of the kernel
// (Documentation/watchdog/watchdog-api.rst).
type Device struct {
	file *os.File
	// Within is the bound that the hardware took, rounded to seconds.
	Within time.Duration
	// Bit says that this watchdog caused the last reset, where it can tell.
	Bit bool
	// Identity is the driver's name for it.
	Identity string
}

var _ Timer = (*Device)(nil)

// Open opens the watchdog at path, such as /dev/watchdog0, which starts it,
// with a bound. Hardware that cannot do the bound takes its own, which Within
// then says.
func Open(path string, within time.Duration) (*Device, error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	d := &Device{file: file}
	fd := int(file.Fd())
	if info, err := unix.IoctlGetWatchdogInfo(fd); err == nil {
		d.Identity = unix.ByteSliceToString(info.Identity[:])
	}
	if flags, err := unix.IoctlGetInt(fd, unix.WDIOC_GETBOOTSTATUS); err == nil {
		d.Bit = flags&unix.WDIOF_CARDRESET != 0
	}
	seconds := int(within / time.Second)
	if err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds); err == nil {
		d.Within = within
	}
	// The driver rounds as its hardware needs it.
	if seconds, err := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT); err == nil && seconds > 0 {
		d.Within = time.Duration(seconds) * time.Second
	}
	if d.Within == 0 {
		d.Within = within
	}
	return d, nil
}

// Pet implements [Timer].
func (d *Device) Pet() error {
	if err := unix.IoctlWatchdogKeepalive(int(d.file.Fd())); err != nil {
		return fmt.Errorf("watchdog %s: keep alive: %w", d.Identity, err)
	}
	return nil
}

// Release implements [Timer]: the "magic close".
func (d *Device) Release() error {
	_, err := d.file.WriteString("V")
	if closeErr := d.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("watchdog %s: release: %w", d.Identity, err)
	}
	return nil
}

// Abandon leaves the timer running without anybody who pets it.
func (d *Device) Abandon() error { return d.file.Close() }

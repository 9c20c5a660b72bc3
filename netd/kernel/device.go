package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of the ethtool ioctl (include/uapi/linux/ethtool.h). Of a VXLAN
// device's checksum features only tx-checksum-ip-generic exists, so these
// stand for that one.
const (
	ethtoolGetTxChecksum = 0x16 // ETHTOOL_GTXCSUM
	ethtoolSetTxChecksum = 0x17 // ETHTOOL_STXCSUM
)

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ command, data uint32 }

// ifreqData is struct ifreq with its union used as ifr_data. The union is 24
// bytes on 64-bit systems, of which the pointer takes the first.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ethtool runs an ethtool command with one number for a device.
func (c *Conn) ethtool(device string, value *ethtoolValue) error {
	if len(device) >= unix.IFNAMSIZ {
		return fmt.Errorf("device name %q is longer than %d bytes", device, unix.IFNAMSIZ-1)
	}
	var request ifreqData
	copy(request.name[:], device)
	request.data = unsafe.Pointer(value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.control), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(value)
	if errno != 0 {
		return os.NewSyscallError("ioctl SIOCETHTOOL", errno)
	}
	return nil
}

// checksumOffload reads whether a device leaves checksums to be made later.
// A device that has just gone has none.
func (c *Conn) checksumOffload(device string) (bool, error) {
	value := ethtoolValue{command: ethtoolGetTxChecksum}
	err := c.ethtool(device, &value)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	return value.data != 0, err
}

func (c *Conn) setChecksumOffload(device string, on bool) error {
	value := ethtoolValue{command: ethtoolSetTxChecksum}
	if on {
		value.data = 1
	}
	return c.ethtool(device, &value)
}

// setAcceptRA writes a device's accept_ra, which netlink can read but not
// write. A kernel without IPv6 has no such setting and needs none.
//
// The file is that of the network namespace of the calling thread, so the
// caller must be in the one the Conn was opened in.
func setAcceptRA(device string, accept bool) error {
	value := "0"
	if accept {
		value = "1"
	}
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/accept_ra", []byte(value), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

package kexec

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelSegment is struct kexec_segment (include/uapi/linux/kexec.h).
type kernelSegment struct {
	buf     *byte
	bufSize uintptr
	mem     uintptr
	memSize uintptr
}

// load is kexec_load(2), which the C library does not wrap either.
func load(segments []segment, entry uint64) error {
	list := make([]kernelSegment, len(segments))
	var pins runtime.Pinner
	defer pins.Unpin()
	for i, s := range segments {
		pins.Pin(&s.data[0])
		list[i] = kernelSegment{&s.data[0], uintptr(len(s.data)), uintptr(s.at), uintptr(s.size)}
	}
	// The flags say KEXEC_ARCH_DEFAULT, which is 0.
	_, _, errno := unix.Syscall6(unix.SYS_KEXEC_LOAD, uintptr(entry), uintptr(len(list)), uintptr(unsafe.Pointer(&list[0])), 0, 0, 0)
	runtime.KeepAlive(list)
	if errno != 0 {
		return errno
	}
	return nil
}

package hub

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketPair returns two connected ends of a datagram socket: one as a
// connection, one as a file for another process.
func socketPair() (net.Conn, *os.File, error) {
	// Under the lock no process starts between the two calls that make the
	// ends and keep them from it.
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		// Room for a frame of the largest size: the default of macOS holds
		// 2 KiB (net.local.dgram.maxdgram). More than the system allows is
		// cut to what it allows.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxFrame)
	}
	near := os.NewFile(uintptr(fds[0]), "cable")
	far := os.NewFile(uintptr(fds[1]), "cable")
	conn, err := net.FileConn(near)
	near.Close()
	if err != nil {
		far.Close()
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return conn, far, nil
}

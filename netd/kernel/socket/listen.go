package socket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLost says that the kernel had more to tell than fitted into the buffer.
var ErrLost = errors.New("the kernel's news did not fit into the buffer")

// listenBuffer is the size in bytes of what the kernel may keep for us to
// hear: room for some ten thousand changes at once.
const listenBuffer = 8 << 20

// A Listener hears the kernel's news.
type Listener struct{ file *os.File }

// Listen subscribes to groups of a netlink family in the network namespace of
// the calling thread, which should be the one of c. News of the kinds ignored
// that c caused itself are not among what is heard. The subscription has begun
// when Listen returns; [Listener.Datagrams] ends it.
func (c *Conn) Listen(family int, groups []int, ignored ...uint16) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	l := &Listener{os.NewFile(uintptr(fd), "netlink news")}
	// Beyond the limit of net.core.rmem_max only with CAP_NET_ADMIN in the
	// initial user namespace; elsewhere what the limit allows must do.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, listenBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, listenBuffer)
	}
	if err := ignore(fd, c.port, ignored); err != nil {
		l.file.Close()
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		l.file.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	for _, group := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			l.file.Close()
			return nil, os.NewSyscallError("setsockopt NETLINK_ADD_MEMBERSHIP", err)
		}
	}
	return l, nil
}

// Close ends a subscription that nobody has listened to.
func (l *Listener) Close() error { return l.file.Close() }

// Datagrams yields what the kernel tells, as it arrives, until ctx ends; each
// is valid until the next. After [ErrLost] it goes on, any other error is the
// last.
func (l *Listener) Datagrams(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		defer l.file.Close()
		stop := context.AfterFunc(ctx, func() { l.file.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		raw, err := l.file.SyscallConn()
		if err != nil {
			yield(nil, err)
			return
		}
		buf := make([]byte, 64<<10)
		for {
			n, from, err := receiveFrom(raw, buf)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, unix.ENOBUFS):
				if !yield(nil, ErrLost) {
					return
				}
			case err != nil:
				yield(nil, err)
				return
			case from != 0: // not from the kernel
			case !yield(buf[:n], nil):
				return
			}
		}
	}
}

// receiveFrom waits for one datagram; from is 0 when the kernel sent it.
func receiveFrom(raw syscall.RawConn, buf []byte) (n int, from uint32, err error) {
	wait := raw.Read(func(fd uintptr) bool {
		var sender unix.Sockaddr
		n, sender, err = unix.Recvfrom(int(fd), buf, 0)
		if s, ok := sender.(*unix.SockaddrNetlink); ok {
			from = s.Pid
		}
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if wait != nil {
		return 0, 0, wait
	}
	return n, from, err
}

// ignore keeps news of some kinds that the owner of port caused itself from
// reaching the socket fd: programming thousands of leases would otherwise make
// netd hear, and understand, each of its own changes.
//
// It is a classic BPF program over the message header: nlmsg_type is the 16
// bits at offset 4 and nlmsg_pid the 32 bits at 12, in the order of the host;
// BPF reads in network order, so constants are turned around.
func ignore(fd int, port uint32, kinds []uint16) error {
	const (
		loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		result   = unix.BPF_RET | unix.BPF_K
	)
	if len(kinds) > 100 { // jumps have 8 bits
		return fmt.Errorf("%d kinds of news to ignore are too many", len(kinds))
	}
	program := []unix.SockFilter{{Code: loadHalf, K: 4}}
	for i, kind := range kinds {
		var b [2]byte
		binary.NativeEndian.PutUint16(b[:], kind)
		// What matches goes on behind the result that follows the last kind.
		program = append(program, unix.SockFilter{Code: equal, K: uint32(binary.BigEndian.Uint16(b[:])), Jt: uint8(len(kinds) - i)})
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], port)
	program = append(program,
		unix.SockFilter{Code: result, K: 0xffffffff}, // all of it
		unix.SockFilter{Code: loadWord, K: 12},
		unix.SockFilter{Code: equal, K: binary.BigEndian.Uint32(b[:]), Jt: 1},
		unix.SockFilter{Code: result, K: 0xffffffff},
		unix.SockFilter{Code: result, K: 0}) // nothing
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET,
		unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
}

package kernel

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// ignoreOwn keeps the news of routes and neighbours that the owner of port
// made itself from reaching the socket fd: programming thousands of leases
// would otherwise make netd hear, and understand, each of them. (News of FDB
// entries does not say who made them and arrives all the same.)
//
// It is a classic BPF program over the message header: nlmsg_type is the 16
// bits at offset 4 and nlmsg_pid the 32 bits at 12, in the order of the host;
// BPF reads in network order, so constants are turned around.
func ignoreOwn(fd int, port uint32) error {
	const (
		loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		result   = unix.BPF_RET | unix.BPF_K
	)
	kind := func(k uint16) uint32 {
		var b [2]byte
		binary.NativeEndian.PutUint16(b[:], k)
		return uint32(binary.BigEndian.Uint16(b[:]))
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], port)
	program := []unix.SockFilter{
		{Code: loadHalf, K: 4},
		{Code: equal, K: kind(unix.RTM_NEWROUTE), Jt: 3},
		{Code: equal, K: kind(unix.RTM_DELROUTE), Jt: 2},
		{Code: equal, K: kind(unix.RTM_NEWNEIGH), Jt: 1},
		{Code: equal, K: kind(unix.RTM_DELNEIGH), Jf: 2},
		{Code: loadWord, K: 12},
		{Code: equal, K: binary.BigEndian.Uint32(b[:]), Jt: 1},
		{Code: result, K: 0xffffffff}, // all of it
		{Code: result, K: 0},          // nothing
	}
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET,
		unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
}

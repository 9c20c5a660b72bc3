package firewall

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// legacyEvery is how often the tables of the legacy iptables are looked at,
// which is the only way to hear of changes. With the pause between repairs it
// stays below the second in which drift has to be repaired. A look is one
// system call a table, about a microsecond: it reads the numbers of the table
// and not its rules.
const legacyEvery = 300 * time.Millisecond

// soGetInfo asks for a table's numbers (IPT_SO_GET_INFO in
// include/uapi/linux/netfilter_ipv4/ip_tables.h, IP6T_SO_GET_INFO in
// netfilter_ipv6/ip6_tables.h: both are their base control, 64).
const soGetInfo = 64

// xtInfo is struct ipt_getinfo, and struct ip6t_getinfo, of the same headers.
// A rule that comes or goes changes at least one of the numbers after hooks.
type xtInfo struct {
	name      [32]byte // XT_TABLE_MAXNAMELEN
	hooks     uint32
	entry     [5]uint32 // NF_INET_NUMHOOKS
	underflow [5]uint32
	entries   uint32
	size      uint32
}

// A legacyWatch is what the tables looked like.
type legacyWatch struct {
	sockets map[bool]*os.File
	was     map[xtable]xtInfo
}

type xtable struct {
	ipv6 bool
	name string
}

// watchLegacy notes what the tables look like that want has rules in.
func watchLegacy(want Ruleset) (*legacyWatch, error) {
	w := &legacyWatch{sockets: map[bool]*os.File{}, was: map[xtable]xtInfo{}}
	for _, t := range want.Tables {
		for _, c := range xchains(t, true) {
			if len(c.rules) > 0 {
				w.was[xtable{t.IPv6, c.table}] = xtInfo{}
			}
		}
	}
	for t := range w.was {
		if w.sockets[t.ipv6] != nil {
			continue
		}
		family := unix.AF_INET
		if t.ipv6 {
			family = unix.AF_INET6
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("watch iptables: %w", os.NewSyscallError("socket", err))
		}
		w.sockets[t.ipv6] = os.NewFile(uintptr(fd), "iptables")
	}
	w.was = w.look()
	return w, nil
}

// look reads the numbers of the tables; those that cannot be read are zero.
func (w *legacyWatch) look() map[xtable]xtInfo {
	now := make(map[xtable]xtInfo, len(w.was))
	for t := range w.was {
		now[t] = tableInfo(w.sockets[t.ipv6], t)
	}
	return now
}

// changed reports whether the tables look different now.
func (w *legacyWatch) changed() bool { return !maps.Equal(w.was, w.look()) }

// close ends the watch; of nil it does nothing.
func (w *legacyWatch) close() {
	if w == nil {
		return
	}
	for _, s := range w.sockets {
		s.Close()
	}
}

// tableInfo asks the kernel for a table's numbers.
func tableInfo(socket *os.File, t xtable) (info xtInfo) {
	level := unix.SOL_IP
	if t.ipv6 {
		level = unix.SOL_IPV6
	}
	var asked xtInfo
	copy(asked.name[:], t.name)
	size := uint32(unsafe.Sizeof(asked))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, socket.Fd(), uintptr(level), soGetInfo,
		uintptr(unsafe.Pointer(&asked)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return xtInfo{}
	}
	return asked
}

// hasLegacy reports whether the legacy iptables has a table in this network
// namespace: only then there can be rules in it. To ask iptables itself would
// make the table.
func hasLegacy(ipv6 bool, table string) bool {
	file := "/proc/thread-self/net/ip_tables_names"
	if ipv6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	names, err := os.ReadFile(file)
	if err != nil {
		return false // the kernel has no legacy iptables
	}
	return slices.ContainsFunc(bytes.Fields(names), func(n []byte) bool { return string(n) == table })
}

package probe

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"weft/netd/cni"
)

// sockets are the pod's sockets for echo requests.
type sockets struct {
	v4, v6 net.PacketConn
	// inode is that of the namespace they are in.
	inode uint64
}

// each calls f with the sockets there are.
func (s sockets) each(f func(conn net.PacketConn, ipv6 bool)) {
	if s.v4 != nil {
		f(s.v4, false)
	}
	if s.v6 != nil {
		f(s.v6, true)
	}
}

func (s sockets) close() { s.each(func(conn net.PacketConn, _ bool) { conn.Close() }) }

// fits reports whether the sockets are those of the pod as it is now.
func (s sockets) fits(p Pod) bool {
	if s.inode == 0 || s.inode != inode() {
		return false
	}
	for _, subnet := range p.Subnets {
		conn := s.v6
		if subnet.Addr().Is4() {
			conn = s.v4
		}
		if conn == nil || conn.LocalAddr().String() != cni.ProbeAddress(subnet).String() {
			return false
		}
	}
	return true
}

// inode tells one namespace from another that has its name; 0 is none.
func inode() uint64 {
	var stat unix.Stat_t
	if unix.Stat(path(), &stat) != nil {
		return 0
	}
	return stat.Ino
}

// open opens the pod's sockets: raw ones, as netd is root and unprivileged
// echo sockets depend on a setting (net.ipv4.ping_group_range).
func (p Pod) open() (s sockets, err error) {
	namespace, err := os.Open(path())
	if err != nil {
		return s, err
	}
	defer namespace.Close()
	s.inode = inode()
	err = within(namespace, func() (err error) {
		for _, subnet := range p.Subnets {
			address := cni.ProbeAddress(subnet)
			if address.Is4() {
				s.v4, err = listen("ip4:icmp", address.String())
			} else {
				s.v6, err = listen("ip6:ipv6-icmp", address.String())
			}
			if err != nil {
				return fmt.Errorf("echo socket of %s: %w", address, err)
			}
		}
		return nil
	})
	if err != nil {
		s.close()
		return sockets{}, err
	}
	return s, nil
}

// listen is [net.ListenPacket], but on failure its result is nil.
func listen(network, address string) (net.PacketConn, error) {
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

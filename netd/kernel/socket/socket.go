// Package socket exchanges netlink messages with the kernel, many in one
// system call.
//
// It knows how messages are framed and answered, and nothing of what is in
// them. They are built with the nl package of vishvananda/netlink, whose own
// calls send one message and wait for its answer; here up to [batchMessages]
// go out at once, which halves the CPU time of large clusters.
package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// How much goes out in one system call. The kernel answers each message that
// fails with at most a few hundred bytes, so the answers to a batch fit into
// the smallest receive buffer.
const (
	batchMessages = 200
	batchBytes    = 64 << 10
)

// answerTimeout bounds the wait for an answer; the kernel answers at once
// unless the lock of its network configuration is held for long.
const answerTimeout = 20 * time.Second

// headerLen is the length of a netlink message header.
const headerLen = unix.SizeofNlMsghdr

// ErrInterrupted says that the state changed while it was read
// (NLM_F_DUMP_INTR), so that what was read may be incomplete.
var ErrInterrupted = errors.New("kernel state changed while it was read")

// A Conn is a netlink socket for requests and their answers. Its methods may be
// called from several goroutines.
type Conn struct {
	mu   sync.Mutex
	fd   int
	port uint32
	seq  uint32
	buf  []byte
}

// Open opens a socket of a netlink family in the network namespace of
// the calling thread, to which it stays bound.
func Open(family int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &Conn{fd: fd, buf: make([]byte, 64<<10)}
	if err := s.setup(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return s, nil
}

func (s *Conn) setup() error {
	if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	s.port = name.(*unix.SockaddrNetlink).Pid
	// Errors with a text, and without a copy of what was asked.
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, option, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	timeout := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
}

// Port is the number by which the kernel knows the socket: news of what was
// changed by it carries it.
func (s *Conn) Port() uint32 { return s.port }

// Close closes the socket.
func (s *Conn) Close() error { return unix.Close(s.fd) }

// Batch sends requests in as few system calls as will do and returns the
// answers in the order of the requests: nil, or an error that wraps the
// kernel's [unix.Errno]. The second result is a failure of the socket, after
// which the requests without an answer may or may not have been done.
//
// Only the last request of each call asks for an acknowledgement: the kernel
// works in order and reports every failure unasked, so silence means success.
func (s *Conn) Batch(requests []*nl.NetlinkRequest) ([]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := make([]error, len(requests))
	out := make([]byte, 0, min(batchBytes, 128*len(requests)))
	first := 0
	for i, request := range requests {
		s.seq++
		// XFRM takes the sender's word for who caused its news.
		request.Seq, request.Pid = s.seq, s.port
		last := i == len(requests)-1 || i-first == batchMessages-1 || len(out) > batchBytes/2
		request.Flags &^= unix.NLM_F_ACK
		if last {
			request.Flags |= unix.NLM_F_ACK
		}
		out = append(out, request.Serialize()...)
		for len(out)%unix.NLMSG_ALIGNTO != 0 {
			out = append(out, 0)
		}
		if !last {
			continue
		}
		if err := s.exchange(out, answers[first:i+1]); err != nil {
			return answers, err
		}
		out, first = out[:0], i+1
	}
	return answers, nil
}

// exchange sends the requests in out, whose sequence numbers end with s.seq,
// and fills in their answers.
func (s *Conn) exchange(out []byte, answers []error) error {
	if err := s.send(out); err != nil {
		return err
	}
	firstSeq := s.seq - uint32(len(answers)) + 1
	for {
		done := false
		err := s.receive(func(h unix.NlMsghdr, data []byte) {
			n := h.Seq - firstSeq
			if h.Type != unix.NLMSG_ERROR || n >= uint32(len(answers)) {
				return
			}
			answers[n] = parseError(h, data)
			done = done || h.Seq == s.seq
		})
		if err != nil || done {
			return err
		}
	}
}

// Ask sends requests that are answered with messages and calls each with
// those, until all are answered. Failures of single requests are passed over:
// what has no answer is not there.
func (s *Conn) Ask(requests []*nl.NetlinkRequest, each func(n int, data []byte)) error {
	// Answers wait in the receive buffer while the kernel works through the
	// requests of a call, so a call holds fewer of them.
	const atOnce = 50
	s.mu.Lock()
	defer s.mu.Unlock()
	for start := 0; start < len(requests); start += atOnce {
		part := requests[start:min(start+atOnce, len(requests))]
		var out []byte
		firstSeq := s.seq + 1
		for _, request := range part {
			s.seq++
			request.Seq = s.seq
			request.Flags |= unix.NLM_F_ACK
			out = append(out, request.Serialize()...)
		}
		if err := s.send(out); err != nil {
			return err
		}
		for done := false; !done; {
			err := s.receive(func(h unix.NlMsghdr, data []byte) {
				n := h.Seq - firstSeq
				switch {
				case n >= uint32(len(part)):
				case h.Type == unix.NLMSG_ERROR:
					done = done || h.Seq == s.seq
				default:
					each(start+int(n), data)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Dump asks for all objects of a kind and calls each with their messages. It
// fails with [ErrInterrupted] when they changed meanwhile.
func (s *Conn) Dump(request *nl.NetlinkRequest, each func(data []byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	request.Seq = s.seq
	request.Flags |= unix.NLM_F_DUMP
	if err := s.send(request.Serialize()); err != nil {
		return err
	}
	var failure error
	for done := false; !done; {
		err := s.receive(func(h unix.NlMsghdr, data []byte) {
			if h.Seq != s.seq {
				return
			}
			if h.Flags&unix.NLM_F_DUMP_INTR != 0 {
				failure = ErrInterrupted
			}
			switch h.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				done = true
				if err := parseError(h, data); err != nil {
					failure = err
				}
			default:
				each(data)
			}
		})
		if err != nil {
			return err
		}
	}
	return failure
}

func (s *Conn) send(out []byte) error {
	err := unix.Sendto(s.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	return os.NewSyscallError("netlink: sendto", err)
}

// receive waits for one datagram from the kernel and calls each with its
// messages. The data is valid during the call only.
func (s *Conn) receive(each func(h unix.NlMsghdr, data []byte)) error {
	for {
		n, from, err := unix.Recvfrom(s.fd, s.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("netlink: recvfrom", err)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // not from the kernel
		}
		return Messages(s.buf[:n], each)
	}
}

// Messages calls each with the netlink messages in b.
func Messages(b []byte, each func(h unix.NlMsghdr, data []byte)) error {
	for len(b) >= headerLen {
		h := unix.NlMsghdr{
			Len:   binary.NativeEndian.Uint32(b),
			Type:  binary.NativeEndian.Uint16(b[4:]),
			Flags: binary.NativeEndian.Uint16(b[6:]),
			Seq:   binary.NativeEndian.Uint32(b[8:]),
			Pid:   binary.NativeEndian.Uint32(b[12:]),
		}
		if h.Len < headerLen || uint64(h.Len) > uint64(len(b)) {
			return fmt.Errorf("netlink: message of %d bytes in %d", h.Len, len(b))
		}
		each(h, b[headerLen:h.Len])
		b = b[min(Align(int(h.Len)), len(b)):]
	}
	return nil
}

// Align rounds up to where the next message or attribute starts.
func Align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// Attributes of an error message (include/uapi/linux/netlink.h).
const nlmsgerrAttrMsg = 1

// parseError is the error in an NLMSG_ERROR or NLMSG_DONE message: nil, or
// one that wraps the number and carries the kernel's own words if it has any.
func parseError(h unix.NlMsghdr, data []byte) error {
	if len(data) < 4 {
		return nil
	}
	number := int32(binary.NativeEndian.Uint32(data))
	if number == 0 {
		return nil
	}
	err := unix.Errno(-number)
	if h.Type != unix.NLMSG_ERROR || h.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return err
	}
	// The header of the request follows, the request itself only without
	// NLM_F_CAPPED, then attributes.
	skip := 4 + headerLen
	if h.Flags&unix.NLM_F_CAPPED == 0 && len(data) >= 8 {
		skip = 4 + Align(int(binary.NativeEndian.Uint32(data[4:])))
	}
	if skip < 4 || skip > len(data) {
		return err
	}
	var text string
	Attributes(data[skip:], func(kind uint16, value []byte) {
		if kind == nlmsgerrAttrMsg {
			text = CString(value)
		}
	})
	if text == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, text)
}

// Attributes calls each with the attributes in b. What does not parse ends
// the walk: the kernel does not send such.
func Attributes(b []byte, each func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		each(kind, b[unix.SizeofRtAttr:n])
		b = b[min(Align(n), len(b)):]
	}
}

// CString is the text in b up to the byte 0 that ends it.
func CString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

package router

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/rtnetlink.h and if_link.h: the multicast groups of
// these messages, the size of struct nduseroptmsg, which stands before the
// options, and the attribute with a device's IPv6 flags.
const (
	groupNDUserOpt  = 20 // RTNLGRP_ND_USEROPT
	groupIPv6IfInfo = 12 // RTNLGRP_IPV6_IFINFO
	userOptHeader   = 16
	inet6Flags      = 1 // IFLA_INET6_FLAGS
)

// typeRA is an ICMPv6 router advertisement (RFC 4861 section 4.2).
const typeRA = 134

// Flags of a device's IPv6 (include/uapi/linux/if_link.h is silent; they are
// in include/net/if_inet6.h: IF_RA_MANAGED, IF_RA_OTHERCONF).
const (
	flagManaged = 0x40
	flagOther   = 0x80
)

// News is what was heard of one link.
type News struct {
	// Index is the kernel's number of the link.
	Index int
	// Advert is what a router said of the DNS; zero in news of flags.
	Advert Advert
	// Flags says that Managed and Other are news: whether routers say that
	// addresses, or only other things, come by DHCPv6.
	Flags, Managed, Other bool
}

// Listen calls each for what routers say, and first for what they have said
// of DHCPv6, until ctx ends. Malformed options are passed over: nobody can
// repair another's router from here.
func Listen(ctx context.Context, each func(News)) error {
	fail := func(err error) error { return fmt.Errorf("router advertisements: %w", err) }
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	for _, group := range []uint32{groupNDUserOpt, groupIPv6IfInfo} {
		if err := conn.JoinGroup(group); err != nil {
			return fail(err)
		}
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	body := make([]byte, unix.SizeofIfInfomsg)
	body[0] = unix.AF_INET6
	if _, err := conn.Send(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data:   body,
	}); err != nil {
		return fail(err)
	}
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			continue // routers repeat themselves
		case err != nil:
			return fail(err)
		}
		for _, m := range messages {
			var n News
			switch m.Header.Type {
			case unix.RTM_NEWNDUSEROPT:
				n, err = decodeOptions(m.Data)
			case unix.RTM_NEWLINK:
				n, err = decodeFlags(m.Data)
			default:
				continue
			}
			if err == nil {
				each(n)
			}
		}
	}
}

// decodeOptions reads the body of a message with options.
func decodeOptions(data []byte) (News, error) {
	if len(data) < userOptHeader || data[0] != unix.AF_INET6 || data[8] != typeRA {
		return News{}, fmt.Errorf("%w: no router advertisement", ErrOption)
	}
	size := int(binary.NativeEndian.Uint16(data[2:]))
	if size > len(data)-userOptHeader {
		return News{}, fmt.Errorf("%w: %d bytes of options in %d", ErrOption, size, len(data))
	}
	a, err := Parse(data[userOptHeader : userOptHeader+size])
	return News{Index: int(binary.NativeEndian.Uint32(data[4:])), Advert: a}, err
}

// decodeFlags reads the body of a message about a link's IPv6.
func decodeFlags(data []byte) (News, error) {
	if len(data) < unix.SizeofIfInfomsg || data[0] != unix.AF_INET6 {
		return News{}, fmt.Errorf("%w: no news of IPv6", ErrOption)
	}
	attributes, err := netlink.NewAttributeDecoder(data[unix.SizeofIfInfomsg:])
	if err != nil {
		return News{}, fmt.Errorf("%w: %w", ErrOption, err)
	}
	n := News{Index: int(binary.NativeEndian.Uint32(data[4:]))}
	for attributes.Next() {
		if attributes.Type() != unix.IFLA_PROTINFO {
			continue
		}
		attributes.Nested(func(inner *netlink.AttributeDecoder) error {
			for inner.Next() {
				if inner.Type() == inet6Flags {
					flags := inner.Uint32()
					n.Flags, n.Managed, n.Other = true, flags&flagManaged != 0, flags&flagOther != 0
				}
			}
			return nil
		})
	}
	if err := attributes.Err(); err != nil {
		return News{}, fmt.Errorf("%w: %w", ErrOption, err)
	}
	return n, nil
}

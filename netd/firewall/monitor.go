package firewall

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Changes subscribes to what is changed in nftables and delivers whenever
// netd's table is touched, by anyone.
func (NFT) Changes(ctx context.Context) (iter.Seq2[struct{}, error], error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("subscribe to nftables: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribe to nftables: %w", err)
	}
	return func(yield func(struct{}, error) bool) {
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		for {
			messages, err := conn.Receive()
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, unix.ENOBUFS):
				// Something was missed; it may have been about us.
			case err != nil:
				yield(struct{}{}, fmt.Errorf("nftables events: %w", err))
				return
			case !touched(messages):
				continue
			}
			if !yield(struct{}{}, nil) {
				return
			}
		}
	}, nil
}

// touched reports whether any of the messages is about netd's table.
func touched(messages []netlink.Message) bool {
	for _, m := range messages {
		if name, ok := tableOf(uint16(m.Header.Type), m.Data); ok && name == TableName {
			return true
		}
	}
	return false
}

// tableOf is the name of the table that a message about a table, a chain or a
// rule speaks of. In all three it is the first attribute (NFTA_TABLE_NAME,
// NFTA_CHAIN_TABLE and NFTA_RULE_TABLE are 1), after struct nfgenmsg.
func tableOf(kind uint16, b []byte) (string, bool) {
	const nfgenmsgLen, tableAttribute = 4, 1
	if kind>>8 != unix.NFNL_SUBSYS_NFTABLES || len(b) < nfgenmsgLen {
		return "", false
	}
	switch kind & 0xff {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE, unix.NFT_MSG_NEWCHAIN,
		unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
	default:
		return "", false
	}
	for b = b[nfgenmsgLen:]; len(b) >= unix.SizeofNlAttr; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return "", false
		}
		if binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == tableAttribute {
			name, _, _ := bytes.Cut(b[unix.SizeofNlAttr:n], []byte{0})
			return string(name), true
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return "", false
}

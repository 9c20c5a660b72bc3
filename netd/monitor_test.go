package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// monitor counts what changes in a node's network, with no help of netd's own
// code. The result ends the count and describes the changes.
func monitor(t testing.TB, x *node) func() []string {
	t.Helper()
	var rt, nft *nl.NetlinkSocket
	err := x.Do(func() (err error) {
		rt, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR,
			unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
		if err == nil {
			nft, err = nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
		}
		return err
	})
	if err != nil {
		t.Fatalf("monitor: %v", err)
	}
	return func() []string {
		seen := slices.Concat(drain(t, rt, describeRoute), drain(t, nft, func(kind uint16, _ []byte) string {
			return fmt.Sprintf("nftables message %#x", kind)
		}))
		rt.Close()
		nft.Close()
		return seen
	}
}

// drain reads what has arrived: whatever was changed is there already.
func drain(t testing.TB, s *nl.NetlinkSocket, describe func(kind uint16, data []byte) string) []string {
	t.Helper()
	if err := s.SetReceiveTimeout(&unix.Timeval{Usec: int64(50 * time.Millisecond / time.Microsecond)}); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for {
		messages, _, err := s.Receive()
		if err != nil {
			return seen
		}
		for _, m := range messages {
			if text := describe(m.Header.Type, m.Data); text != "" {
				seen = append(seen, text)
			}
		}
	}
}

// describeRoute describes a message of rtnetlink, empty for neighbours that
// the kernel learns by itself.
func describeRoute(kind uint16, data []byte) string {
	if kind == unix.RTM_NEWNEIGH || kind == unix.RTM_DELNEIGH {
		if len(data) < 12 || binary.NativeEndian.Uint16(data[8:])&unix.NUD_PERMANENT == 0 {
			return ""
		}
	}
	return fmt.Sprintf("rtnetlink message %d", kind)
}

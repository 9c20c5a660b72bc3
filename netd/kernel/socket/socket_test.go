package socket

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/nstest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// route asks for a route to a device to be made or removed.
func route(device int, kind, flags int, last byte) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags)
	m := nl.NewRtMsg()
	m.Family, m.Dst_len = unix.AF_INET, 32
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.RTA_DST, []byte{10, 9, 9, last}))
	r.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(device))))
	return r
}

const add = unix.NLM_F_CREATE | unix.NLM_F_EXCL

func TestEachRequestOfABatchHasItsAnswer(t *testing.T) {
	inNode(t, func(c *Conn, device int) error {
		var requests []*nl.NetlinkRequest
		for i := range batchMessages + 3 { // more than one system call; the second of each pair fails
			requests = append(requests, route(device, unix.RTM_NEWROUTE, add, byte(i/2+1)))
		}
		answers, err := c.Batch(requests)
		for i, answer := range answers {
			if exists := errors.Is(answer, unix.EEXIST); exists != (i%2 == 1) {
				t.Errorf("answer %d is %v", i, answer)
			}
		}
		return err
	})
}

func TestOnesOwnChangesAreNoNews(t *testing.T) {
	inNode(t, func(c *Conn, device int) error {
		other, err := Open(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer other.Close()
		l, err := c.Listen(unix.NETLINK_ROUTE, []int{unix.RTNLGRP_IPV4_ROUTE}, unix.RTM_NEWROUTE)
		if err != nil {
			return err
		}
		// Its own, another's, and of a kind that is not ignored.
		for _, change := range []struct {
			by      *Conn
			request *nl.NetlinkRequest
		}{
			{c, route(device, unix.RTM_NEWROUTE, add, 1)},
			{other, route(device, unix.RTM_NEWROUTE, add, 2)},
			{c, route(device, unix.RTM_DELROUTE, 0, 1)},
		} {
			if answers, err := change.by.Batch([]*nl.NetlinkRequest{change.request}); err != nil || answers[0] != nil {
				return errors.Join(append(answers, err)...)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		type news struct {
			kind uint16
			own  bool
		}
		var heard []news
		for datagram, err := range l.Datagrams(ctx) {
			if err != nil {
				return err
			}
			err = Messages(datagram, func(h unix.NlMsghdr, _ []byte) { heard = append(heard, news{h.Type, h.Pid == c.Port()}) })
			if err != nil || len(heard) < 2 {
				continue
			}
			if want := []news{{unix.RTM_NEWROUTE, false}, {unix.RTM_DELROUTE, true}}; !slices.Equal(heard, want) {
				t.Errorf("heard %v, want %v", heard, want)
			}
			return nil
		}
		t.Errorf("heard only %v", heard)
		return nil
	})
}

// inNode runs f in a namespace of its own with a socket and a device there.
func inNode(t *testing.T, f func(c *Conn, device int) error) {
	t.Helper()
	n := nstest.New(t, "node")
	n.Run(t, "ip", "link", "add", "eth0", "type", "bridge")
	n.Run(t, "ip", "link", "set", "eth0", "up")
	err := n.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		c, err := Open(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer c.Close()
		return f(c, link.Attrs().Index)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever arrives, reading it neither panics nor reads beyond it.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255})
	f.Add([]byte{16, 0, 0, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = parseError(unix.NlMsghdr{Type: unix.NLMSG_ERROR, Flags: unix.NLM_F_ACK_TLVS}, b)
		_ = parseError(unix.NlMsghdr{Type: unix.NLMSG_ERROR, Flags: unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED}, b)
		_ = Messages(b, func(h unix.NlMsghdr, data []byte) {
			if len(data) > len(b) {
				t.Error("more data than there is")
			}
		})
	})
}

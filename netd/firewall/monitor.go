package firewall

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Changes subscribes to what is changed in nftables and delivers whenever
// netd's rules are touched, by anyone. iptables over nftables is heard of in
// the same way; only for the legacy iptables, of which the kernel tells
// nothing, the tables are looked at every legacyEvery. What is not seen there
// is a rule replaced by one of the same size; who calls Ensure now and then
// finds that too.
func (f *Filter) Changes(ctx context.Context) (iter.Seq2[struct{}, error], error) {
	conn, err := subscribe()
	if err != nil && !errors.Is(err, unix.EPROTONOSUPPORT) { // a kernel with legacy iptables alone
		return nil, fmt.Errorf("subscribe to nftables: %w", err)
	}
	return func(yield func(struct{}, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		events, ended := make(chan error, 1), make(chan struct{})
		go func() {
			defer close(ended)
			if conn != nil {
				f.hear(ctx, conn, events)
			}
		}()
		defer func() {
			cancel()
			if conn != nil {
				conn.SetReadDeadline(time.Unix(1, 0))
			}
			<-ended
			if conn != nil {
				conn.Close()
			}
		}()
		var watch *legacyWatch
		defer func() { watch.close() }()
		tick := time.NewTicker(legacyEvery)
		tick.Stop()
		defer tick.Stop()
		for {
			var err error
			select {
			case <-ctx.Done():
				return
			case next := <-f.watch:
				watch.close()
				if watch = next; watch != nil {
					tick.Reset(legacyEvery)
				} else {
					tick.Stop()
				}
				continue
			case <-tick.C:
				if watch == nil || !watch.changed() {
					continue
				}
				// Told once; the next Ensure brings a new state to compare with.
				watch.close()
				watch = nil
				tick.Stop()
			case err = <-events:
			}
			if !yield(struct{}{}, err) || err != nil {
				return
			}
		}
	}, nil
}

// subscribe opens a socket that hears of changes in nftables.
func subscribe() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// hear sends nil for what may concern netd's rules, and the error that ends
// it. One waiting message stands for all.
func (f *Filter) hear(ctx context.Context, conn *netlink.Conn, events chan<- error) {
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, unix.ENOBUFS):
			// Something was missed; it may have been about us.
		case err != nil:
			select {
			case events <- fmt.Errorf("nftables events: %w", err):
			case <-ctx.Done():
			}
			return
		case !f.touched(messages):
			continue
		}
		select {
		case events <- nil:
		default:
		}
	}
}

// touched reports whether any of the messages is about netd's rules.
func (f *Filter) touched(messages []netlink.Message) bool {
	filter := f.filter.Load()
	return slices.ContainsFunc(messages, func(m netlink.Message) bool {
		o, ok := objectOf(uint16(m.Header.Type), m.Data)
		switch {
		case !ok || o.family != unix.NFPROTO_IPV4 && o.family != unix.NFPROTO_IPV6:
			return false
		case filter == hearNFT:
			return o.table == TableName
		case filter == hearIPTables:
			return o.concernsIPTables()
		}
		return false
	})
}

// concernsIPTables reports whether the object is of netd's in iptables, or
// may have taken a jump to it along.
func (o object) concernsIPTables() bool {
	return slices.ContainsFunc(xchains(Table{}, false), func(c xchain) bool {
		if o.table != c.table {
			return false
		}
		switch o.chain {
		case "":
			return o.gone
		case c.name:
			return true
		case c.base:
			return o.gone // what others add does no harm
		}
		return false
	})
}

// An object is a table, chain or rule of nftables that has changed.
type object struct {
	family       byte
	table, chain string
	gone         bool
}

// objectOf is the object that a message about a table, a chain or a rule
// speaks of, after struct nfgenmsg. In all three the table is the first
// attribute (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_RULE_TABLE are 1);
// the chain is NFTA_CHAIN_NAME, 3, or NFTA_RULE_CHAIN, 2.
func objectOf(kind uint16, b []byte) (o object, ok bool) {
	const nfgenmsgLen, tableAttribute = 4, 1
	if kind>>8 != unix.NFNL_SUBSYS_NFTABLES || len(b) < nfgenmsgLen {
		return object{}, false
	}
	chainAttribute := uint16(0) // none
	switch kind & 0xff {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		chainAttribute = 3
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		chainAttribute = 2
	default:
		return object{}, false
	}
	switch kind & 0xff {
	case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE:
		o.gone = true
	}
	o.family = b[0]
	for b = b[nfgenmsgLen:]; len(b) >= unix.SizeofNlAttr; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return object{}, false
		}
		name, _, _ := bytes.Cut(b[unix.SizeofNlAttr:n], []byte{0})
		switch attribute := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER); attribute {
		case tableAttribute:
			o.table, ok = string(name), true
		case chainAttribute:
			o.chain = string(name)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return o, ok
}

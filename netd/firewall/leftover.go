package firewall

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// flanneldTables are the tables flanneld makes in its nftables mode
// (pkg/trafficmngr/nftables/nftables.go), by family (true is IPv6).
var flanneldTables = map[bool]string{false: "flannel-ipv4", true: "flannel-ipv6"}

// removeLeftovers removes of one family what the other modes and flanneld
// left: flanneld's table in nftables; netd's table, unless nftables is the
// mode; the chains of iptables, unless current keeps them, with all jumps to
// them, in nftables and in the legacy iptables. Tables and base chains of
// iptables stay: they are the host's.
//
// Current is nil when the mode is nftables.
func removeLeftovers(ctx context.Context, ipv6 bool, current *xtables) (changed bool, err error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	defer conn.CloseLasting()
	tables := []string{flanneldTables[ipv6]}
	if current != nil {
		tables = append(tables, TableName)
	}
	removed, err := removeTables(conn, ipv6, tables)
	if err == nil && (current == nil || current.legacy) {
		var more bool
		more, err = removeChains(conn, ipv6)
		removed = removed || more
	}
	if err != nil && (current == nil || !current.legacy || !noNFTables(err)) {
		return false, fmt.Errorf("nftables: read what flanneld or another mode left: %w", err)
	}
	if removed {
		if err := conn.Flush(); err != nil {
			return false, fmt.Errorf("nftables: remove what flanneld or another mode left: %w", err)
		}
	}
	if current != nil && current.legacy {
		return removed, nil
	}
	legacy, err := removeLegacy(ctx, ipv6)
	return removed || legacy, err
}

// noNFTables reports whether an error is that of a kernel without nftables,
// where nothing can be left (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg: no
// such subsystem).
func noNFTables(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT)
}

// removeTables queues the removal of those tables that are there.
func removeTables(conn *nftables.Conn, ipv6 bool, names []string) (found bool, err error) {
	tables, err := conn.ListTablesOfFamily(family(ipv6))
	if err != nil {
		return false, err
	}
	for _, t := range tables {
		if slices.Contains(names, t.Name) {
			conn.DelTable(t)
			found = true
		}
	}
	return found, nil
}

// removeChains queues the removal of the chains of iptables over nftables.
// It needs none of its programs.
func removeChains(conn *nftables.Conn, ipv6 bool) (found bool, err error) {
	chains, err := conn.ListChainsOfTableFamily(family(ipv6))
	if err != nil {
		return false, err
	}
	ours := xchains(Table{}, false)
	for _, c := range chains {
		if !slices.ContainsFunc(ours, func(o xchain) bool { return o.table == c.Table.Name && o.name == c.Name }) {
			continue
		}
		found = true
		for _, from := range chains {
			if from.Table.Name != c.Table.Name || from.Name == c.Name {
				continue
			}
			rules, err := conn.GetRules(from.Table, from)
			if err != nil {
				return false, fmt.Errorf("chain %s of table %s: %w", from.Name, from.Table.Name, err)
			}
			for _, r := range rules {
				if leadsTo(r, c.Name) {
					if err := conn.DelRule(r); err != nil {
						return false, err
					}
				}
			}
		}
		conn.FlushChain(c)
		conn.DelChain(c)
	}
	return found, nil
}

// leadsTo reports whether a rule jumps to a chain.
func leadsTo(r *nftables.Rule, chain string) bool {
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
		v, is := e.(*expr.Verdict)
		return is && (v.Kind == expr.VerdictJump || v.Kind == expr.VerdictGoto) && v.Chain == chain
	})
}

// removeLegacy removes the chains of the legacy iptables. When its tables are
// there but none of its programs, there is nothing that could look into them,
// and nothing is done.
func removeLegacy(ctx context.Context, ipv6 bool) (changed bool, err error) {
	there := slices.ContainsFunc(xchains(Table{}, false), func(c xchain) bool { return hasLegacy(ipv6, c.table) })
	if !there {
		return false, nil
	}
	names := []string{"iptables-legacy", "iptables"}
	if ipv6 {
		names = []string{"ip6tables-legacy", "ip6tables"}
	}
	for _, name := range names {
		p, err := findProgram(ctx, name, ipv6)
		switch {
		case errors.Is(err, errNoIPTables):
			continue
		case err != nil:
			return false, err
		case !p.legacy:
			continue
		}
		x := &xtables{legacy: true, absent: map[xkey]bool{}}
		return x.ensureFamily(ctx, p, Table{IPv6: ipv6})
	}
	return false, nil
}

package firewall

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// TableName is the name of netd's table in each family. The table is netd's
// alone: whatever else is put into it is removed.
//
// An accept in it ends only its own chain; it cannot overrule a drop in
// another table, as accept in nftables never does.
const TableName = "weft"

// wayOut is said with what nftables refuses. Who may not ask is not told
// whether the kernel has it.
func wayOut(err error) string {
	if errors.Is(err, unix.EPERM) {
		return " (netd needs root, or CAP_NET_ADMIN)"
	}
	return " (if the kernel has no nf_tables, load it, or set network.firewall.mode: iptables)"
}

// Names of the chains in the table.
const (
	chainPostrouting = "postrouting"
	chainForward     = "forward"
	chainOutput      = "output"
)

// ensureNFT compares the kernel's tables with want and, if they differ,
// replaces them in one transaction.
func ensureNFT(want Ruleset) (changed bool, err error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	defer conn.CloseLasting()
	for range tries {
		differs, err := queueDifference(conn, want)
		if err != nil {
			return changed, fmt.Errorf("nftables: read table %s: %w%s", TableName, err, wayOut(err))
		}
		if !differs {
			return changed, nil
		}
		changed = true
		switch err := conn.Flush(); {
		case err == nil:
			return true, nil
		case !errors.Is(err, unix.ENOENT):
			return true, fmt.Errorf("nftables: write table %s: %w%s", TableName, err, wayOut(err))
		}
	}
	return changed, fmt.Errorf("nftables: write table %s: somebody else removes it all the time", TableName)
}

// queueDifference queues what makes the kernel's tables as want says.
func queueDifference(conn *nftables.Conn, want Ruleset) (differs bool, err error) {
	for _, ipv6 := range []bool{false, true} {
		table := want.of(ipv6)
		if table.Hold {
			continue
		}
		exists, same, err := compare(conn, table)
		if err != nil {
			return false, err
		}
		if wanted := !table.empty(); exists != wanted || wanted && !same {
			differs = true
			replace(conn, table, wanted, exists)
		}
	}
	return differs, nil
}

// empty reports whether there is nothing to keep.
func (t Table) empty() bool { return len(t.Postrouting)+len(t.Clamp)+len(t.Forward)+len(t.Output) == 0 }

// chains are the chains of a table with their rules, as nftables takes them.
func chains(t Table, in *nftables.Table) map[string]chain {
	all := map[string]chain{}
	if rules := slices.Concat(t.Clamp, t.Forward); len(rules) > 0 {
		all[chainForward] = chain{rules: rules, Chain: nftables.Chain{Name: chainForward, Table: in,
			Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter}}
	}
	if len(t.Output) > 0 {
		all[chainOutput] = chain{rules: t.Output, Chain: nftables.Chain{Name: chainOutput, Table: in,
			Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter}}
	}
	if len(t.Postrouting) > 0 {
		all[chainPostrouting] = chain{rules: t.Postrouting, Chain: nftables.Chain{Name: chainPostrouting, Table: in,
			Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource}}
	}
	return all
}

type chain struct {
	nftables.Chain
	rules []Rule
}

func family(ipv6 bool) nftables.TableFamily {
	if ipv6 {
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

// compare reports whether the kernel has the table, and whether it holds
// exactly what t says.
func compare(conn *nftables.Conn, t Table) (exists, same bool, err error) {
	table, err := conn.ListTableOfFamily(TableName, family(t.IPv6))
	if errors.Is(err, unix.ENOENT) || err == nil && table == nil {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	have, err := conn.ListChainsOfTableFamily(family(t.IPv6))
	if err != nil {
		return true, false, err
	}
	want := chains(t, table)
	if table.Flags != 0 { // such as dormant
		return true, false, nil
	}
	matched := 0
	for _, c := range have {
		if c.Table.Name != TableName {
			continue
		}
		w, found := want[c.Name]
		if !found || !sameChain(*c, w.Chain) {
			return true, false, nil
		}
		rules, err := conn.GetRules(table, c)
		if errors.Is(err, unix.ENOENT) {
			return true, false, nil // gone since it was listed
		}
		if err != nil {
			return true, false, err
		}
		if !sameRules(rules, w.rules, t.IPv6) {
			return true, false, nil
		}
		matched++
	}
	return true, matched == len(want), nil
}

func sameChain(have, want nftables.Chain) bool {
	return have.Type == want.Type &&
		have.Hooknum != nil && *have.Hooknum == *want.Hooknum &&
		have.Priority != nil && *have.Priority == *want.Priority &&
		have.Policy != nil && *have.Policy == nftables.ChainPolicyAccept
}

func sameRules(have []*nftables.Rule, want []Rule, ipv6 bool) bool {
	if len(have) != len(want) {
		return false
	}
	for i := range have {
		if !reflect.DeepEqual(have[i].Exprs, readable(expressions(want[i], ipv6))) ||
			!reflect.DeepEqual(have[i].UserData, comment(want[i])) {
			return false
		}
	}
	return true
}

// replace queues what puts t in the place of the kernel's table, or only
// removes that when it is not wanted.
func replace(conn *nftables.Conn, t Table, wanted, exists bool) {
	table := &nftables.Table{Name: TableName, Family: family(t.IPv6)}
	if exists {
		conn.DelTable(table)
	}
	if !wanted {
		return
	}
	conn.AddTable(table)
	all := chains(t, table)
	for _, name := range []string{chainPostrouting, chainForward, chainOutput} {
		c, found := all[name]
		if !found {
			continue
		}
		accept := nftables.ChainPolicyAccept
		c.Policy = &accept
		conn.AddChain(&c.Chain)
		for _, r := range c.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: &c.Chain,
				Exprs: expressions(r, t.IPv6), UserData: comment(r)})
		}
	}
}

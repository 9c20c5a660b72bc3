package firewall

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// TableName is the name of netd's table in each family. The table is netd's
// alone: whatever else is put into it is removed.
//
// An accept in it ends only its own chain; it cannot overrule a drop in
// another table, as accept in nftables never does.
const TableName = "weft"

// Names of the chains in the table.
const (
	chainPostrouting = "postrouting"
	chainForward     = "forward"
)

// NFT is the packet filter nftables, spoken to without the nft tool.
type NFT struct{}

var _ Firewall = NFT{}

// Ensure compares the kernel's tables with want and, if they differ, replaces
// them in one transaction.
func (NFT) Ensure(want Ruleset) (changed bool, err error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	defer conn.CloseLasting()
	for _, ipv6 := range []bool{false, true} {
		table := Table{IPv6: ipv6}
		wanted := false
		for _, t := range want {
			if t.IPv6 == ipv6 {
				table, wanted = t, true
			}
		}
		exists, same, err := compare(conn, table)
		if err != nil {
			return false, fmt.Errorf("nftables: read table %s: %w", TableName, err)
		}
		if exists == wanted && (same || !wanted) {
			continue
		}
		changed = true
		replace(conn, table, wanted, exists)
	}
	if !changed {
		return false, nil
	}
	if err := conn.Flush(); err != nil {
		return true, fmt.Errorf("nftables: write table %s: %w", TableName, err)
	}
	return true, nil
}

// chains are the chains of a table with their rules, as nftables takes them.
func chains(t Table, in *nftables.Table) map[string]chain {
	all := map[string]chain{
		chainForward: {rules: t.Forward, Chain: nftables.Chain{Name: chainForward, Table: in,
			Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter}},
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
		if !reflect.DeepEqual(have[i].Exprs, expressions(want[i], ipv6)) ||
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
	for _, name := range []string{chainPostrouting, chainForward} {
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

func comment(r Rule) []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.Comment)
}

// Where the addresses are in the headers (RFC 791 section 3.1, RFC 8200
// section 3).
const (
	source4, destination4 = 12, 16
	source6, destination6 = 8, 24
)

// expressions are a rule in the kernel's terms, in the form in which the
// kernel gives them back.
func expressions(r Rule, ipv6 bool) []expr.Any {
	var all []expr.Any
	if r.Mark != 0 {
		bits := binaryutil.NativeEndian.PutUint32(r.Mark)
		all = append(all,
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: bits, Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bits})
	}
	source, destination := uint32(source4), uint32(destination4)
	if ipv6 {
		source, destination = source6, destination6
	}
	all = append(all, match(r.From, source)...)
	all = append(all, match(r.To, destination)...)
	switch r.Verdict {
	case Masquerade:
		all = append(all, &expr.Masq{FullyRandom: true})
	case Accept:
		all = append(all, &expr.Verdict{Kind: expr.VerdictAccept})
	default:
		all = append(all, &expr.Verdict{Kind: expr.VerdictReturn})
	}
	return all
}

// match loads an address from the header, keeps the bits of the prefix and
// compares them.
func match(m Match, offset uint32) []expr.Any {
	if !m.Prefix.IsValid() {
		return nil
	}
	address := m.Prefix.Masked().Addr().AsSlice()
	n := uint32(len(address))
	all := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n}}
	if bits := m.Prefix.Bits(); bits < len(address)*8 {
		mask := make([]byte, n)
		for i := range bits {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		all = append(all, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: mask, Xor: make([]byte, n)})
	}
	op := expr.CmpOpEq
	if m.Not {
		op = expr.CmpOpNeq
	}
	return append(all, &expr.Cmp{Op: op, Register: 1, Data: address})
}

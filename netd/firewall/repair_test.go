package firewall

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/netd/nstest"
	"weft/profiles"
)

// keep makes a filter keep want in a node, as netd's loop does: it looks when
// it hears of changes, and at no other time.
func keep(t *testing.T, n *nstest.Node, want Ruleset) {
	t.Helper()
	f := New()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	err := n.Do(func() error {
		changes, err := f.Changes(ctx)
		if err != nil {
			return err
		}
		if _, err := f.Ensure(t.Context(), want); err != nil {
			return err
		}
		go func() {
			defer close(ended)
			for _, err := range changes {
				if err == nil {
					err = n.Do(func() error { _, err := f.Ensure(t.Context(), want); return err })
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-ended })
}

// broken breaks something in a node and waits for all to be as before.
func broken(t *testing.T, n *nstest.Node, state func() string, words ...string) {
	t.Helper()
	before := state()
	n.Run(t, words[0], words[1:]...)
	took := nstest.Eventually(t, time.Second, strings.Join(words, " "), func() error {
		if after := state(); after != before {
			return fmt.Errorf("rules are\n%s\nwere\n%s", after, before)
		}
		return nil
	})
	t.Logf("%v: back within %v", words, took.Round(time.Millisecond))
}

func TestFlushedRulesReturnWithinASecondByNFTables(t *testing.T) {
	n := nstest.New(t, "node")
	keep(t, n, dual(true))
	state := func() string {
		return n.Run(t, "nft", "list", "ruleset", "ip") + n.Run(t, "nft", "list", "ruleset", "ip6")
	}
	for _, family := range []string{"ip", "ip6"} {
		broken(t, n, state, "nft", "flush", "chain", family, "weft", "postrouting")
		broken(t, n, state, "nft", "flush", "table", family, "weft")
		broken(t, n, state, "nft", "delete", "chain", family, "weft", "forward")
		broken(t, n, state, "nft", "delete", "table", family, "weft")
		broken(t, n, state, "nft", "insert", "rule", family, "weft", "forward", "drop")
		rules := n.Run(t, "nft", "-a", "list", "chain", family, "weft", "postrouting")
		_, handle, _ := strings.Cut(rules, "from pods to outside\" # handle ")
		handle, _, _ = strings.Cut(handle, "\n")
		broken(t, n, state, "nft", "delete", "rule", family, "weft", "postrouting", "handle", handle)
	}
	broken(t, n, state, "nft", "flush", "ruleset")
}

func TestFlushedRulesReturnWithinASecondByIPTables(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		network := testNetwork(true)
		network.Firewall = profiles.Firewall{Mode: profiles.FirewallIPTables, MSSClamp: true}
		network.Backend.Type = profiles.BackendWireGuard
		keep(t, n, Wanted(testNode, network))
		state := func() string { return tablesInOrder(savedRules(t, n)) }
		for _, program := range []string{"iptables", "ip6tables"} {
			broken(t, n, state, program, "-t", "nat", "-F", "FLANNEL-POSTRTG")
			broken(t, n, state, program, "-t", "nat", "-F")
			broken(t, n, state, program, "-F")
			broken(t, n, state, program, "-t", "mangle", "-F")
			broken(t, n, state, program, "-D", "FORWARD", "-m", "comment", "--comment", "flanneld forward", "-j", "FLANNEL-FWD")
			broken(t, n, state, program, "-t", "nat", "-D", "FLANNEL-POSTRTG", "4")
			broken(t, n, state, program, "-I", "FLANNEL-FWD", "-p", "tcp", "-j", "DROP")
			broken(t, n, state, program, "-F", "WEFT-OUT")
		}
		if t.Name() == "TestFlushedRulesReturnWithinASecondByIPTables/over_nftables" {
			broken(t, n, state, "nft", "flush", "ruleset")
			broken(t, n, state, "nft", "delete", "table", "ip6", "nat")
			broken(t, n, state, "nft", "insert", "rule", "ip", "filter", "FLANNEL-FWD", "drop")
		}
	})
}

// What others do in the same tables wakes nobody: there is no reason to look,
// and looking has a price.
func TestForeignChangesAreNotHeard(t *testing.T) {
	n := nstest.New(t, "node")
	for _, mode := range []string{profiles.FirewallNFTables, profiles.FirewallIPTables} {
		want := dual(true)
		want.Mode = mode
		f := New()
		ensureBy(t, f, n, want)
		ctx, cancel := context.WithCancel(context.Background())
		heard := make(chan struct{}, 16)
		ended := make(chan struct{})
		err := n.Do(func() error {
			changes, err := f.Changes(ctx)
			go func() {
				defer close(ended)
				for range changes {
					heard <- struct{}{}
				}
			}()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		n.Run(t, "iptables", "-t", "nat", "-N", "FOREIGN-"+mode)
		n.Run(t, "iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "FOREIGN-"+mode)
		n.Run(t, "nft", "add", "table", "inet", "weft")
		n.Run(t, "nft", "delete", "table", "inet", "weft")
		n.Run(t, "nft", "add", "table", "ip", "foreign-"+mode)
		if len(heard) > 0 {
			t.Errorf("%s: %d foreign changes were heard", mode, len(heard))
		}
		n.Run(t, "nft", "flush", "ruleset")
		nstest.Eventually(t, 5*time.Second, "a flushed ruleset heard of", func() error {
			if len(heard) == 0 {
				return fmt.Errorf("nothing was heard")
			}
			return nil
		})
		cancel()
		<-ended
	}
}

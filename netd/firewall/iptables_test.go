package firewall

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft/netd/nstest"
	"weft/profiles"
)

// withIPTables makes want be of the mode iptables.
func withIPTables(want Ruleset) Ruleset {
	want.Mode = profiles.FirewallIPTables
	return want
}

// useLegacy makes iptables be the legacy one for a test.
func useLegacy(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, program := range []string{"", "-save", "-restore"} {
			path, err := exec.LookPath(name + "-legacy" + program)
			if err != nil {
				t.Fatalf("%s-legacy%s is missing: install iptables (make deps)", name, program)
			}
			if err := os.Symlink(path, filepath.Join(dir, name+program)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// inBothKinds runs a test with iptables over nftables and with the legacy one.
func inBothKinds(t *testing.T, f func(t *testing.T)) {
	t.Run("over nftables", f)
	t.Run("legacy", func(t *testing.T) { useLegacy(t); f(t) })
}

// savedRules are what iptables-save prints of both families, less comments,
// counters and built-in chains.
func savedRules(t *testing.T, n *nstest.Node) string {
	t.Helper()
	var b strings.Builder
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		b.WriteString("# " + program + "\n")
		for line := range strings.Lines(n.Run(t, program)) {
			switch {
			case strings.HasPrefix(line, "#"), line == "COMMIT\n",
				strings.HasPrefix(line, ":") && !strings.Contains(line, " - "):
			default:
				line, _, _ = strings.Cut(line, " [")
				b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
			}
		}
	}
	return b.String()
}

func golden(t *testing.T, name, have string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, have, want)
	}
}

// What iptables-save prints is what it prints after flanneld, rule for rule.
func TestIPTablesHoldsFlannelsRules(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		ensure(t, n, withIPTables(dual(true)))
		golden(t, "iptables-save.txt", tablesInOrder(savedRules(t, n)))
	})
}

// tablesInOrder sorts the tables of each family: the two kinds of iptables
// print them in different orders.
func tablesInOrder(all string) string {
	var b strings.Builder
	for i, family := range strings.Split(all, "# ") {
		if i == 0 {
			continue
		}
		name, rest, _ := strings.Cut(family, "\n")
		b.WriteString("# " + name + "\n")
		for _, table := range []string{"filter", "mangle", "nat"} {
			if _, part, found := strings.Cut(rest, "*"+table+"\n"); found {
				part, _, _ = strings.Cut(part, "*")
				if part != "" {
					b.WriteString("*" + table + "\n" + part)
				}
			}
		}
	}
	return b.String()
}

func TestIPTablesRulesInPlaceAreNotTouched(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		want := withIPTables(dual(true))
		if !ensure(t, n, want) {
			t.Error("nothing was changed in an empty packet filter")
		}
		f := New()
		for range 2 {
			if ensureBy(t, f, n, want) {
				t.Error("rules in place were changed")
			}
		}
	})
}

func TestEveryChangeInIPTablesIsUndone(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		network := testNetwork(true)
		network.Firewall.MSSClamp = true
		want := withIPTables(Wanted(testNode, network))
		ensure(t, n, want)
		for _, foreign := range []string{"-t nat -N KUBE-POSTROUTING", "-t nat -A KUBE-POSTROUTING -j RETURN",
			"-t nat -I POSTROUTING -j KUBE-POSTROUTING", "-A INPUT -p tcp --dport 22 -j ACCEPT"} {
			n.Run(t, "iptables", strings.Fields(foreign)...)
		}
		before := savedRules(t, n)
		f := New()
		for _, change := range []string{
			"iptables -t nat -F FLANNEL-POSTRTG",
			"ip6tables -t nat -F FLANNEL-POSTRTG",
			"iptables -t nat -D FLANNEL-POSTRTG 2",
			"ip6tables -D FLANNEL-FWD 1",
			"iptables -I FLANNEL-FWD -s 192.0.2.1 -j DROP",
			"iptables -A FLANNEL-FWD -j DROP",
			"iptables -R FLANNEL-FWD 1 -s 10.0.0.0/8 -j ACCEPT",
			"iptables -t mangle -F WEFT-MSS",
			"iptables -t mangle -F",
			"ip6tables -F",
			"ip6tables -t nat -F",
		} {
			words := strings.Fields(change)
			n.Run(t, words[0], words[1:]...)
			if !ensureBy(t, f, n, want) {
				t.Errorf("%s: was not noticed", change)
			}
			if after := savedRules(t, n); after != before {
				t.Errorf("%s: rules are\n%s\nwere\n%s", change, after, before)
			}
		}
		// A jump that was taken away comes back as the last rule, as flanneld
		// appends it, and one there is twice stays once.
		jump := strings.Fields("-t nat -D POSTROUTING -m comment --comment X -j FLANNEL-POSTRTG")
		jump[7] = "flanneld masq"
		n.Run(t, "iptables", jump...)
		ensureBy(t, f, n, want)
		if after := savedRules(t, n); after != before {
			t.Errorf("deleted jump: rules are\n%s\nwere\n%s", after, before)
		}
		jump[2] = "-A"
		n.Run(t, "iptables", jump...)
		if !ensureBy(t, f, n, want) {
			t.Error("a second jump was not noticed")
		}
		if after := savedRules(t, n); after != before {
			t.Errorf("second jump: rules are\n%s\nwere\n%s", after, before)
		}
	})
}

func TestRulesThatAreTurnedOffGo(t *testing.T) {
	inBothKinds(t, func(t *testing.T) {
		n := nstest.New(t, "node")
		f, network := New(), testNetwork(true)
		network.Firewall = profiles.Firewall{Mode: profiles.FirewallIPTables, MSSClamp: true}
		ensureBy(t, f, n, Wanted(testNode, network))
		if s := savedRules(t, n); strings.Count(s, "TCPMSS --clamp-mss-to-pmtu") != 4 || strings.Count(s, "--random-fully") != 4 {
			t.Errorf("not all is there:\n%s", s)
		}
		off := false
		network.Firewall.MSSClamp, network.Firewall.ForwardRules, network.Firewall.RandomFully = false, &off, &off
		network.Masquerade.IPv6 = &off
		ensureBy(t, f, n, Wanted(testNode, network))
		s := savedRules(t, n)
		for _, gone := range []string{"WEFT-MSS", "FLANNEL-FWD", "--random-fully", "fd42"} {
			if strings.Contains(s, gone) {
				t.Errorf("%s is still there:\n%s", gone, s)
			}
		}
		if strings.Count(s, "-j MASQUERADE\n") != 2 {
			t.Errorf("IPv4 is not masqueraded without random ports:\n%s", s)
		}
		if ensureBy(t, f, n, Wanted(testNode, network)) {
			t.Error("rules in place were changed")
		}
	})
}

func TestFamilyThatIsNotKnownYetIsHeld(t *testing.T) {
	for _, mode := range []string{profiles.FirewallNFTables, profiles.FirewallIPTables} {
		t.Run(mode, func(t *testing.T) {
			n := nstest.New(t, "node")
			network := testNetwork(true)
			network.Firewall.Mode = mode
			ensure(t, n, Wanted(testNode, network))
			before := n.Run(t, "nft", "list", "ruleset")
			half := testNode
			half.IPv6 = netip.Prefix{}
			if f := New(); ensureBy(t, f, n, Wanted(half, network)) || ensureBy(t, f, n, Ruleset{Mode: mode}) {
				t.Error("something was changed")
			}
			if after := n.Run(t, "nft", "list", "ruleset"); after != before {
				t.Errorf("rules are\n%s\nwere\n%s", after, before)
			}
		})
	}
}

func TestMissingProgramIsNamedWithTheWayOut(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := findProgram(t.Context(), "weft-no-such-iptables", false); err == nil ||
		!strings.Contains(err.Error(), "install the package iptables, or set network.firewall.mode: nftables") {
		t.Errorf("error is %v", err)
	}
}

package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// lockWait is how many seconds the programs wait for the lock that the legacy
// iptables has over all tables (/run/xtables.lock).
const lockWait = 5

// errLocked is that somebody held the lock for all of lockWait.
var errLocked = errors.New("another program holds the lock of iptables, " + lockFile + ", for longer than " + strconv.Itoa(lockWait) +
	" s: netd goes on trying; see who it is: fuser " + lockFile)

// lockFile is the lock of the legacy iptables (iptables/xshared.h,
// XT_LOCK_NAME), and resourceProblem its exit code when it is held
// (include/xtables.h).
const (
	lockFile        = "/run/xtables.lock"
	resourceProblem = 4
)

// tries is how often a change is attempted: between a look and what is made of
// it somebody else may have flushed what the change builds on.
const tries = 3

// xtables are the programs of iptables.
type xtables struct {
	// family are the programs for IPv4 and IPv6; nil where they are missing.
	family map[bool]*program
	// legacy says that they speak to the old packet filter of the kernel, and
	// not to nftables.
	legacy bool
	// absent are the chains, by family and name, that are not wanted and were
	// seen not to be there. They are not looked for again.
	absent map[xkey]bool
}

type xkey struct {
	ipv6 bool
	name string
}

// A program is iptables of one family.
type program struct {
	*iptables.IPTables
	path   string
	legacy bool
}

// errNoIPTables is that a node has no iptables.
var errNoIPTables = errors.New("the program is not in PATH: install the package iptables, or set network.firewall.mode: nftables")

// findIPTables finds the programs in PATH.
func findIPTables(ctx context.Context) (*xtables, error) {
	x := &xtables{family: map[bool]*program{}, absent: map[xkey]bool{}}
	four, err := findProgram(ctx, "iptables", false)
	if err != nil {
		return nil, err
	}
	x.family[false], x.legacy = four, four.legacy
	// Without IPv6 it may be missing; who wants it is told by ensure.
	if six, err := findProgram(ctx, "ip6tables", true); err == nil {
		x.family[true] = six
	}
	return x, nil
}

// findProgram finds a program and asks what it can do.
func findProgram(ctx context.Context, name string, ipv6 bool) (*program, error) {
	path, err := lookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, errNoIPTables)
	}
	// The library keeps the kind of packet filter to itself.
	version, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", path, err)
	}
	protocol := iptables.ProtocolIPv4
	if ipv6 {
		protocol = iptables.ProtocolIPv6
	}
	known, err := iptables.New(iptables.Path(path), iptables.IPFamily(protocol), iptables.Timeout(lockWait))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &program{IPTables: known, path: path, legacy: !bytes.Contains(version, []byte("nf_tables"))}, nil
}

// lookPath finds a program in PATH, or where distributions put those of the
// superuser, which is not in everybody's PATH.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, folder := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(folder, name))
		}
	}
	return path, err
}

// ensure makes the chains be as want says.
func (x *xtables) ensure(ctx context.Context, want Ruleset) (changed bool, err error) {
	for _, ipv6 := range []bool{false, true} {
		table := want.of(ipv6)
		p := x.family[ipv6]
		switch {
		case table.Hold:
			continue
		case p == nil && table.empty():
			continue
		case p == nil:
			return changed, fmt.Errorf("ip6tables: %w", errNoIPTables)
		case p.legacy != x.legacy:
			return changed, fmt.Errorf("iptables and ip6tables are of two kinds (legacy and nf_tables): make both the same with update-alternatives")
		}
		done, err := x.ensureFamily(ctx, p, table)
		changed = changed || done
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (x *xtables) ensureFamily(ctx context.Context, p *program, t Table) (changed bool, err error) {
	for range tries {
		var text string
		if text, err = x.difference(ctx, p, t); err != nil || text == "" {
			return changed, err
		}
		changed = true
		if err = p.restore(ctx, text); err == nil || errors.Is(err, errLocked) {
			return err == nil, err
		}
	}
	return changed, err
}

// difference is what iptables-restore has to be told for t; empty when
// nothing is to be changed.
func (x *xtables) difference(ctx context.Context, p *program, t Table) (text string, err error) {
	list := p.list
	if p.legacy {
		all, err := p.save(ctx)
		if err != nil {
			return "", err
		}
		list = func(c xchain) (listing, error) { return all.of(c), nil }
	}
	edits := map[string][]string{}
	for _, c := range xchains(t, p.HasRandomFully()) {
		key := xkey{t.IPv6, c.name}
		if len(c.rules) == 0 && x.absent[key] {
			continue
		}
		have, err := list(c)
		if err != nil {
			return "", err
		}
		edits[c.table] = append(edits[c.table], c.edit(have)...)
		if len(c.rules) > 0 {
			delete(x.absent, key)
		} else if !have.exists {
			x.absent[key] = true
		}
	}
	return script(edits), nil
}

// save reads everything there is in one go. The legacy iptables reads whole
// tables in any case, and makes those it is asked for and that are not there.
func (p *program) save(ctx context.Context) (saved, error) {
	out, err := exec.CommandContext(ctx, p.path+"-save").Output()
	if err != nil {
		return nil, fmt.Errorf("%s-save: %w", p.path, err)
	}
	return parseSaved(string(out)), nil
}

// list reads a chain of netd's and the one that leads to it, and no other:
// over nftables that stays cheap beside the thousands of rules of kube-proxy.
func (p *program) list(c xchain) (have listing, err error) {
	all, err := p.List(c.table, c.name)
	var failed *iptables.Error
	switch {
	case err == nil:
		have.exists, have.rules = true, appended(all)
	case errors.As(err, &failed) && failed.ExitStatus() == 1:
		// It is not there, or holds what the program cannot print, because
		// another one wrote it; then it is replaced like a missing one.
	default:
		return have, fmt.Errorf("%s: list chain %s of table %s: %w", p.path, c.name, c.table, err)
	}
	base, err := p.List(c.table, c.base)
	if err != nil {
		return have, fmt.Errorf("%s: list chain %s of table %s: %w (if it holds rules written by nft, set network.firewall.mode: nftables)",
			p.path, c.base, c.table, err)
	}
	have.base = appended(base)
	return have, nil
}

// appended are the lines of a listing that are rules.
func appended(lines []string) []string {
	return slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "-A ") })
}

// restore gives text to iptables-restore, which makes each table of it so in
// one step and leaves all else.
func (p *program) restore(ctx context.Context, text string) error {
	args := []string{"--noflush"}
	if v1, v2, v3 := p.GetIptablesVersion(); slices.Compare([]int{v1, v2, v3}, []int{1, 6, 2}) >= 0 {
		args = append(args, "--wait", strconv.Itoa(lockWait)) // since iptables 1.6.2
	}
	cmd := exec.CommandContext(ctx, p.path+"-restore", args...)
	cmd.Stdin = strings.NewReader(text)
	var told bytes.Buffer
	cmd.Stderr = &told
	err := cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() == resourceProblem && bytes.Contains(told.Bytes(), []byte("xtables lock")) {
		return fmt.Errorf("%s: %w", cmd.Path, errLocked)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Path, err, bytes.TrimSpace(told.Bytes()))
	}
	return nil
}

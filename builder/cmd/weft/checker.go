package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"weft/boards"
	"weft/builder"
	"weft/builder/apt"
	"weft/builder/apt/fault"
	"weft/builder/image"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/rules"

	"github.com/spf13/cobra"
)

// A checker checks files as weft check is told to.
type checker struct {
	app    *app
	board  string
	supply supply
	lock   bool
	// noted are the boards that a note was written about.
	noted map[string]bool
}

// flags adds the flags to cmd.
func (c *checker) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.board, "board", "", "check against the kernel and programs for this board, or for those a cluster names")
	cmd.Flags().BoolVar(&c.supply.offline, "offline", false, "fetch nothing; what is not in the cache is not checked")
	cmd.Flags().StringVar(&c.supply.mirror, "mirror", "", "Debian archive to fetch from, with --board")
	cmd.Flags().StringVar(&c.supply.lock, "packages", filepath.Join("out", "weft.lock"), "file that pins the packages, with --board; without it, the newest of the suite count")
	cmd.Flags().BoolVar(&c.lock, "lock", false, "write the lock of a cluster that is sound and has none")
	// The flag was just defined, the only reason this can fail.
	_ = cmd.RegisterFlagCompletionFunc("board", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return boards.Names(), cobra.ShellCompDirectiveDefault
	})
}

// file checks one file as what its weft key says it is. A name that leads to
// no file is a problem like others, and does not hide those.
func (c checker) file(ctx context.Context, name string) (document.Problems, error) {
	data, err := document.ReadFile(name)
	for _, number := range []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR} {
		if errors.Is(err, number) {
			return document.Problems{{File: name, Message: number.Error(), Fix: fixPath + "; weft new writes a profile and a cluster file to begin with"}}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	var problems document.Problems
	switch kind := fileKind(data, name); kind {
	case "board":
		_, _, problems = boards.Read(name, data)
	case "cluster":
		return c.cluster(ctx, name, data)
	case "cluster-lock":
		_, _, problems = cluster.ReadLock(name, data)
	case "node":
		_, _, problems = profiles.ReadNode(name, data)
	case "netd":
		_, _, problems = profiles.ReadNetd(name, data)
	case "lock":
		if _, err := apt.ReadLock(name, data); err != nil && !errors.As(err, &problems) {
			return nil, err
		}
	default:
		return c.profile(ctx, name, data)
	}
	return problems, nil
}

// cluster checks a cluster with its secrets file, and writes its lock when it
// is sound.
func (c checker) cluster(ctx context.Context, name string, data []byte) (document.Problems, error) {
	read, d, found := cluster.Read(name, data)
	var o rules.Options
	k := kernels{checker: c, ctx: ctx, dir: filepath.Dir(name), known: map[string]rules.Facts{}}
	if c.board != "" {
		o.Facts = k.facts
	}
	problems := rules.Cluster(read, d, found, o)
	if k.err != nil {
		return nil, k.err
	}
	problems = append(problems, builder.CheckSecrets(read, d)...)
	problems.Sort()
	if !c.lock || problems.Errors() != nil {
		return problems, nil
	}
	p, _, _, err := profiles.FindFrom(read.Profile, name)
	if err != nil {
		return nil, err
	}
	return problems, builder.LockCluster(name, read, p)
}

// profile checks a profile, and with a board what it asks of the kernel and
// the programs there.
func (c checker) profile(ctx context.Context, name string, data []byte) (document.Problems, error) {
	p, d, found := profiles.Load(name, data)
	if c.board == "" {
		return rules.Profile(p, d, found, rules.Options{}), nil
	}
	board, boardFile, more, err := boards.Find(c.board)
	if err != nil {
		return nil, unfound(err)
	}
	facts := rules.Facts{Arch: board.Arch}
	problems := append(more, rules.Profile(p, d, found, rules.Options{Facts: func(string) rules.Facts { return facts }})...)
	if problems.Errors() != nil {
		return problems, nil
	}
	also, err := c.image(ctx, plan.New(version, board, boardFile, p, d))
	problems = append(problems, also...)
	problems.Sort()
	return problems, err
}

// image checks a plan against the kernel and the programs of its image.
func (c checker) image(ctx context.Context, p plan.Plan) (document.Problems, error) {
	source, results, _, err := c.app.source(c.supply)
	if err != nil {
		return nil, err
	}
	problems, err := builder.Check(ctx, builder.Options{
		Plan: p, Source: source, Results: results, LockFile: c.supply.lock, BaseDir: filepath.Dir(c.board),
	})
	if c.uncached(err) {
		return nil, c.note(p.Board.Name)
	}
	return problems, err
}

// uncached tells whether an error says that something would have to be fetched
// that may not be.
func (c checker) uncached(err error) bool {
	var missing *fault.Error
	return c.supply.offline && errors.As(err, &missing) && missing.Kind == fault.NoMirror
}

// note says, once for a board, that its packages are not looked at.
func (c checker) note(board string) error {
	if c.noted[board] {
		return nil
	}
	c.noted[board] = true
	_, err := fmt.Fprintf(c.app.err, "note: the packages for board %s are not in the cache; what is asked of them is not checked\n", board)
	return err
}

// kernels looks at the kernels of the boards of a cluster, each once.
type kernels struct {
	checker
	ctx   context.Context
	dir   string // of the cluster file
	known map[string]rules.Facts
	err   error // the first
}

// facts are what is known of a board's kernel; of the board of the flag when
// the cluster names none. A board that is not there is the rules' to tell.
func (k *kernels) facts(name string) rules.Facts {
	base := k.dir
	if name == "" {
		name, base = k.board, "."
	}
	if f, done := k.known[name]; done || k.err != nil {
		return f
	}
	if strings.Contains(name, "/") || strings.HasSuffix(name, ".yaml") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(base, name)
		}
		if !filepath.IsAbs(name) {
			name = "./" + name
		}
	}
	var f rules.Facts
	board, file, problems, err := boards.Find(name)
	if err == nil && problems.Errors() == nil {
		f, k.err = k.kernel(name, board, file)
	}
	k.known[name] = f
	return f
}

// kernel is what is known of one board's kernel.
func (k *kernels) kernel(path string, board boards.Board, file *document.Document) (rules.Facts, error) {
	facts := rules.Facts{Arch: board.Arch}
	source, results, _, err := k.app.source(k.supply)
	if err != nil {
		return facts, err
	}
	kernel, done, err := builder.OpenKernel(k.ctx, builder.Options{
		Plan: plan.New(version, board, file, profiles.Profile{}, nil), Source: source, Results: results,
		LockFile: k.supply.lock, BaseDir: filepath.Dir(path),
	})
	if k.uncached(err) {
		return facts, k.note(board.Name)
	}
	if err != nil {
		return facts, err
	}
	defer done()
	return image.KernelFacts(kernel), nil
}

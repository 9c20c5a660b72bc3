package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weft/boards"
	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/draft"
	"weft/profiles/importer"
	"weft/profiles/rules"

	"github.com/spf13/cobra"
)

// newCommand is weft new.
func (a *app) newCommand() *cobra.Command {
	var (
		w             draft.Wish
		dual, six     bool
		first, first6 string
		out           string
		force         bool
	)
	cmd := &cobra.Command{
		Use:   "new [NAME]",
		Short: "Write a cluster file and a profile to begin with",
		Long: `Write a cluster file and a profile to begin with, both with comments: NAME.yaml
and NAME-cluster.yaml; home when there is no NAME. Where nodes join Kubernetes,
NAME-secrets.yaml gets a token drawn at random. On a terminal and without flags
weft asks a few questions. Files that are there stay as they are.

The backend is how packets travel between nodes: of netd vxlan, host-gw or
wireguard; with k3s also canal, calico or cilium; with rke2 one of its plugins.
IPv6 ranges are local ones, drawn at random. What is written passes weft check.`,
		Example: `  weft new
  weft new home --distribution k3s --backend wireguard-native --nodes 3
  weft new lab --distribution rke2 --backend cilium --nodes 5 --servers 3
  weft new edge --dual-stack --board x86-64-cloud --out edge`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("weft new takes one name, not %d\nsee: weft new --help", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				w.Name = args[0]
			}
			for flag, n := range map[string]int{"nodes": w.Nodes, "servers": w.Servers} {
				// 0 in a wish is what was not said.
				if n == 0 && cmd.Flags().Changed(flag) {
					return usage("--%s 0: use 1 or more", flag)
				}
			}
			// A Reader of this package never fails (crypto/rand).
			_, _ = rand.Read(w.Random[:])
			if cmd.Flags().NFlag() == 0 && terminal(a.in) && terminal(a.out) {
				answered, err := ask(a.in, a.out, w)
				if err != nil {
					return err
				}
				w = answered
			} else if err := addressing(&w, dual, six, first, first6); err != nil {
				return err
			}
			return a.draft(w, out, force)
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.Distribution, "distribution", "", "none, k3s or rke2 (default none)")
	f.StringVar(&w.Version, "version", "", "release of Kubernetes, such as v1.33.1 (default the newest)")
	f.StringVar(&w.Backend, "backend", "", "how packets travel between nodes (default vxlan, or canal with rke2)")
	f.IntVar(&w.Nodes, "nodes", 0, "how many nodes (default 1)")
	f.IntVar(&w.Servers, "servers", 0, "how many of them run the control plane (default 1)")
	f.BoolVar(&dual, "dual-stack", false, "pods and services have IPv4 and IPv6 addresses")
	f.BoolVar(&six, "ipv6-only", false, "they have IPv6 addresses alone")
	f.StringVar(&first, "first", "", "IPv4 address of the first node (default 192.168.1.11)")
	f.StringVar(&first6, "first6", "", "IPv6 address of the first node (default a local one)")
	f.StringVar(&w.Board, "board", "", "what the nodes are: a shipped board, or a path")
	f.StringVar(&out, "out", ".", "folder to write to, or - for the standard output")
	f.BoolVar(&force, "force", false, "overwrite files that are there")
	a.completeValues(cmd, map[string][]string{
		"distribution": draft.Distributions(),
		"board":        boards.Names(),
	})
	// The flag was just defined, the only reason this can fail.
	_ = cmd.RegisterFlagCompletionFunc("backend", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return draft.Backends(w.Distribution), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// addressing takes the flags about addresses.
func addressing(w *draft.Wish, dual, six bool, first, first6 string) error {
	switch {
	case dual && six:
		return usage("--dual-stack and --ipv6-only: use one of them")
	case dual:
		w.Families = draft.DualStack
	case six:
		w.Families = draft.IPv6Only
	}
	for _, f := range []struct {
		flag, text string
		to         *netip.Addr
	}{{"first", first, &w.First4}, {"first6", first6, &w.First6}} {
		if f.text == "" {
			continue
		}
		a, err := netip.ParseAddr(f.text)
		if err != nil {
			return usage("--%s %s: use an address such as 192.168.1.11 or fd00::11", f.flag, f.text)
		}
		*f.to = a
	}
	return nil
}

// draft makes the files of a wish, checks them, and writes them.
func (a *app) draft(w draft.Wish, out string, force bool) error {
	if w.Distribution == profiles.K3s && w.Backend == "wireguard" {
		// Flannel's own name for it; K3s has another.
		w.Backend = profiles.BackendWireGuardNative
	}
	w = w.Filled()
	if err := w.Check(); err != nil {
		return inputError{err}
	}
	if w.Board != "" {
		if _, _, _, err := boards.Find(w.Board); err != nil {
			return inputError{err}
		}
	}
	profile, nodes, err := w.Texts()
	if err != nil {
		return err
	}
	files := []importer.File{{Name: draft.Profile(w.Name), Text: profile}, {Name: draft.Cluster(w.Name), Text: nodes}}
	if w.Distribution != profiles.NoKubernetes && w.Nodes > 1 {
		// A Reader of this package never fails (crypto/rand).
		token := rand.Text() + rand.Text()
		files = append(files, importer.File{Name: draft.Secrets(w.Name), Text: draft.SecretsText(token), Secret: true})
	}
	problems, err := checkDraft(files)
	if err != nil {
		return err
	}
	if problems.Errors() != nil {
		return problems
	}
	if err := a.warn(problems); err != nil {
		return err
	}
	if err := a.put(files, out, force); err != nil {
		return err
	}
	if out == "-" {
		return nil
	}
	_, err = fmt.Fprintf(a.out, "next: edit them, then weft check %s\n", filepath.Join(out, draft.Cluster(w.Name)))
	return err
}

// checkDraft checks a profile and its cluster as weft check does, before they
// are where they belong.
func checkDraft(files []importer.File) (document.Problems, error) {
	folder, err := os.MkdirTemp("", "weft-new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(folder, f.Name), f.Text, 0o600); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(folder, files[1].Name)
	c, d, found := cluster.Read(path, files[1].Text)
	problems := rules.Cluster(c, d, found, rules.Options{})
	for i := range problems {
		problems[i].File = strings.TrimPrefix(problems[i].File, folder+string(filepath.Separator))
	}
	return problems, nil
}

// maxAnswers is how often a question is asked again, and maxAnswer how long an
// answer may be, in bytes.
const (
	maxAnswers = 5
	maxAnswer  = 200
)

// A question is one of weft new, about a part of the wish.
type question struct {
	text string
	// now is the default, choices what can be answered; anything when empty.
	now     func(draft.Wish) string
	choices func(draft.Wish) []string
	take    func(*draft.Wish, string) error
	skip    func(draft.Wish) bool
}

// questions are those of weft new, in order.
func questions() []question {
	number := func(to func(*draft.Wish) *int) func(*draft.Wish, string) error {
		return func(w *draft.Wish, text string) error {
			n, err := strconv.Atoi(text)
			if err != nil {
				return errors.New("write a number")
			}
			*to(w) = n
			return nil
		}
	}
	address := func(to func(*draft.Wish) *netip.Addr) func(*draft.Wish, string) error {
		return func(w *draft.Wish, text string) error {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return errors.New("write an address such as 192.168.1.11 or fd00::11")
			}
			*to(w) = a
			return nil
		}
	}
	word := func(to func(*draft.Wish) *string) func(*draft.Wish, string) error {
		return func(w *draft.Wish, text string) error { *to(w) = text; return nil }
	}
	return []question{
		{text: "Name of the cluster", now: func(w draft.Wish) string { return w.Filled().Name },
			take: word(func(w *draft.Wish) *string { return &w.Name })},
		{text: "Kubernetes", now: func(w draft.Wish) string { return w.Filled().Distribution },
			choices: func(draft.Wish) []string { return draft.Distributions() },
			take:    word(func(w *draft.Wish) *string { return &w.Distribution })},
		{text: "How packets travel between nodes", now: func(w draft.Wish) string { return w.Filled().Backend },
			choices: func(w draft.Wish) []string { return draft.Backends(w.Distribution) },
			take:    word(func(w *draft.Wish) *string { return &w.Backend })},
		{text: "Addresses of pods", now: func(w draft.Wish) string { return w.Filled().Families },
			choices: func(draft.Wish) []string { return draft.Families() },
			take:    word(func(w *draft.Wish) *string { return &w.Families })},
		{text: "How many nodes", now: func(w draft.Wish) string { return strconv.Itoa(w.Filled().Nodes) },
			take: number(func(w *draft.Wish) *int { return &w.Nodes })},
		{text: "How many of them are servers", now: func(w draft.Wish) string { return strconv.Itoa(w.Filled().Servers) },
			skip: func(w draft.Wish) bool { return w.Distribution == profiles.NoKubernetes || w.Nodes == 1 },
			take: number(func(w *draft.Wish) *int { return &w.Servers })},
		{text: "IPv4 address of the first node", now: func(w draft.Wish) string { return w.Filled().First4.String() },
			skip: func(w draft.Wish) bool { return w.Families == draft.IPv6Only },
			take: address(func(w *draft.Wish) *netip.Addr { return &w.First4 })},
		{text: "IPv6 address of the first node", now: func(w draft.Wish) string { return w.Filled().First6.String() },
			skip: func(w draft.Wish) bool { return w.Families == draft.IPv4Only },
			take: address(func(w *draft.Wish) *netip.Addr { return &w.First6 })},
		{text: "Board", now: func(draft.Wish) string { return "x86-64" },
			choices: func(draft.Wish) []string { return boards.Names() },
			take:    word(func(w *draft.Wish) *string { return &w.Board })},
	}
}

// ask asks for what a person wants. An empty answer is the default; an answer
// that cannot be is asked for again at once.
func ask(in io.Reader, out io.Writer, w draft.Wish) (draft.Wish, error) {
	lines := bufio.NewReaderSize(in, maxAnswer)
	for _, q := range questions() {
		if q.skip != nil && q.skip(w) {
			continue
		}
		var err error
		if w, err = askOne(lines, out, w, q); err != nil {
			return w, err
		}
	}
	return w, nil
}

// askOne asks one question until it has an answer.
func askOne(in *bufio.Reader, out io.Writer, w draft.Wish, q question) (draft.Wish, error) {
	for range maxAnswers {
		text := q.text
		var choices []string
		if q.choices != nil {
			choices = q.choices(w)
			text += " (" + strings.Join(choices, ", ") + ")"
		}
		if len(text)+len(q.now(w)) > lineWidth-24 {
			// The answer needs room on the line too.
			text = q.text + "\n  " + strings.Join(choices, ", ") + "\n "
		}
		fmt.Fprintf(out, "%s [%s]: ", text, q.now(w))
		line, err := in.ReadSlice('\n')
		answer := strings.TrimSpace(string(line))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return w, usage("the answer is longer than %d bytes", maxAnswer)
		case err != nil && answer == "":
			fmt.Fprintln(out)
			return w, usage("the questions are not answered; see: weft new --help")
		case answer == "":
			answer = q.now(w)
		}
		next := w
		err = q.take(&next, answer)
		if wrong := (*draft.WishError)(nil); err == nil {
			if err = next.Filled().Check(); errors.As(err, &wrong) {
				err = errors.New(wrong.Fix)
			}
		}
		if len(choices) > 0 && !slices.Contains(choices, answer) {
			err = errors.New(document.DidYouMean(answer, choices))
		}
		if err == nil {
			return next, nil
		}
		fmt.Fprintf(out, "  %q cannot be: %v\n", answer, err)
	}
	return w, usage("%s: no answer that can be; see: weft new --help", strings.ToLower(q.text))
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"weft/builder/file"
	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/importer"

	"github.com/spf13/cobra"
)

// importCommand is weft import.
func (a *app) importCommand() *cobra.Command {
	var (
		o     importer.Options
		out   string
		force bool
	)
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Make a profile of how a K3s or RKE2 cluster is set up today",
		Long: `Make a profile of how a K3s or RKE2 cluster is set up today, and a cluster file
where nodes have something of their own. The files are:
  config.yaml             with config.yaml.d beside it; one for each node
  the installing command  curl ... | INSTALL_K3S_EXEC="..." sh -s - --flag
  k3s server, rke2 agent  with their flags, or the flags alone
  k3s.service, k3s.env    units of systemd and their variables
  HelmChartConfig         and registries.yaml
A file called - is the standard input.

What is corrected or cannot be carried is told with its place, the reason and
the way out; what breaks a rule and has no certain correction is refused, and
nothing is written. Secrets are never copied: NAME-secrets.yaml is left for you
to fill in. What is written passes weft check.`,
		Example: `  weft import /etc/rancher/k3s/config.yaml --out .
  weft import server.yaml agent-1.yaml agent-2.yaml --name home --out .
  echo 'k3s server --flannel-backend=wireguard' | weft import - --out -`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usage("weft import takes at least one file\nsee: weft import --help")
			case o.Distribution != "" && o.Distribution != profiles.K3s && o.Distribution != profiles.RKE2:
				return usage("--distribution %s: use k3s or rke2", o.Distribution)
			case o.Role != "" && o.Role != cluster.Server && o.Role != cluster.Agent:
				return usage("--role %s: use server or agent", o.Role)
			}
			if o.Version != "" {
				if _, err := profiles.ParseRelease(o.Version); err != nil {
					return usage("--version: %w", err)
				}
			}
			return plainName(o.Name)
		},
		ValidArgsFunction: completeFiles("yaml", "yml", "service", "env", "sh"),
		RunE: func(_ *cobra.Command, args []string) error {
			sources, err := a.sources(args)
			if err != nil {
				return err
			}
			r := importer.Import(sources, o)
			if r.Problems.Errors() != nil {
				return r.Problems
			}
			if err := a.warn(r.Problems); err != nil {
				return err
			}
			if len(r.Files) == 0 {
				fmt.Fprintln(a.err, "nothing is left to carry, so no file is written")
				return nil
			}
			if err := a.put(r.Files, out, force); err != nil {
				return err
			}
			return a.steps(r.Steps, out)
		},
	}
	cmd.Flags().StringVar(&o.Distribution, "distribution", "", "k3s or rke2 (default what the files tell)")
	cmd.Flags().StringVar(&o.Version, "version", "", "release of Kubernetes, such as v1.33.1 (default what the files\ntell)")
	cmd.Flags().StringVar(&o.Role, "role", "", "server or agent, for nodes whose files do not tell")
	cmd.Flags().StringVar(&o.Name, "name", "", "name of the profile and the cluster (default the distribution)")
	cmd.Flags().StringVar(&out, "out", ".", "folder to write to, or - for the standard output")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that are there")
	a.completeValues(cmd, map[string][]string{
		"distribution": {profiles.K3s, profiles.RKE2},
		"role":         {cluster.Server, cluster.Agent},
	})
	return cmd
}

// completeValues completes flags with fixed values.
func (a *app) completeValues(cmd *cobra.Command, flags map[string][]string) {
	for flag, values := range flags {
		// The flag was just defined, the only reason this can fail.
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// plainName refuses a name that could be no file's.
func plainName(name string) error {
	if strings.ContainsAny(name, "/\\ \x00") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") || len(name) > 63 {
		return usage("--name %q: use lower-case letters, digits and hyphens", name)
	}
	return nil
}

// sources reads the files that are named, and the drop-ins beside each.
func (a *app) sources(names []string) ([]importer.Source, error) {
	var all []importer.Source
	seen := map[string]bool{}
	add := func(name string) error {
		if seen[filepath.Clean(name)] {
			return nil
		}
		seen[filepath.Clean(name)] = true
		data, err := a.input(name)
		if err == nil {
			all = append(all, importer.Source{Name: name, Text: data})
		}
		return err
	}
	var missing document.Problems
	for _, name := range names {
		err := add(name)
		if number := syscall.Errno(0); errors.As(err, &number) && slices.Contains([]syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR}, number) {
			missing = append(missing, document.Problem{File: name, Message: number.Error(), Fix: fixPath + "; a K3s node has /etc/rancher/k3s/config.yaml"})
			continue
		}
		if err != nil {
			return nil, err
		}
		// K3s and RKE2 read these without being told (pkg/configfilearg).
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			found, err := filepath.Glob(filepath.Join(globEscape(name)+".d", pattern))
			if err != nil {
				continue
			}
			for _, drop := range found {
				if err := add(drop); err != nil {
					return nil, err
				}
			}
		}
	}
	if missing != nil {
		return nil, missing
	}
	return all, nil
}

// globEscape makes a name stand for itself in a pattern.
func globEscape(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// input reads one file; - is the standard input.
func (a *app) input(name string) ([]byte, error) {
	if name == "-" {
		data, err := io.ReadAll(io.LimitReader(a.in, document.MaxSize+1))
		if err != nil {
			return nil, fmt.Errorf("read the standard input: %w", err)
		}
		return data, nil
	}
	return document.ReadFile(name)
}

// put writes files to a folder, or all of them to the standard output. Files
// that are there stay as they are, unless force says otherwise.
func (a *app) put(files []importer.File, folder string, force bool) error {
	if folder == "-" {
		for i, f := range files {
			if f.Secret {
				continue
			}
			if len(files) > 1 {
				fmt.Fprintf(a.out, "%s# %s\n", map[bool]string{true: "---\n"}[i > 0], f.Name)
			}
			if _, err := a.out.Write(f.Text); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(folder, f.Name)); err == nil && !force && !f.Secret {
			return usage("%s is there already; use another name, --out, or --force to overwrite it", filepath.Join(folder, f.Name))
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(folder, f.Name)
		if f.Secret {
			if err := a.putSecret(path, f.Text); err != nil {
				return err
			}
			continue
		}
		if err := file.Write(path, func(w *os.File) error { _, err := w.Write(f.Text); return err }); err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s: written\n", path)
	}
	return nil
}

// putSecret writes a file that only its owner reads; one that is there stays,
// whatever is forced: its token may be a running cluster's.
func (a *app) putSecret(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(a.out, "%s: kept as it is\n", path)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fmt.Fprintf(a.out, "%s: written\n", path)
	return nil
}

// steps prints what is left to do. On the way to another program they go
// where the warnings go.
func (a *app) steps(steps []string, out string) error {
	w := a.out
	if out == "-" {
		w = a.err
	}
	for i, step := range steps {
		if i == 0 {
			fmt.Fprintf(w, "\nWhat is left to do:\n")
		}
		for k, line := range wrap(step, lineWidth-5) {
			number := "   "
			if k == 0 {
				number = fmt.Sprintf("%2d.", i+1)
			}
			if _, err := fmt.Fprintf(w, "%s  %s\n", number, line); err != nil {
				return err
			}
		}
	}
	return nil
}

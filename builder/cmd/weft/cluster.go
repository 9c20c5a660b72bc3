package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weft/builder"
	"weft/builder/file"
	"weft/builder/fleet"
	"weft/builder/guest"
	"weft/builder/image"
	"weft/builder/progress"
	"weft/qemu-tests/vm"

	"github.com/spf13/cobra"
)

// isClusterFile reports whether an argument is meant as a cluster file.
func isClusterFile(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// clusterCommand is weft cluster.
func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Make the keys of a cluster, seal and open them",
		Long: `Make the keys of a cluster, seal and open them. Its images are built by
weft build CLUSTER.yaml, and booted in QEMU by weft run CLUSTER.yaml.`,
		Example:                    `  weft cluster keys home.yaml`,
		Args:                       noArgs,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keysCommand(), a.sealCommand(), a.unsealCommand())
	return cmd
}

// keysCommand is weft cluster keys.
func (a *app) keysCommand() *cobra.Command {
	var rotate fleet.Rotation
	cmd := &cobra.Command{
		Use:   "keys CLUSTER.yaml",
		Short: "Make the keys that a cluster's nodes need and lack",
		Long: `Make the keys that a cluster's nodes need and lack: WireGuard's, one for each
node, where nodes have a list of peers; the pre-shared key, where the profile
has one; the token that nodes join Kubernetes with. What is there stays.

They are in the file that the cluster file calls secrets:, or in NAME.secrets
beside it, which only its owner reads. Keys are never printed. weft build and
weft run put each node's into its node file, from where they move to its data
partition at the first boot, and the public keys into the lists of peers.

After --rotate, the nodes need new node files: all list the new key. So they do
after --rotate-psk: nodes with the old one and nodes with the new one do not
reach each other. After --rotate-token, tell the cluster first (on a server:
k3s token rotate --new-token, or rke2 token rotate --new-token); then all nodes
need new node files, since each starts with the token it has.`,
		Example: `  weft cluster keys home.yaml
  weft cluster keys home.yaml --rotate pi-2`,
		Args:              oneArg("cluster file"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.makeKeys(args[0], rotate)
		},
	}
	cmd.Flags().StringSliceVar(&rotate.Nodes, "rotate", nil, "give this node a new WireGuard key")
	completeNodes(cmd, "rotate", cobra.ShellCompDirectiveNoFileComp)
	cmd.Flags().BoolVar(&rotate.PSK, "rotate-psk", false, "make a new pre-shared key")
	cmd.Flags().BoolVar(&rotate.Token, "rotate-token", false, "make a new token for nodes to join Kubernetes with")
	a.identityFlag(cmd)
	return cmd
}

// makeKeys completes the secrets of a cluster.
func (a *app) makeKeys(file string, rotate fleet.Rotation) error {
	// A file that is named and not there yet is what this is for.
	f, err := a.newFleet(file)
	if err != nil {
		return err
	}
	path := f.SecretsFile()
	old, err := f.Secrets()
	if err != nil {
		return err
	}
	secrets, made, err := f.Complete(old, rotate, rand.Reader)
	if err != nil {
		return err
	}
	if len(made) == 0 {
		fmt.Fprintf(a.out, "%s needs no keys that it does not have\n", file)
		return nil
	}
	if _, err := os.Lstat(path); err != nil && old.Weft != "" {
		return usage("%s is sealed, and lacks what would be made\nopen it: weft cluster unseal %s; then make the keys, and seal it again", f.Sealed(), file)
	}
	if err := secrets.Write(path); err != nil {
		return err
	}
	for _, what := range made {
		fmt.Fprintf(a.out, "made %s\n", what)
	}
	fmt.Fprintf(a.out, "in %s: keep it to yourself, out of version control, and keep a copy\n", path)
	return nil
}

// fleet reads a cluster file and all it names; warnings are printed.
func (a *app) fleet(file string) (*fleet.Fleet, error) {
	if err := ofKind(file, "cluster"); err != nil {
		return nil, err
	}
	f, err := fleet.Finder{Version: version, Board: defaultBoard, Identity: a.identityFile()}.Read(file)
	if err != nil {
		return nil, unfound(err)
	}
	return f, a.warn(f.Warnings)
}

// members works out the node files of a fleet.
func members(f *fleet.Fleet) ([]fleet.Member, error) {
	secrets, err := f.Secrets()
	if err != nil {
		return nil, err
	}
	return f.Members(secrets)
}

// A builtBase is an image that nodes share; without a path when none of the
// wanted nodes has it.
type builtBase struct {
	image.Result
	Seconds float64 `json:"seconds"`
}

// A builtNode is the image of one node.
type builtNode struct {
	Node string `json:"node"`
	Path string `json:"path"`
	Base string `json:"base"`
	// Seconds is how long the copy and its node file took, Flush the wait for
	// the device.
	Seconds float64 `json:"seconds"`
	Flush   float64 `json:"flush"`

	// size is how long the image is, in bytes.
	size int64
}

// buildCluster builds the images of a cluster file, or that of one node.
func (a *app) buildCluster(ctx context.Context, name, only string, s supply, out string, compress, asJSON bool) error {
	f, err := a.fleet(name)
	if err != nil {
		return err
	}
	wanted, err := members(f)
	if err != nil {
		return err
	}
	if only != "" {
		i, err := f.Find(only)
		if err != nil {
			return err
		}
		wanted = wanted[i : i+1]
	}
	bases, display, err := a.buildBases(ctx, f, wanted, s, out)
	if err != nil {
		return err
	}
	if err := f.Lock(); err != nil {
		return err
	}
	if !asJSON {
		for _, b := range bases {
			if b.Path != "" {
				fmt.Fprintf(a.out, "%s  %s on disk, built in %.2f s\n", b.Path, mebibytes(b.Mapped), b.Seconds)
			}
		}
	}
	built, err := a.buildNodes(ctx, f, wanted, bases, out)
	if err != nil {
		return err
	}
	for _, n := range built {
		if compress {
			// It holds what the image does.
			if err := compressImage(n.Path, n.size, file.WritePrivate, display); err != nil {
				return err
			}
		}
		if !asJSON {
			fmt.Fprintf(a.out, "%s  node %s, in %.3f s, on the disk after %.2f s\n", n.Path, n.Node, n.Seconds, n.Flush)
		}
	}
	if asJSON {
		return writeJSON(a.out, built)
	}
	if only == "" {
		next := "boot them: weft run " + name
		for _, base := range f.Bases {
			if base.Plan.Board.ForRaspberryPi() { // which QEMU cannot boot all of
				next = "write them to cards: weft flash --batch " + name
			}
		}
		fmt.Fprintln(a.out, next)
	}
	return nil
}

// buildBases builds the images that members need; the others are empty.
func (a *app) buildBases(ctx context.Context, f *fleet.Fleet, needed []fleet.Member, s supply, out string) ([]builtBase, progress.Display, error) {
	options, display, err := a.buildOptions(s, out)
	if err != nil {
		return nil, nil, err
	}
	options.Overrides, options.Beside = f.Cluster.Overrides, f.Plans()
	bases := make([]builtBase, len(f.Bases))
	for _, m := range needed {
		if bases[m.Base].Path != "" {
			continue
		}
		started := time.Now()
		options.Plan = f.Bases[m.Base].Plan
		options.BaseDir = f.Bases[m.Base].Dir
		options.Out = filepath.Join(out, options.Plan.Name()+".img")
		result, err := builder.Build(ctx, options)
		if err != nil {
			return nil, nil, notLocked(err, options.LockFile, f.File())
		}
		bases[m.Base] = builtBase{result, time.Since(started).Seconds()}
	}
	return bases, display, nil
}

// buildNodes makes the images of nodes, each whole or not at all. All are made
// before the first is waited for: a device takes six images at once nearly as
// quickly as one.
func (a *app) buildNodes(ctx context.Context, f *fleet.Fleet, wanted []fleet.Member, bases []builtBase, out string) (built []builtNode, err error) {
	unfinished := func(path string) string { return filepath.Join(out, "."+filepath.Base(path)+".part") }
	defer func() {
		if err != nil {
			for _, n := range built {
				// Those that are finished have another name.
				os.Remove(unfinished(n.Path))
			}
		}
	}()
	for _, m := range wanted {
		started := time.Now()
		base := bases[m.Base]
		path := filepath.Join(out, f.Cluster.Name+"-"+m.Name+".img")
		// What an interrupted build has left.
		os.Remove(unfinished(path))
		if err := guest.NodeImage(ctx, base.Path, unfinished(path), m.Node, time.Unix(base.Epoch, 0).UTC()); err != nil {
			return built, err
		}
		built = append(built, builtNode{m.Name, path, base.Path, time.Since(started).Seconds(), 0, base.Size})
	}
	for i := range built {
		started := time.Now()
		part := unfinished(built[i].Path)
		if err := flush(part); err != nil {
			return built, err
		}
		if err := os.Rename(part, built[i].Path); err != nil {
			return built, err
		}
		built[i].Flush = time.Since(started).Seconds()
	}
	return built, nil
}

// flush waits until a file is on its device.
func flush(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// clusterMachines builds the images of a fleet's nodes and prepares to run
// them.
func (r *runner) clusterMachines(ctx context.Context, f *fleet.Fleet) (machinist, error) {
	if err := f.OnSegment(guest.CardsOf); err != nil {
		return nil, err
	}
	all, err := members(f)
	if err != nil {
		return nil, err
	}
	bases, _, err := r.buildBases(ctx, f, all, r.supply, r.images)
	if err != nil {
		return nil, err
	}
	var images []string
	for _, b := range bases {
		images = append(images, b.Path)
		if !r.asJSON {
			fmt.Fprintf(r.out, "%s  %s on disk, built in %.2f s\n", b.Path, mebibytes(b.Mapped), b.Seconds)
		}
	}
	return func(ctx context.Context, o guest.Options) ([]vm.Config, error) {
		return guest.Members(ctx, o, images, all)
	}, nil
}

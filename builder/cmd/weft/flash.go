package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/builder"
	"weft/builder/apt/store"
	"weft/builder/flash"
	"weft/builder/fleet"
	"weft/builder/inspect"
	"weft/document"
	"weft/profiles"

	"github.com/spf13/cobra"
)

// A flasher is one run of weft flash.
type flasher struct {
	*app
	target target
	supply supply

	batch, node, out, bmap, manifest string
	allowed, erase                   []string
	dry, keep, resume, asJSON        bool
}

// flashCommand is weft flash.
func (a *app) flashCommand() *cobra.Command {
	f := &flasher{app: a}
	cmd := &cobra.Command{
		Use:   "flash [IMAGE | CLUSTER.yaml] [DEVICE]",
		Short: "Write an image to an SD card, a USB stick or a disk, and prove it",
		Long: `Write an image to an SD card, a USB stick or a disk, read it back, and compare.

Without arguments, list the devices. IMAGE is a raw image, or one packed as
.zst, .gz or .xz; a block map beside it (.bmap) is used and its checksums are
verified. With CLUSTER.yaml and --node, the image of that node is built first;
with DEVICE alone, that of --board and --profile.

Only what the image has is written. What runs this system, is mounted, in use,
locked, too small, or was exchanged meanwhile is refused, and what is not
removable needs --allow-fixed. Before anything is erased, the name of the
device is asked for; scripts say --yes-erase with its serial.

A card that was pulled out, or a run that was interrupted, goes on with the
same command and --resume. With --keep-data the data partition of a node stays.`,
		Example: `  weft flash
  weft flash out/rpi4-vxlan.img.zst sdb
  weft flash home.yaml --node pi-1 mmcblk0
  weft flash home.yaml --node pi-1 sdb --keep-data
  weft flash --batch home.yaml
  weft flash image.img sdb --yes-erase 0123456789AB`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 2 {
				return usage("weft flash takes an image and a device, not %d arguments\nsee: weft flash --help", len(args))
			}
			return nil
		},
		ValidArgsFunction: f.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			switch {
			case f.batch != "" && (len(args) > 0 || f.node != "" || f.resume || f.dry || f.keep):
				return usage("--batch takes cards as they come; give no image, device, --node, --resume, --dry-run or --keep-data\nsee: weft flash --help")
			case f.batch != "":
				return flashFault(f.cards(ctx))
			case len(args) == 0:
				return f.list(ctx)
			case len(args) == 1 && (isClusterFile(args[0]) || strings.Contains(filepath.Base(args[0]), ".")):
				return usage("weft flash %s: to which device? See: weft flash", args[0])
			}
			return flashFault(f.one(ctx, args))
		},
	}
	f.target.flags(cmd)
	f.supply.flags(cmd, "file that pins the packages (default OUT/weft.lock)")
	cmd.Flags().StringVar(&f.batch, "batch", "", "write card after card, one for each node of this cluster file")
	cmd.Flags().StringVar(&f.node, "node", "", "build and write the image of this node of the cluster")
	completeNodes(cmd, "node", cobra.ShellCompDirectiveNoFileComp)
	cmd.Flags().StringVar(&f.out, "out", "out", "folder that images are built in")
	cmd.Flags().StringVar(&f.bmap, "bmap", "", `block map of the image (default: the one beside it), or "none"`)
	cmd.Flags().StringVar(&f.manifest, "manifest", "", "file that says which card is which node, with --batch (default CLUSTER.cards.json)")
	cmd.Flags().StringSliceVar(&f.allowed, "allow-fixed", nil, "serial of a device that is not removable and may be written")
	cmd.Flags().StringSliceVar(&f.erase, "yes-erase", nil, "serial of the device; it is erased without asking")
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "say what would be written, and write nothing")
	cmd.Flags().BoolVar(&f.keep, "keep-data", false, "keep the data partition that is on the device")
	cmd.Flags().BoolVar(&f.resume, "resume", false, "go on where the same command stopped")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the devices, or the result, as JSON")
	for _, flag := range []string{"allow-fixed", "yes-erase"} {
		// The flags were just defined, the only reason this can fail.
		_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return f.devices(cmd.Context(), flag == "allow-fixed", flash.Device.Proof), cobra.ShellCompDirectiveNoFileComp
		})
	}
	_ = cmd.RegisterFlagCompletionFunc("batch", completeFiles("yaml", "yml"))
	return cmd
}

// complete completes an image, and then a device.
func (f *flasher) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []string{"img", "zst", "gz", "xz", "yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return f.devices(cmd.Context(), false, func(d flash.Device) string { return d.Name }), cobra.ShellCompDirectiveNoFileComp
}

// devices are words about the devices that could be written, for a shell.
func (f *flasher) devices(ctx context.Context, fixed bool, word func(flash.Device) string) []string {
	all, err := flash.Host().Devices(ctx)
	if err != nil {
		return nil // a shell has no place for it
	}
	var words []string
	for _, d := range all {
		if d.Size > 0 && d.System == "" && (d.Removable || fixed || slices.Contains(f.allowed, d.Proof())) {
			words = append(words, fmt.Sprintf("%s\t%s %s %s", word(d), d.Vendor, d.Model, gigabytes(d.Size)))
		}
	}
	return words
}

// list prints the devices that could be written, with what is on them.
func (f *flasher) list(ctx context.Context) error {
	all, err := flash.Host().Devices(ctx)
	if err != nil {
		return err
	}
	shown, hidden := []flash.Device{}, 0
	for _, d := range all {
		if d.Removable && d.Size > 0 || slices.Contains(f.allowed, d.Proof()) {
			shown = append(shown, d)
		} else if d.Size > 0 && d.Transport != "loop" {
			hidden++
		}
	}
	if f.asJSON {
		return writeJSON(f.app.out, shown)
	}
	for _, d := range shown {
		fmt.Fprintf(f.app.out, "%-9s %9s  %s\n", d.Name, gigabytes(d.Size), strings.Join(strings.Fields(d.Transport+" "+d.Vendor+" "+d.Model), " "))
		fmt.Fprintf(f.app.out, "          serial %s\n", d.Proof())
		for _, p := range d.Partitions {
			fmt.Fprintf(f.app.out, "          %-11s %9s  %s\n", p.Name, gigabytes(p.Size), p.Label)
		}
		var refused *flash.Refusal
		if err := flash.Check(d, 0, f.allowed); errors.As(err, &refused) {
			fmt.Fprintf(f.app.out, "          refused: %v: %s\n", refused.Reason, refused.Detail)
		}
	}
	if len(shown) == 0 {
		fmt.Fprintln(f.app.out, "there is no card or stick; put one in")
	}
	if hidden > 0 {
		fmt.Fprintf(f.app.out, "not shown, since not removable: %d; see: lsblk, and --allow-fixed SERIAL\n", hidden)
	}
	return nil
}

func gigabytes(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// A flashed device is what weft flash did, or with --dry-run would do.
type flashed struct {
	flash.Plan
	flash.Result
	Node    string  `json:"node,omitempty"`
	DryRun  bool    `json:"dryRun,omitempty"`
	Seconds float64 `json:"seconds"`
}

// one writes one device. The device is looked at before anything is built.
func (f *flasher) one(ctx context.Context, args []string) error {
	name := args[len(args)-1]
	all, err := flash.Host().Devices(ctx)
	if err != nil {
		return err
	}
	d, err := flash.Find(all, name)
	if err != nil {
		return err
	}
	if err := flash.Check(d, 0, f.allowed); err != nil {
		return err
	}
	var image, node string
	switch {
	case len(args) == 1:
		image, err = f.buildOne(ctx)
	case isClusterFile(args[0]):
		if node = f.node; node == "" {
			return usage("weft flash %s: which node? Give --node, or --batch for all", args[0])
		}
		var images map[string]func() (string, error)
		if images, _, err = f.nodeImages(ctx, args[0], node); err == nil {
			image, err = images[node]()
		}
	default:
		image = args[0]
	}
	if err != nil {
		return err
	}
	_, _, err = f.write(ctx, image, node, d)
	return err
}

// buildOne builds the image of a board and a profile.
func (f *flasher) buildOne(ctx context.Context) (string, error) {
	p, err := f.plan(f.target)
	if err != nil {
		return "", err
	}
	o, _, err := f.buildOptions(f.supply, f.out)
	if err != nil {
		return "", err
	}
	o.Plan, o.BaseDir, o.Out = p, filepath.Dir(f.target.board), filepath.Join(f.out, p.Name()+".img")
	result, err := builder.Build(ctx, o)
	return result.Path, err
}

// nodeImages builds what nodes of a cluster share, and returns what makes the
// image of each, and their names in order; only one of them with only.
func (f *flasher) nodeImages(ctx context.Context, file, only string) (map[string]func() (string, error), []string, error) {
	cluster, err := f.fleet(file)
	if err != nil {
		return nil, nil, err
	}
	wanted, err := members(cluster)
	if err != nil {
		return nil, nil, err
	}
	if only != "" {
		i, err := cluster.Find(only)
		if err != nil {
			return nil, nil, err
		}
		wanted = wanted[i : i+1]
	}
	bases, _, err := f.buildBases(ctx, cluster, wanted, f.supply, f.out)
	if err != nil {
		return nil, nil, err
	}
	if err := cluster.Lock(); err != nil {
		return nil, nil, err
	}
	images, names := map[string]func() (string, error){}, []string{}
	for _, m := range wanted {
		names = append(names, m.Name)
		images[m.Name] = func() (string, error) {
			built, err := f.buildNodes(ctx, cluster, []fleet.Member{m}, bases, f.out)
			if err != nil {
				return "", err
			}
			return built[0].Path, nil
		}
	}
	return images, names, nil
}

// write puts an image onto a device, after asking. It reports false when the
// answer was no.
func (f *flasher) write(ctx context.Context, image, node string, d flash.Device) (flashed, bool, error) {
	started := time.Now()
	display := f.display()
	task := display.Start("look at "+filepath.Base(image), 0, "bytes")
	source, err := flash.OpenSource(ctx, image, f.bmap, task.Add)
	task.Done(err)
	if err != nil {
		return flashed{}, false, named(err)
	}
	if err := flash.Check(d, source.Map.Size, f.allowed); err != nil {
		return flashed{}, false, err
	}
	if !f.dry {
		if yes, err := f.ask(d, node); err != nil || !yes {
			return flashed{}, false, err
		}
	}
	dir, err := store.Dir(os.Getenv("WEFT_CACHE"))
	if err != nil {
		return flashed{}, false, err
	}
	o := flash.Options{Keep: f.keep, Resume: f.resume, StateDir: filepath.Join(dir, "flash"), Report: display}
	plan, result, err := flash.Flash(ctx, flash.Host(), source, d, o, f.dry)
	if err != nil {
		return flashed{}, false, err
	}
	done := flashed{Plan: plan, Result: result, Node: node, DryRun: f.dry, Seconds: time.Since(started).Seconds()}
	if f.asJSON {
		return done, true, writeJSON(f.app.out, done)
	}
	f.tell(done)
	return done, true, nil
}

// tell says what was done, or would be.
func (f *flasher) tell(r flashed) {
	if r.DryRun {
		fmt.Fprintf(f.app.out, "%s to %s: would write %s, make %s zero, and leave %s as it is\n", r.Image, r.Device.Name, mebibytes(r.Data), mebibytes(r.Plan.Zero), mebibytes(r.Free))
	} else {
		fmt.Fprintf(f.app.out, "%s is on %s and verified: %s of %s written, in %.1f s\n", r.Image, r.Device.Name, mebibytes(r.Written), mebibytes(r.Size), r.Seconds)
	}
	if r.Kept != nil {
		fmt.Fprintf(f.app.out, "  the data partition stays: %s at byte %d\n", mebibytes(r.Kept.Size), r.Kept.Start)
	}
}

// ask has a person type the name of the device that is to be erased.
func (f *flasher) ask(d flash.Device, node string) (bool, error) {
	if len(f.erase) > 0 {
		if !slices.Contains(f.erase, d.Proof()) {
			return false, &flash.Refusal{Device: d.Name, Reason: flash.ErrNotMeant, Detail: "its serial is " + d.Proof(), Fix: "look at the devices: weft flash"}
		}
		return true, nil
	}
	what := "all that is on it"
	if f.keep {
		what = "all but the data partition"
	}
	if node != "" {
		node = " for node " + node
	}
	fmt.Fprintf(f.err, "%s: %s %s %s, serial %s\n", d.Name, d.Vendor, d.Model, gigabytes(d.Size), d.Proof())
	for _, p := range d.Partitions {
		fmt.Fprintf(f.err, "  %s %s %s\n", p.Name, gigabytes(p.Size), p.Label)
	}
	fmt.Fprintf(f.err, "To erase %s%s, type %s: ", what, node, d.Name)
	line, err := bufio.NewReader(io.LimitReader(f.in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if strings.TrimSpace(line) != d.Name {
		if err != nil { // nobody has ended the line of the question
			fmt.Fprintln(f.err)
		}
		return false, usage("%s was not typed; nothing was written\nfix: in a script: --yes-erase %s", d.Name, d.Proof())
	}
	return true, nil
}

// cards writes the cards of a cluster as they are put in.
func (f *flasher) cards(ctx context.Context) error {
	cluster, err := f.fleet(f.batch)
	if err != nil {
		return err
	}
	if f.manifest == "" {
		f.manifest = strings.TrimSuffix(f.batch, filepath.Ext(f.batch)) + ".cards.json"
	}
	manifest, err := flash.ReadManifest(f.manifest, cluster.Cluster.Name)
	if err != nil {
		return err
	}
	images, names, err := f.nodeImages(ctx, f.batch, "")
	if err != nil {
		return err
	}
	b := flash.Batch{
		System: flash.Host(), Manifest: manifest, Nodes: names, Allowed: f.allowed,
		Known: nodeOn,
		Say:   func(format string, args ...any) { fmt.Fprintf(f.err, format+"\n", args...) },
		Write: func(ctx context.Context, node string, d flash.Device) (flash.Card, bool, error) {
			image, err := images[node]()
			if err != nil {
				return flash.Card{}, false, err
			}
			defer os.Remove(image) // it holds the node's keys
			r, done, err := f.write(ctx, image, node, d)
			return flash.Card{Node: node, Serial: d.Serial, Model: strings.TrimSpace(d.Vendor + " " + d.Model), Size: d.Size, SHA256: r.SHA256, Written: time.Now().UTC()}, done, err
		},
	}
	return b.Run(ctx)
}

// nodeOn is the name of the node whose file is on a card; "" for none.
func nodeOn(r io.ReaderAt, size int64) string {
	image, err := inspect.Open(r, size)
	if err != nil {
		return ""
	}
	data, ok := image.NodeFile()
	if !ok {
		return ""
	}
	node, _, problems := profiles.ReadNode(profiles.NodeFile, data)
	if problems.Errors() != nil {
		return ""
	}
	return node.Hostname
}

// flashFault makes input errors of refusals that a person can mend by naming
// something else; a device that fails is a fault of the disk.
func flashFault(err error) error {
	var refused *flash.Refusal
	var problems document.Problems
	var image *flash.ImageError
	if errors.As(err, &image) && systemCode(err) == exitInternal {
		return usage("%w\nfix: name a whole image; one that was downloaded may be cut off", err)
	}
	if !errors.As(err, &refused) || errors.As(err, &problems) {
		return err
	}
	if errors.Is(err, flash.ErrPulled) || errors.Is(err, flash.ErrDiffers) {
		return deviceError{err}
	}
	return inputError{err}
}

// deviceError marks err as the fault of a disk.
type deviceError struct{ error }

func (e deviceError) Unwrap() error { return e.error }

// ExitCode is the code weft exits with.
func (e deviceError) ExitCode() int { return exitIO }

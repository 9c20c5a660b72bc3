package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/boards"
	"weft/builder"
	"weft/builder/file"
	"weft/builder/image"
	"weft/builder/node"
	"weft/builder/progress"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"
)

// buildCommand is weft build.
func (a *app) buildCommand() *cobra.Command {
	var (
		t            target
		s            supply
		out          string
		compress     bool
		asJSON       bool
		onlyPackages bool
		only         string
	)
	cmd := &cobra.Command{
		Use:   "build [CLUSTER.yaml]",
		Short: "Build the disk image of a board and a profile, or of a cluster",
		Long: `Build a disk image from a board and a profile, or one for each node of a
cluster file.

The image is OUT/BOARD-PROFILE.img, a raw disk. The Debian packages it was made
from are pinned in a lock; while the lock is there, every build fetches exactly
those or fails. Equal inputs give equal bytes, in any folder and on any
machine. SOURCE_DATE_EPOCH, when set, is the image's one timestamp; otherwise
the date of the Debian suite is.

Of a cluster, the image that nodes share is built once, and then copied for
each node, as OUT/CLUSTER-NODE.img, with its node file put in. Keys come from
the secrets file beside the cluster file; see weft cluster keys.`,
		Example: `  weft build --out out
  weft build --board x86-64 --profile ./my-profile.yaml --out out --zstd
  weft build --lock weft.lock --mirror /srv/debian --out out
  weft build home.yaml --node pi-2`,
		Args:              clusterFile,
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				for _, flag := range []string{"board", "profile", "download-only"} {
					if cmd.Flags().Changed(flag) {
						return usage("--%s: a cluster file has that itself\nsee: weft build --help", flag)
					}
				}
				return a.buildCluster(cmd.Context(), args[0], only, s, out, compress, asJSON)
			}
			if only != "" {
				return usage("--node is for a cluster file\nsee: weft build --help")
			}
			started := time.Now()
			p, err := a.plan(t)
			if err != nil {
				return err
			}
			options, display, err := a.buildOptions(s, out)
			if err != nil {
				return err
			}
			options.Plan = p
			options.BaseDir = filepath.Dir(t.board)
			options.Out = filepath.Join(out, p.Name()+".img")
			what := fmt.Sprintf("--board %s --profile %s", t.board, t.profile)
			if onlyPackages {
				return notLocked(builder.Fetch(cmd.Context(), options), options.LockFile, what)
			}
			result, err := builder.Build(cmd.Context(), options)
			if err != nil {
				return notLocked(err, options.LockFile, what)
			}
			if compress {
				if err := compressImage(result.Path, result.Size, file.Write, display); err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(a.out, result)
			}
			a.reportBuild(result, p.Board, time.Since(started))
			return nil
		},
	}
	t.flags(cmd)
	s.flags(cmd, "file that pins the packages (default OUT/weft.lock)")
	cmd.Flags().StringVar(&out, "out", "out", "folder the image is written to")
	cmd.Flags().BoolVar(&compress, "zstd", false, "also write the image compressed, as .img.zst")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	cmd.Flags().StringVar(&only, "node", "", "build the image of one node of the cluster")
	completeNodes(cmd, "node", cobra.ShellCompDirectiveNoFileComp)
	cmd.Flags().BoolVar(&onlyPackages, "download-only", false, "fetch the packages and build nothing")
	a.identityFlag(cmd)
	return cmd
}

// clusterFile takes nothing, or a cluster file.
func clusterFile(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && isClusterFile(args[0]) {
		return nil
	}
	if len(args) == 1 {
		for flag, names := range map[string][]string{"board": boards.Names(), "profile": profileNames()} {
			if slices.Contains(names, args[0]) {
				return usage("%s takes no argument %q; did you mean --%s %[2]s?\nsee: %[1]s --help", cmd.CommandPath(), args[0], flag)
			}
		}
	}
	return noArgs(cmd, args)
}

// buildOptions are what all images of a build have in common, with the folder
// out made.
func (a *app) buildOptions(s supply, out string) (builder.Options, progress.Display, error) {
	fail := func(err error) (builder.Options, progress.Display, error) { return builder.Options{}, nil, err }
	epoch, err := sourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return fail(err)
	}
	source, results, display, err := a.source(s)
	if err != nil {
		return fail(err)
	}
	payloads, err := a.payloads(display)
	if err != nil {
		return fail(err)
	}
	if out == "" {
		return fail(usage("--out is empty; name a folder"))
	}
	if s.lock == "" {
		s.lock = filepath.Join(out, "weft.lock")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fail(err)
	}
	return builder.Options{
		Source: source, Payloads: payloads, Results: results, Program: node.Program,
		LockFile: s.lock, Epoch: epoch, Warn: a.warn,
	}, display, nil
}

// sourceDateEpoch reads the variable of that name
// [reproducible-builds.org/specs/source-date-epoch].
func sourceDateEpoch(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return nil, usage("SOURCE_DATE_EPOCH is %q; it must be seconds since 1970", text)
	}
	return &seconds, nil
}

// reportBuild says what was built, and what to do with it.
func (a *app) reportBuild(r image.Result, board boards.Board, took time.Duration) {
	fmt.Fprintf(a.out, "%s  %s on disk, %s long\n", r.Path, mebibytes(r.Mapped), mebibytes(r.Size))
	fmt.Fprintf(a.out, "  kernel %s, %d modules (%d at boot), initramfs %s, root %s\n",
		r.Kernel, r.Modules, r.BootModules, mebibytes(r.Initramfs), mebibytes(r.Root))
	if r.Userland > 0 {
		fmt.Fprintf(a.out, "  programs from Debian packages, with their libraries: %s of the root\n", mebibytes(r.Userland))
	}
	fmt.Fprintf(a.out, "  sha256 %s\n", r.SHA256)
	if len(r.NoFirmware) > 0 && a.verbose {
		fmt.Fprintf(a.out, "  firmware that drivers name and no package has: %s\n", strings.Join(r.NoFirmware, ", "))
	}
	next := "boot it: weft run"
	if board.ForRaspberryPi() {
		next = "write it to a card: weft flash"
	}
	fmt.Fprintf(a.out, "built in %.1f s; %s %s\n", took.Seconds(), next, r.Path)
}

// mebibytes writes a size the way people compare images.
func mebibytes(n int64) string {
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// A writer is [file.Write] or [file.WritePrivate].
type writer func(path string, fill func(*os.File) error) error

// compressImage writes an image of a size compressed too, as .img.zst.
func compressImage(path string, size int64, write writer, display progress.Display) error {
	task := display.Start("compress "+filepath.Base(path), size, "bytes")
	err := compressFile(path, path+".zst", write, task.Add)
	task.Done(err)
	return err
}

// zstdWindow is how far back the compression looks: an image for a Raspberry
// Pi has its kernel twice, 20 MB apart. Every decoder takes it; zstd(1) asks for
// --long=31 beyond 128 MiB only.
const zstdWindow = 32 << 20

// compressFile writes the file from, compressed by zstd, to the file to,
// whole or not at all. The output depends on the input alone.
func compressFile(from, to string, write writer, read func(int64)) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return write(to, func(f *os.File) error {
		w, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			return err
		}
		if _, err := w.ReadFrom(counted{in, read}); err != nil {
			return err
		}
		return w.Close()
	})
}

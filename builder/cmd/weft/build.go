package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weft/builder"
	"weft/builder/file"
	"weft/builder/image"
	"weft/builder/node"

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
	)
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build a disk image from a board and a profile",
		Long: `Build a disk image from a board and a profile.

The image is OUT/BOARD-PROFILE.img, a raw disk. The Debian packages it was made
from are pinned in a lock; while the lock is there, every build fetches exactly
those or fails. Equal inputs give equal bytes, in any folder and on any
machine. SOURCE_DATE_EPOCH, when set, is the image's one timestamp; otherwise
the date of the Debian suite is.`,
		Example: `  weft build --out out
  weft build --board x86-64 --profile ./my-profile.yaml --out out --zstd
  weft build --lock weft.lock --mirror /srv/debian --out out`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			started := time.Now()
			epoch, err := sourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			p, err := a.plan(t)
			if err != nil {
				return err
			}
			source, results, display, err := a.source(s)
			if err != nil {
				return err
			}
			if s.lock == "" {
				s.lock = filepath.Join(out, "weft.lock")
			}
			if err := os.MkdirAll(out, 0o755); err != nil {
				return err
			}
			options := builder.Options{
				Plan:     p,
				Source:   source,
				Results:  results,
				Program:  node.Program,
				LockFile: s.lock,
				Epoch:    epoch,
				BaseDir:  filepath.Dir(t.board),
				Out:      filepath.Join(out, p.Name()+".img"),
			}
			if onlyPackages {
				return builder.Fetch(cmd.Context(), options)
			}
			result, err := builder.Build(cmd.Context(), options)
			if err != nil {
				return err
			}
			if compress {
				task := display.Start("compress "+filepath.Base(result.Path), result.Size, "bytes")
				err := compressFile(result.Path, result.Path+".zst", task.Add)
				task.Done(err)
				if err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(a.out, result)
			}
			a.reportBuild(result, time.Since(started))
			return nil
		},
	}
	t.flags(cmd)
	s.flags(cmd, "file that pins the packages (default OUT/weft.lock)")
	cmd.Flags().StringVar(&out, "out", "out", "folder the image is written to")
	cmd.Flags().BoolVar(&compress, "zstd", false, "also write the image compressed, as .img.zst")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	cmd.Flags().BoolVar(&onlyPackages, "download-only", false, "fetch the packages and build nothing")
	return cmd
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

// reportBuild says what was built.
func (a *app) reportBuild(r image.Result, took time.Duration) {
	fmt.Fprintf(a.out, "%s  %s on disk, %s long\n", r.Path, mebibytes(r.Mapped), mebibytes(r.Size))
	fmt.Fprintf(a.out, "  kernel %s, %d modules (%d at boot), initramfs %s, root %s\n",
		r.Kernel, r.Modules, r.BootModules, mebibytes(r.Initramfs), mebibytes(r.Root))
	fmt.Fprintf(a.out, "  sha256 %s\n", r.SHA256)
	if len(r.NoFirmware) > 0 && a.verbose {
		fmt.Fprintf(a.out, "  firmware that drivers name and no package has: %s\n", strings.Join(r.NoFirmware, ", "))
	}
	fmt.Fprintf(a.out, "built in %.1f s; boot it: weft run %s\n", took.Seconds(), r.Path)
}

// mebibytes writes a size the way people compare images.
func mebibytes(n int64) string {
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// compressFile writes the file from, compressed by zstd, to the file to,
// whole or not at all. The output depends on the input alone.
func compressFile(from, to string, read func(int64)) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return file.Write(to, func(f *os.File) error {
		w, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedDefault))
		if err != nil {
			return err
		}
		if _, err := w.ReadFrom(counted{in, read}); err != nil {
			return err
		}
		return w.Close()
	})
}

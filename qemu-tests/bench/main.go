// Command bench measures what weft promises to be quick or small at, and
// prints each figure as a line: name value unit.
//
// It builds with the bin/weft of this tree and boots what that built. Figures
// of a boot are CPU seconds of the QEMU process, which a busy host changes
// little, and the node's own clock.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

// A meter prints figures.
type meter struct{ out io.Writer }

// figure prints one figure.
func (m meter) figure(name string, value float64, unit string) {
	fmt.Fprintf(m.out, "%-44s %10.4g %s\n", name, value, unit)
}

func main() {
	boots := flag.Int("boots", 3, "how often each boot is measured; the median is printed")
	board := flag.String("boards", boardName, "the boards whose images are booted, with commas between")
	only := flag.String("only", "", "measure one part: build, boot, netd or flash")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: %q is no flag; write boards with commas between\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, meter{os.Stdout}, *only, strings.Split(*board, ","), *boots); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure runs the parts that were asked for.
func measure(ctx context.Context, m meter, only string, boards []string, boots int) error {
	dir, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	wanted := func(part string) bool { return only == "" || only == part }
	weft, err := filepath.Abs("bin/weft")
	if err != nil {
		return err
	}
	if _, err := os.Stat(weft); err != nil {
		return fmt.Errorf("%w; run make weft, and this from the top of the tree", err)
	}
	b := builds{weft: weft, dir: dir}
	if wanted("build") {
		if err := b.prepare(ctx); err != nil {
			return err
		}
		if err := b.measure(ctx, m); err != nil {
			return err
		}
	}
	if wanted("boot") {
		for _, board := range boards {
			if err := b.boots(ctx, m, board, boots); err != nil {
				return err
			}
		}
	}
	if wanted("netd") {
		if err := measureNetd(ctx, m); err != nil {
			return err
		}
	}
	if wanted("flash") {
		return measureFlash(ctx, m)
	}
	return nil
}

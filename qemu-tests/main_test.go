package qemutests

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// seed makes the random choices of a run repeatable.
var seed = flag.Uint64("seed", 0, "seed of the random choices; 0 draws one, and it is logged")

// workDir holds the images of this run.
var workDir string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

// run runs the tests and leaves nothing behind.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weft-qemu-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	workDir = dir
	return m.Run()
}

// Package buildtest builds real images for tests: from Debian's own packages,
// by way of the mirror and the cache that the command weft would use.
//
// It replaces nothing; a machine without a mirror is told what is missing.
package buildtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weft/boards"
	"weft/builder"
	"weft/builder/apt"
	"weft/builder/apt/store"
	"weft/builder/cache"
	"weft/builder/image"
	"weft/builder/node"
	"weft/builder/plan"
	"weft/profiles"
)

// Version is the version of weft in images made for tests.
const Version = "test"

// Plan resolves a board and a profile, named as on the command line.
func Plan(t testing.TB, board, profile string) plan.Plan {
	t.Helper()
	b, boardFile, problems, err := boards.Find(board)
	if err != nil || problems.Errors() != nil {
		t.Fatalf("board %s: %v\n%v", board, err, problems)
	}
	p, profileFile, problems, err := profiles.Find(profile)
	if err != nil || problems.Errors() != nil {
		t.Fatalf("profile %s: %v\n%v", profile, err, problems)
	}
	return plan.New(Version, b, boardFile, p, profileFile)
}

// CacheDir is the folder of the cache that the command weft would use.
func CacheDir(t testing.TB) string {
	t.Helper()
	dir, err := store.Dir(os.Getenv("WEFT_CACHE"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Options say how to build a plan into the folder out, with the cache in the
// folder cacheDir.
func Options(t testing.TB, p plan.Plan, cacheDir, out string) builder.Options {
	t.Helper()
	mirror, _, err := apt.ChooseMirror("", os.Getenv("WEFT_MIRROR"), os.DirFS("/"))
	if err != nil {
		t.Fatalf("this test needs a Debian mirror, set WEFT_MIRROR: %v", err)
	}
	packages, err := store.Open(cacheDir, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	results, err := cache.Open(filepath.Join(cacheDir, "results"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := apt.New(apt.Options{Mirror: mirror, Cache: packages})
	if err != nil {
		t.Fatal(err)
	}
	return builder.Options{
		Plan:     p,
		Source:   source,
		Results:  results,
		Program:  node.Program,
		LockFile: filepath.Join(out, "weft.lock"),
		BaseDir:  out,
		Out:      filepath.Join(out, p.Name()+".img"),
	}
}

// Build builds with the given options.
func Build(t testing.TB, o builder.Options) image.Result {
	t.Helper()
	result, err := builder.Build(t.Context(), o)
	if err != nil {
		t.Fatalf("build %s: %v", o.Plan.Name(), err)
	}
	return result
}

// Image builds the image of a shipped board and profile into a folder of its
// own.
func Image(t testing.TB, board, profile string) image.Result {
	t.Helper()
	return Build(t, Options(t, Plan(t, board, profile), CacheDir(t), t.TempDir()))
}

// Tool runs a program that judges what weft made, and returns its output. The
// test ends when the program is missing or disagrees.
func Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		// Some distributions keep these programs out of a user's PATH.
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Fatalf("install %s: make deps", name)
		}
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Partition copies a partition of a disk into a file of its own.
func Partition(t testing.TB, disk string, start, size int64) string {
	t.Helper()
	in, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	name := filepath.Join(t.TempDir(), "partition")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := copySparse(out, in, start, size); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// copySparse copies a part of a file and leaves blocks of zeros as holes.
func copySparse(out *os.File, in *os.File, start, size int64) error {
	block := make([]byte, 1<<20)
	zeros := make([]byte, len(block))
	for at := int64(0); at < size; at += int64(len(block)) {
		piece := block[:min(int64(len(block)), size-at)]
		if _, err := in.ReadAt(piece, start+at); err != nil {
			return err
		}
		if bytes.Equal(piece, zeros[:len(piece)]) {
			continue
		}
		if _, err := out.WriteAt(piece, at); err != nil {
			return err
		}
	}
	return out.Truncate(size)
}

package qemutests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weft/boards"
	"weft/builder"
	"weft/builder/apt"
	"weft/builder/apt/store"
	"weft/builder/cache"
	"weft/builder/plan"
	"weft/profiles"
)

// board is the board of guests, unless said otherwise.
const board = "x86-64-cloud"

// The images that tests boot, each built once.
var (
	vxlan     = sync.OnceValues(func() (string, error) { return build(board, "vxlan") })
	dualStack = sync.OnceValues(func() (string, error) { return build(board, "dual-stack") })
	arm64     = sync.OnceValues(func() (string, error) { return build("arm64-uefi", "vxlan") })
)

// buildOf returns the path of an image.
func buildOf(t *testing.T, kind func() (string, error)) string {
	t.Helper()
	path, err := kind()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build builds the image of a board and a profile, each given by name or by
// path, and returns its path.
func build(board, profile string) (string, error) {
	o, err := options(board, profile)
	if err != nil {
		return "", err
	}
	result, err := builder.Build(context.Background(), o)
	return result.Path, err
}

// options are what weft build uses for a board and a profile, with the node's
// programs compiled from this tree.
func options(board, profile string) (builder.Options, error) {
	p, err := planOf(board, profile)
	if err != nil {
		return builder.Options{}, err
	}
	return optionsOf(p, filepath.Dir(board))
}

// optionsOf is [options] for a plan whose board file is in baseDir.
func optionsOf(p plan.Plan, baseDir string) (builder.Options, error) {
	source, results, err := supply()
	if err != nil {
		return builder.Options{}, err
	}
	dir, err := os.MkdirTemp(workDir, "image-")
	return builder.Options{
		Plan: p, Source: source, Results: results, Program: program,
		LockFile: filepath.Join(dir, "weft.lock"),
		BaseDir:  baseDir,
		Out:      filepath.Join(dir, p.Name()+".img"),
	}, err
}

// planOf reads and resolves a board and a profile.
func planOf(board, profile string) (plan.Plan, error) {
	b, boardFile, problems, err := boards.Find(board)
	if err != nil {
		return plan.Plan{}, err
	}
	p, profileFile, more, err := profiles.Find(profile)
	if err != nil {
		return plan.Plan{}, err
	}
	if err := errors.Join(problems.Errors(), more.Errors()); err != nil {
		return plan.Plan{}, err
	}
	return plan.New("test", b, boardFile, p, profileFile), nil
}

// supply is where packages come from: the host's mirror, by way of the user's
// cache, as for weft build.
func supply() (*apt.Source, cache.Dir, error) {
	log := slog.New(slog.DiscardHandler)
	dir, err := store.Dir(os.Getenv("WEFT_CACHE"))
	if err != nil {
		return nil, cache.Dir{}, err
	}
	packages, err := store.Open(dir, time.Now(), log)
	if err != nil {
		return nil, cache.Dir{}, err
	}
	results, err := cache.Open(filepath.Join(dir, "results"))
	if err != nil {
		return nil, cache.Dir{}, err
	}
	mirror, _, err := apt.ChooseMirror("", os.Getenv("WEFT_MIRROR"), os.DirFS("/"))
	if err != nil {
		return nil, cache.Dir{}, err
	}
	source, err := apt.New(apt.Options{
		Mirror: mirror, Cache: packages, HTTP: &http.Client{}, Clock: time.Now, Log: log,
	})
	return source, results, err
}

// compiled makes init and netd as make weft does, once for each architecture:
// what is tested is the tree as it stands, and not what was last embedded.
var compiled = map[string]func() (string, error){
	"amd64": sync.OnceValues(func() (string, error) { return compile("amd64") }),
	"arm64": sync.OnceValues(func() (string, error) { return compile("arm64") }),
}

// compile makes init and netd for an architecture.
func compile(arch string) (string, error) {
	dir := filepath.Join(workDir, "programs", arch)
	for _, name := range []string{"init", "netd"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=",
			"-o", filepath.Join(dir, name), "weft/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if said, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("compile %s: %w\n%s", name, err, said)
		}
	}
	return dir, nil
}

// program returns a program of the node.
func program(arch, name string) ([]byte, error) {
	make, ok := compiled[arch]
	if !ok {
		return nil, fmt.Errorf("%s for %s is not compiled here", name, arch)
	}
	dir, err := make()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, name))
}

// profileFile writes a profile and returns its path; the file must be called
// after the profile.
func profileFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"weft/boards"
	"weft/builder/apt/store"
	"weft/builder/image"
	"weft/profiles"
)

// builds measures weft build.
type builds struct{ weft, dir string }

// The image that is built and measured: the default of weft build.
const (
	boardName   = "x86-64-cloud"
	profileName = "vxlan"
)

// A run is one build that was measured.
type run struct {
	image.Result
	wall, cpu time.Duration
	memory    int64 // bytes, the largest resident set
}

// prepare builds once with the user's cache, so that everything is downloaded.
func (b builds) prepare(ctx context.Context) error {
	_, err := b.build(ctx, "first", "", profileName)
	return err
}

// boots builds the image of a board and boots it.
func (b builds) boots(ctx context.Context, m meter, board string, times int) error {
	conf, _, problems, err := boards.Find(board)
	if err = errors.Join(err, problems.Errors()); err != nil {
		return err
	}
	image, err := b.buildFor(ctx, board, "boot", "", profileName)
	if err != nil {
		return err
	}
	return measureBoots(ctx, m, image.Path, conf.Arch, times)
}

// measure prints the figures of builds.
func (b builds) measure(ctx context.Context, m meter) error {
	// Nothing at all is there: indexes and packages are downloaded too.
	empty, err := b.build(ctx, "empty", filepath.Join(b.dir, "nothing"), profileName,
		"--lock", filepath.Join(b.dir, "empty.lock"))
	if err != nil {
		return err
	}
	m.figure("build.download.wall", empty.wall.Seconds(), "s")
	cold, err := b.emptyCache()
	if err != nil {
		return err
	}
	unpacked, err := b.build(ctx, "cold", cold, profileName, "--zstd")
	if err != nil {
		return err
	}
	first, err := b.build(ctx, "first", "", profileName)
	if err != nil {
		return err
	}
	m.figure("build.unpack.wall", unpacked.wall.Seconds(), "s")
	m.figure("build.unpack.cpu", unpacked.cpu.Seconds(), "s")
	m.figure("build.unpack.memory", float64(unpacked.memory)/1e6, "MB")
	m.figure("build.unchanged.wall", first.wall.Seconds(), "s")
	if err := b.measureChange(ctx, m); err != nil {
		return err
	}
	if err := b.measureCluster(ctx, m); err != nil {
		return err
	}
	m.figure("image.raw", float64(first.Size)/1e6, "MB")
	m.figure("image.mapped", float64(first.Mapped)/1e6, "MB")
	packed, err := os.Stat(unpacked.Path + ".zst")
	if err != nil {
		return err
	}
	m.figure("image.zstd", float64(packed.Size())/1e6, "MB")
	same := 0.0
	if unpacked.SHA256 == first.SHA256 {
		same = 1
	}
	m.figure("build.reproducible", same, "bool")
	if same == 0 {
		return errors.New("two builds from the same inputs differ")
	}
	return nil
}

// measureChange measures a warm build in which one value of the profile is
// new, the median of three.
func (b builds) measureChange(ctx context.Context, m meter) error {
	profile, _, problems, err := profiles.Find(profileName)
	if err = errors.Join(err, problems.Errors()); err != nil {
		return err
	}
	var walls, cpus, memories []float64
	for vni := range 3 {
		profile.Network.Backend.VNI = 100 + vni
		data, err := profile.YAML()
		if err != nil {
			return err
		}
		name := filepath.Join(b.dir, profileName+".yaml")
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
		r, err := b.build(ctx, "changed", "", name)
		if err != nil {
			return err
		}
		walls = append(walls, r.wall.Seconds())
		cpus = append(cpus, r.cpu.Seconds())
		memories = append(memories, float64(r.memory)/1e6)
	}
	m.figure("build.changed.wall", median(walls), "s")
	m.figure("build.changed.cpu", median(cpus), "s")
	m.figure("build.changed.memory", median(memories), "MB")
	return nil
}

// build is buildFor the usual board.
func (b builds) build(ctx context.Context, out, cache, profile string, args ...string) (run, error) {
	return b.buildFor(ctx, boardName, out, cache, profile, args...)
}

// buildFor runs weft build into the folder out and measures it. With an empty
// cache the user's is used.
func (b builds) buildFor(ctx context.Context, board, out, cache, profile string, args ...string) (run, error) {
	lock := filepath.Join(b.dir, "weft.lock")
	args = append([]string{"build", "--board", board, "--profile", profile,
		"--out", filepath.Join(b.dir, out), "--lock", lock, "--json"}, args...)
	cmd := exec.CommandContext(ctx, b.weft, args...)
	if cache != "" {
		cmd.Env = append(os.Environ(), "WEFT_CACHE="+cache)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	if err := cmd.Run(); err != nil {
		return run{}, fmt.Errorf("%s: %w\n%s", cmd, err, stderr.Bytes())
	}
	r := run{wall: time.Since(started), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.memory = usage.Maxrss
		if runtime.GOOS == "linux" {
			r.memory <<= 10 // getrusage(2): kilobytes; macOS says bytes
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &r.Result); err != nil {
		return run{}, fmt.Errorf("%s: %w", cmd, err)
	}
	return r, nil
}

// emptyCache makes a cache that has the user's downloads and nothing
// unpacked.
func (b builds) emptyCache() (string, error) {
	user, err := store.Dir(os.Getenv("WEFT_CACHE"))
	if err != nil {
		return "", err
	}
	cache := filepath.Join(b.dir, "cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	return cache, copyFolder(filepath.Join(user, "downloads"), filepath.Join(cache, "downloads"))
}

// copyFolder copies the regular files of a folder.
func copyFolder(from, to string) error {
	return fs.WalkDir(os.DirFS(from), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o644)
	})
}

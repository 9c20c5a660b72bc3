package main

import (
	"net/http"
	"os"
	"path/filepath"
	"time"

	"weft/builder/apt"
	"weft/builder/apt/store"
	"weft/builder/cache"
	"weft/builder/payload"
	"weft/builder/progress"

	"github.com/spf13/cobra"
)

// A supply is what the flags of verbs that fetch packages name.
type supply struct {
	mirror, lock string
	// offline says that nothing is fetched.
	offline bool
}

// flags adds the flags to cmd. lockHelp says where the lock is by default.
func (s *supply) flags(cmd *cobra.Command, lockHelp string) {
	cmd.Flags().StringVar(&s.mirror, "mirror", "", "Debian archive to fetch from (default WEFT_MIRROR, or the apt sources of this machine)")
	cmd.Flags().StringVar(&s.lock, "lock", "", lockHelp)
}

// source opens the cache and a source of packages on the mirror that is
// chosen by flag, environment or the machine's own sources. Without any of
// them the source works as long as everything is in the cache.
func (a *app) source(s supply) (*apt.Source, cache.Dir, progress.Display, error) {
	display := a.display()
	dir, err := cacheDir()
	if err != nil {
		return nil, cache.Dir{}, display, err
	}
	packages, err := store.Open(dir, time.Now(), a.log())
	if err != nil {
		return nil, cache.Dir{}, display, err
	}
	results, err := cache.Open(filepath.Join(dir, "results"))
	if err != nil {
		return nil, cache.Dir{}, display, err
	}
	// Without a mirror the error comes when something has to be fetched.
	mirror, origin, _ := apt.ChooseMirror(s.mirror, os.Getenv("WEFT_MIRROR"), os.DirFS("/"))
	if s.offline {
		mirror, origin = "", "--offline"
	}
	a.log().Debug("mirror", "address", mirror, "from", origin)
	source, err := apt.New(apt.Options{
		Mirror:   mirror,
		Cache:    packages,
		HTTP:     &http.Client{},
		Clock:    time.Now,
		Progress: display,
		Log:      a.log(),
	})
	return source, results, display, err
}

// payloads is where what profiles name by path or URL is fetched into: a folder
// of weft's cache.
func (a *app) payloads(display progress.Display) (*payload.Store, error) {
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return &payload.Store{Dir: filepath.Join(dir, "payloads"), Progress: display, Log: a.log()}, nil
}

// display shows the progress of downloads on the error output.
func (a *app) display() progress.Display {
	if f, ok := a.err.(*os.File); ok {
		return progress.For(f, os.Getenv("TERM") == "dumb")
	}
	return progress.NewLines(a.err, time.Now)
}

// cacheDir is the folder of the cache. That none is known is the fault of the
// environment weft was called with.
func cacheDir() (string, error) {
	dir, err := store.Dir(os.Getenv("WEFT_CACHE"))
	if err != nil {
		return "", inputError{err}
	}
	return dir, nil
}

// Package apt is a source of Debian packages that trusts nothing but the keys
// of the Debian archive: InRelease -> Packages -> .deb -> files.
//
// [Source.Resolve] looks packages up in a suite and pins them in a [Lock];
// [Source.Fetch] downloads and unpacks what a lock names, into a cache, and
// presents it as fs.FS. Once there is a lock, neither signature nor index is
// needed: the lock's checksums say all.
//
// It is not apt: it installs nothing, runs no maintainer script, and follows
// dependencies only from a kernel meta package to the packages that hold the
// kernel, and where a request says so ([Request.Closures]). It runs on Linux and macOS without privilege or external tools.
package apt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/sync/errgroup"

	"weft/builder/apt/deb"
	"weft/builder/apt/debfs"
	"weft/builder/apt/download"
	"weft/builder/apt/fault"
	"weft/builder/apt/keys"
	"weft/builder/apt/store"
	"weft/builder/progress"
)

const (
	// maxFetches is how many packages are fetched at a time.
	maxFetches = 4
	// maxUnpacks is how many are unpacked at a time. Each decodes on all
	// processors by itself and may need 64 MiB of memory.
	maxUnpacks = 2
)

// Options say where packages come from and where they are kept.
type Options struct {
	// Mirror is the address of a Debian archive: http, https or file URL, or
	// a directory; see [ChooseMirror]. It may be empty if all that is fetched
	// is in the cache.
	Mirror string
	// Cache keeps what was downloaded and unpacked.
	Cache *store.Store
	// HTTP makes the requests; nil for http.DefaultClient.
	HTTP *http.Client
	// Clock tells the time that the validity of files is checked against; nil
	// for time.Now.
	Clock func() time.Time
	// Progress shows downloads and unpacking; nil shows nothing.
	Progress progress.Reporter
	// Log is told what happens; nil discards.
	Log *slog.Logger
	// Keys are trusted to sign; nil for those of the Debian archive.
	Keys openpgp.EntityList
	// Pause waits between attempts to download; nil waits by the clock.
	Pause func(context.Context, time.Duration) error
}

// A Source fetches packages. Its methods may be called from several
// goroutines.
type Source struct {
	opt      Options
	mirror   *url.URL // nil if there is none
	noMirror error
	client   download.Client
	unpacks  chan struct{}
}

// New returns a source. A mirror's address that cannot be one is a fault of
// kind BadInput; an empty one is a fault only when something must be
// downloaded.
func New(opt Options) (*Source, error) {
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Progress == nil {
		opt.Progress = progress.Discard
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Source{opt: opt, unpacks: make(chan struct{}, maxUnpacks)}
	s.client = download.Client{HTTP: opt.HTTP, Log: opt.Log, Pause: opt.Pause}
	s.mirror, s.noMirror = parseMirror(opt.Mirror)
	if s.noMirror != nil && !errors.Is(s.noMirror, fault.NoMirror) {
		return nil, s.noMirror
	}
	return s, nil
}

// Index fetches and verifies the indexes of a suite, for arch and the
// components (main when none is given), and returns the date of the suite.
func (s *Source) Index(ctx context.Context, suite, arch string, components ...string) (*Index, time.Time, error) {
	if !packageName.MatchString(suite) || !packageName.MatchString(arch) {
		return nil, time.Time{}, fault.New(fault.BadInput, fmt.Sprintf("suite %q, architecture %q", suite, arch),
			"these are no names of a suite and an architecture", "name a suite such as trixie and an architecture such as amd64")
	}
	if s.mirror == nil {
		return nil, time.Time{}, s.noMirror
	}
	ring := s.opt.Keys
	if ring == nil {
		var err error
		if ring, err = keys.Debian(); err != nil {
			return nil, time.Time{}, err
		}
	}
	from := under(s.mirror, "dists/"+suite+"/InRelease")
	data, err := s.client.Bytes(ctx, from, maxInRelease)
	if errors.Is(err, fault.Missing) {
		err = &fault.Error{Kind: fault.Missing, Reason: "suite " + suite, Err: err}
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	release, err := readRelease(from.Redacted(), data, ring, suite, s.opt.Clock())
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(components) == 0 {
		components = []string{"main"}
	}
	x := &Index{suite: suite, arch: arch}
	for _, c := range components {
		text, err := s.packages(ctx, release, from.Redacted(), suite, c, arch)
		if err != nil {
			return nil, time.Time{}, err
		}
		x.parts = append(x.parts, indexPart{component: c, text: text})
	}
	return x, release.date, nil
}

// packages returns the reduced index of a component.
func (s *Source) packages(ctx context.Context, r *release, name, suite, component, arch string) ([]byte, error) {
	file, want, err := r.index(name, component, arch)
	if err != nil {
		return nil, err
	}
	if want.size > maxIndexFile {
		return nil, fault.New(fault.TooLarge, name, fmt.Sprintf("it announces %s with %d bytes, more than %d", file, want.size, maxIndexFile), "use another mirror")
	}
	plain := "dists/" + suite + "/" + file
	fetch := func(ctx context.Context, part string) error {
		task := s.opt.Progress.Start("download "+suite+" "+file, want.size, progress.Bytes)
		f := download.File{URL: under(s.mirror, plain), Size: want.size, SHA256: want.sha256, Written: task.Add}
		err := error(fault.Missing)
		if r.byHash {
			// The name by checksum stays valid while the mirror is updated.
			// Plain copies of an archive may lack it.
			f.URL = under(s.mirror, path.Dir(plain)+fmt.Sprintf("/by-hash/SHA256/%x", want.sha256))
			err = s.client.File(ctx, part, f)
		}
		if errors.Is(err, fault.Missing) {
			f.URL = under(s.mirror, plain)
			err = s.client.File(ctx, part, f)
		}
		task.Done(err)
		return err
	}
	return s.opt.Cache.Derived(ctx, reducedIndex, want.sha256, fetch,
		func(ctx context.Context, src *os.File, size int64, scratch *os.File) ([]byte, error) {
			return reduce(ctx, under(s.mirror, plain).Redacted(), src, size, scratch)
		})
}

// Fetch returns the files of a locked package. What is in the cache costs
// next to nothing; else the package is downloaded and unpacked. The caller
// closes it.
func (s *Source) Fetch(ctx context.Context, e Entry) (*debfs.Package, error) {
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	return s.opt.Cache.Package(ctx, s.item(e.Name, e.sum(), func(ctx context.Context, part string) error {
		return s.downloadEntry(ctx, e, part)
	}))
}

// checkEntry refuses an entry that did not come from [ReadLock] or
// [Source.Resolve] and is not safe to use.
func checkEntry(e Entry) error {
	p := Package{Name: e.Name, Version: e.Version, Arch: e.Arch, Path: e.Path, Size: e.Size}
	err := p.check()
	if err == nil {
		err = checkSum(e.SHA256)
	}
	if err != nil {
		return &fault.Error{Kind: fault.BadInput, File: "locked package " + e.Name, Reason: "it is not usable", Err: err,
			Fix: "make the lock anew: weft lock --update"}
	}
	return nil
}

// item describes a package to the cache.
func (s *Source) item(name string, sum [32]byte, fetch store.Fetch) store.Item {
	return store.Item{
		Name: name, SHA256: sum, Limits: deb.DefaultLimits, Fetch: fetch,
		Unpacking: func(ctx context.Context) (func(int), func(error), error) {
			select {
			case s.unpacks <- struct{}{}:
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
			task := s.opt.Progress.Start("unpack "+name, 0, progress.Bytes)
			written := func(n int) { task.Add(int64(n)) }
			return written, func(err error) { <-s.unpacks; task.Done(err) }, nil
		},
	}
}

// downloadEntry downloads a locked package to the path part.
func (s *Source) downloadEntry(ctx context.Context, e Entry, part string) error {
	if s.mirror == nil {
		return s.noMirror
	}
	task := s.opt.Progress.Start("download "+e.Name, e.Size, progress.Bytes)
	err := s.client.File(ctx, part, download.File{
		URL: under(s.mirror, e.Path), Size: e.Size, SHA256: e.sum(), Written: task.Add,
	})
	if errors.Is(err, fault.Missing) {
		err = &fault.Error{Kind: fault.Missing, File: under(s.mirror, e.Path).Redacted(),
			Reason: fmt.Sprintf("the mirror no longer has %s %s, which the lock names", e.Name, e.Version),
			Fix:    "run weft lock --update, or use a snapshot mirror that keeps old versions"}
	}
	task.Done(err)
	return err
}

// FetchAll fetches several packages at a time, and returns them in the order
// of the entries.
func (s *Source) FetchAll(ctx context.Context, entries []Entry) ([]*debfs.Package, error) {
	list := make([]*debfs.Package, len(entries))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(maxFetches)
	for i, e := range entries {
		group.Go(func() (err error) {
			list[i], err = s.Fetch(inner, e)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		for _, p := range list {
			if p != nil {
				p.Close()
			}
		}
		return nil, err
	}
	return list, nil
}

// Deb returns the files of a .deb file that a person has on this machine. It
// goes through the cache by its checksum, which is computed each time; no
// signature is checked.
func (s *Source) Deb(ctx context.Context, file string) (*debfs.Package, error) {
	sum, err := sumFile(file)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", file, err)
	}
	return s.opt.Cache.Package(ctx, s.item(filepath.Base(file), sum, func(ctx context.Context, part string) error {
		if err := copyFile(file, part); err != nil {
			return fmt.Errorf("package %s: %w", file, err)
		}
		if now, err := sumFile(part); err != nil || now != sum {
			return fault.New(fault.Tampered, file, "it changed while it was read", "run the build again")
		}
		return nil
	}))
}

// sumFile computes the SHA-256 of a file.
func sumFile(file string) (sum [32]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxDeb {
		return sum, errors.Join(err, fmt.Errorf("not a regular file of at most %d bytes: %w", int64(maxDeb), fs.ErrInvalid))
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, maxDeb)); err != nil {
		return sum, err
	}
	return [32]byte(hash.Sum(nil)), nil
}

// copyFile copies a file, at most as much as a package may have.
func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, io.LimitReader(src, maxDeb))
	if err == nil {
		err = dst.Sync()
	}
	if e := dst.Close(); err == nil {
		err = e
	}
	return err
}

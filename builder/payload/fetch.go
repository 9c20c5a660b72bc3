package payload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"weft/builder/apt/fault"
	"weft/builder/progress"
	"weft/builder/tree"
	"weft/document"
)

const (
	// MaxSize bounds one payload, in bytes. RKE2's archive of all images has
	// about 1 GB.
	MaxSize = 4 << 30
	// idle is how long a server may be silent.
	idle = 30 * time.Second
)

// A Store fetches payloads and keeps those from URLs in a folder, by their
// SHA-256.
type Store struct {
	// Dir is the folder; it is made when it is not there.
	Dir string
	// HTTP makes the requests; nil for http.DefaultClient.
	HTTP *http.Client
	// Progress is shown downloads; nil shows none.
	Progress progress.Reporter
	// Log is told of what is fetched anew; nil discards.
	Log *slog.Logger
	// Limit replaces MaxSize when it is not 0.
	Limit int64
}

// A File is a payload that is on this machine.
type File struct {
	Item
	// Content is what it holds; it knows its digest.
	Content tree.Digester
	// file is where it is.
	file string
}

// Open opens the file for reading at any place; the caller closes it.
func (f File) Open() (*os.File, error) { return os.Open(f.file) }

// All fetches payloads; those that are in the cache are only verified. folder
// tells where the path of a key of the profile begins. What is wrong with
// files that a person named comes back as [document.Problems], all at once.
func (s *Store) All(ctx context.Context, items []Item, folder func(path string) string, problem Problem) ([]File, error) {
	var files []File
	var problems document.Problems
	for _, item := range items {
		var f File
		var err error
		if item.Payload.Path != "" {
			f, err = local(item, folder(item.Path), s.limit())
		} else {
			f, err = s.remote(ctx, item)
		}
		var bad *badFile
		if errors.As(err, &bad) {
			problems = append(problems, problem(item.Path+bad.key, bad.message).WithFix(bad.fix))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("payload %s: %w", item.Name(), err)
		}
		files = append(files, f)
	}
	if err := problems.Errors(); err != nil {
		return nil, problems
	}
	return files, nil
}

// A badFile is what is wrong with a file that a person named.
type badFile struct{ key, message, fix string }

func (e *badFile) Error() string { return e.message }

func (s *Store) limit() int64 {
	if s.Limit > 0 {
		return s.Limit
	}
	return MaxSize
}

// local takes a file beside the profile.
func local(item Item, folder string, limit int64) (File, error) {
	name := item.Payload.Path
	if !filepath.IsAbs(name) {
		name = filepath.Join(folder, name)
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return File{}, &badFile{".path", fmt.Sprintf("there is no file %s", name), "a path begins at the folder of the profile it stands in"}
	case err != nil:
		return File{}, err
	case !info.Mode().IsRegular():
		return File{}, &badFile{".path", fmt.Sprintf("%s is no file", name), "name a file"}
	case info.Size() == 0 || info.Size() > limit:
		return File{}, &badFile{".path", fmt.Sprintf("%s has %d bytes; a payload has 1 to %d", name, info.Size(), limit), "look whether it was downloaded whole"}
	}
	sum, err := digest(name)
	if err != nil {
		return File{}, err
	}
	if item.SHA256 != nil && sum != *item.SHA256 {
		return File{}, &badFile{".sha256", fmt.Sprintf("%s has the SHA-256 %x", name, sum), "download it anew, or correct the digest"}
	}
	return File{Item: item, Content: content{name, info.Size(), sum}, file: name}, nil
}

// remote takes a file from the cache, or fetches it into the cache.
func (s *Store) remote(ctx context.Context, item Item) (File, error) {
	if item.SHA256 == nil {
		return File{}, errors.New("a URL without a digest") // Items refuses it
	}
	name := filepath.Join(s.Dir, hex.EncodeToString(item.SHA256[:]))
	sum, err := digest(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return File{}, err
	}
	if err != nil || sum != *item.SHA256 {
		if err == nil && s.Log != nil {
			s.Log.Warn("a cached payload does not match its SHA-256; fetching it anew", "payload", item.Name())
		}
		if err := s.fetch(ctx, item, name); err != nil {
			return File{}, err
		}
	}
	info, err := os.Stat(name)
	if err != nil {
		return File{}, err
	}
	return File{Item: item, Content: content{name, info.Size(), *item.SHA256}, file: name}, nil
}

// fetch downloads a payload to a path, whole or not at all.
func (s *Store) fetch(ctx context.Context, item Item, name string) (err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	part, err := os.CreateTemp(s.Dir, "*.part")
	if err != nil {
		return err
	}
	defer func() {
		part.Close()
		if err != nil {
			os.Remove(part.Name())
		}
	}()
	if err := s.download(ctx, item, part); err != nil {
		return err
	}
	if err := part.Sync(); err != nil {
		return err
	}
	return os.Rename(part.Name(), name)
}

// errSilent says that nothing came for too long.
var errSilent = errors.New("the server went silent")

// download writes what a server sends to out and verifies it.
func (s *Store) download(ctx context.Context, item Item, out io.Writer) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(idle, func() { cancel(errSilent) })
	defer timer.Stop()
	unreached := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if errors.Is(err, context.Canceled) {
			return err
		}
		return &fault.Error{Kind: fault.Network, File: item.Payload.URL, Reason: "cannot be downloaded", Err: err,
			Fix: "check the network; or download it on another machine and name it by path: in the profile"}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, item.Payload.URL, nil)
	if err != nil {
		return unreached(err)
	}
	request.Header.Set("User-Agent", "weft")
	request.Header.Set("Accept-Encoding", "identity")
	response, err := s.client().Do(request)
	if err != nil {
		return unreached(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return unreached(fmt.Errorf("the server answers %s", response.Status))
	}
	if response.ContentLength > s.limit() {
		return tooLarge(item, s.limit())
	}
	task := s.progress().Start("download "+item.Name(), max(response.ContentLength, 0), progress.Bytes)
	defer func() { task.Done(err) }()
	hash := sha256.New()
	alive := writerFunc(func(p []byte) (int, error) {
		timer.Reset(idle)
		task.Add(int64(len(p)))
		return len(p), nil
	})
	n, err := io.Copy(io.MultiWriter(out, hash, alive), io.LimitReader(response.Body, s.limit()+1))
	var disk *fs.PathError
	switch {
	case errors.As(err, &disk):
		return err
	case err != nil:
		return unreached(err)
	case n > s.limit():
		return tooLarge(item, s.limit())
	}
	if got := [32]byte(hash.Sum(nil)); got != *item.SHA256 {
		return fault.New(fault.Tampered, item.Payload.URL, fmt.Sprintf("what the server sent has the SHA-256 %x, and the profile says %x", got, *item.SHA256),
			"compare with the release page: correct the profile, or do not trust the server")
	}
	return nil
}

func tooLarge(item Item, limit int64) error {
	return fault.New(fault.TooLarge, item.Payload.URL, fmt.Sprintf("it is larger than %d bytes", limit), "check the URL")
}

// client is the HTTP client, which leaves https for nothing.
func (s *Store) client() *http.Client {
	client := http.Client{}
	if s.HTTP != nil {
		client = *s.HTTP
	}
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case r.URL.Scheme != "https":
			return fmt.Errorf("the server sends us to %s, which is not https", r.URL.Redacted())
		case len(via) >= 10:
			return errors.New("the server sends us on and on")
		}
		return nil
	}
	return &client
}

func (s *Store) progress() progress.Reporter {
	if s.Progress == nil {
		return progress.Discard
	}
	return s.Progress
}

// writerFunc is a function that is told what is written.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// digest is the SHA-256 of a file.
func digest(name string) (sum [32]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return sum, err
	}
	return [32]byte(hash.Sum(nil)), nil
}

// content is what a file on this machine holds.
type content struct {
	name string
	size int64
	sum  [32]byte
}

var _ tree.Digester = content{}

func (c content) Size() int64                  { return c.size }
func (c content) Open() (io.ReadCloser, error) { return os.Open(c.name) }
func (c content) Digest() [32]byte             { return c.sum }

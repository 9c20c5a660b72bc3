package download

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/builder/apt/fault"
)

// content is what the test server has.
var content = func() []byte {
	out := make([]byte, 300_000)
	random := rand.NewChaCha8([32]byte{})
	random.Read(out)
	return out
}()

// A mirror answers the n-th request, from 0 on, with its n-th answer; the
// last one goes on for ever.
type mirror struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	answers  []http.HandlerFunc
}

func serve(t *testing.T, answers ...http.HandlerFunc) *mirror {
	m := &mirror{answers: answers}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		answer := m.answers[min(len(m.requests), len(m.answers)-1)]
		m.requests = append(m.requests, r)
		m.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// seen returns the requests so far, and forgets them.
func (m *mirror) seen() []*http.Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.requests
	m.requests = nil
	return list
}

// whole serves data as a good server does, with ranges and a validator.
func whole(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// bare serves data without validator, as some caches do.
func bare(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// cut serves the first n bytes of what next serves, and hangs up.
func cut(n int, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		next(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// status answers with an HTTP status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// client waits for nothing and remembers the pauses.
func client(pauses *[]time.Duration) *Client {
	return &Client{
		Jitter: func() float64 { return 0 },
		Pause: func(ctx context.Context, d time.Duration) error {
			if pauses != nil {
				*pauses = append(*pauses, d)
			}
			return ctx.Err()
		},
	}
}

func fileAt(t *testing.T, address string) File {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return File{URL: u, Size: int64(len(content)), SHA256: sha256.Sum256(content)}
}

func part(t *testing.T) string { return filepath.Join(t.TempDir(), "file.part") }

// wantContent checks the downloaded file.
func wantContent(t *testing.T, path string, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := os.Stat(path + validatorSuffix); err == nil {
		t.Error("the validator stayed behind")
	}
}

func TestAWholeDownload(t *testing.T) {
	m := serve(t, whole(content))
	f, path := fileAt(t, m.URL+"/pool/a+b~1.deb"), part(t)
	var sum int64
	f.Written = func(n int64) { sum += n }
	wantContent(t, path, client(nil).File(t.Context(), path, f))
	if r := m.seen()[0]; sum != f.Size || r.URL.Path != "/pool/a+b~1.deb" || r.Header.Get("Range") != "" {
		t.Errorf("reported %d; request %v", sum, r)
	}
}

func TestACutConnectionIsResumed(t *testing.T) {
	for name, good := range map[string]http.HandlerFunc{"with ETag": whole(content), "without": bare(content)} {
		t.Run(name, func(t *testing.T) {
			m := serve(t, cut(100_000, good), cut(100_000, good), good)
			path := part(t)
			wantContent(t, path, client(nil).File(t.Context(), path, fileAt(t, m.URL)))
			var ranges []string
			requests := m.seen()
			for _, r := range requests {
				ranges = append(ranges, r.Header.Get("Range"))
			}
			if got := strings.Join(ranges, " "); got != " bytes=100000- bytes=200000-" {
				t.Errorf("asked for %q", got)
			}
			if tag := requests[1].Header.Get("If-Range"); (tag != "") != (name == "with ETag") {
				t.Errorf("If-Range %q", tag)
			}
		})
	}
}

func TestALaterRunResumesAnEarlierOne(t *testing.T) {
	m := serve(t, cut(100_000, whole(content)), status(503))
	path := part(t)
	c := client(nil)
	c.Attempts = 2
	if err := c.File(t.Context(), path, fileAt(t, m.URL)); !errors.Is(err, fault.Network) {
		t.Fatalf("got %v", err)
	}
	m.seen()
	m.mu.Lock()
	m.answers = []http.HandlerFunc{whole(content)}
	m.mu.Unlock()
	f := fileAt(t, m.URL)
	var reported []int64
	f.Written = func(n int64) { reported = append(reported, n) }
	wantContent(t, path, client(nil).File(t.Context(), path, f))
	if r := m.seen()[0]; r.Header.Get("Range") != "bytes=100000-" || r.Header.Get("If-Range") == "" {
		t.Errorf("asked for %v", r.Header)
	}
	if reported[0] != 100_000 {
		t.Errorf("reported %v", reported[:1])
	}
}

func TestAFileThatChangedMeanwhileIsFetchedWhole(t *testing.T) {
	other := bytes.Repeat([]byte("old contents "), 30_000)[:len(content)]
	for name, c := range map[string][]http.HandlerFunc{
		"the mirror says so by ETag":  {cut(100_000, whole(other)), whole(content)},
		"only the checksum shows it":  {cut(100_000, bare(other)), bare(content)},
		"a server without ranges":     {cut(100_000, whole(content)), func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }},
		"a range that is not allowed": {cut(100_000, whole(content)), status(416), whole(content)},
	} {
		t.Run(name, func(t *testing.T) {
			m := serve(t, c...)
			path, f := part(t), fileAt(t, m.URL)
			var sum int64
			f.Written = func(n int64) { sum += n }
			wantContent(t, path, client(nil).File(t.Context(), path, f))
			if sum != f.Size {
				t.Errorf("reported %d bytes of %d", sum, f.Size)
			}
		})
	}
}

func TestABeginningThatIsTooLongIsGivenUp(t *testing.T) {
	m := serve(t, whole(content))
	path := part(t)
	if err := os.WriteFile(path, make([]byte, len(content)+5), 0o644); err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, client(nil).File(t.Context(), path, fileAt(t, m.URL)))
}

func TestAWholeBeginningNeedsNoRequest(t *testing.T) {
	path := part(t)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, client(nil).File(t.Context(), path, fileAt(t, "http://127.0.0.1:1/")))
}

func TestPassingFaultsAreTriedAgainWithGrowingPauses(t *testing.T) {
	m := serve(t, status(503), status(502), status(429), status(500), whole(content))
	var pauses []time.Duration
	path := part(t)
	wantContent(t, path, client(&pauses).File(t.Context(), path, fileAt(t, m.URL)))
	if fmt.Sprint(pauses) != "[500ms 1s 2s 4s]" {
		t.Errorf("paused %v", pauses)
	}
}

func TestHeadwayEarnsNewAttempts(t *testing.T) {
	answers := make([]http.HandlerFunc, 0, 12)
	for range 11 {
		answers = append(answers, cut(20_000, whole(content)))
	}
	m := serve(t, append(answers, whole(content))...)
	var pauses []time.Duration
	path := part(t)
	wantContent(t, path, client(&pauses).File(t.Context(), path, fileAt(t, m.URL)))
	if len(pauses) != 11 || pauses[10] != firstPause {
		t.Errorf("paused %v", pauses)
	}
}

func TestJitterShortensPausesByUpToAHalf(t *testing.T) {
	c := Client{Jitter: func() float64 { return 1 }}
	if got := c.pause(1); got != firstPause/2 {
		t.Errorf("got %v", got)
	}
	if got := c.pause(40); got != lastPause/2 {
		t.Errorf("the pause after forty failures is %v", got)
	}
}

func TestFaultsThatStayAreExplained(t *testing.T) {
	larger := append(bytes.Clone(content), "more"...)
	tampered := bytes.Clone(content)
	tampered[1000] ^= 1
	noLength := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(data)
		}
	}
	for name, c := range map[string]struct {
		answer   http.HandlerFunc
		kind     fault.Kind
		text     string
		requests int
	}{
		"404":                    {status(404), fault.Missing, "does not have it", 1},
		"403":                    {status(403), fault.Network, "refuses you", 1},
		"407":                    {status(407), fault.Network, "http_proxy", 1},
		"503 for ever":           {status(503), fault.Network, "503 Service Unavailable", 5},
		"larger, announced":      {whole(larger), fault.TooLarge, "300004 bytes", 1},
		"larger, not announced":  {noLength(larger), fault.TooLarge, "more than the 300000 bytes", 1},
		"shorter, announced":     {whole(content[:1000]), fault.Tampered, "it has 1000 bytes", 1},
		"shorter, not announced": {noLength(content[:1000]), fault.Network, "unexpected EOF", 5},
		"tampered":               {whole(tampered), fault.Tampered, "SHA-256", 1},
		"partial answer unasked": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(206)
		}, fault.Network, "from 7 on", 5},
		"nonsense in the range":   {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Range", "x"); w.WriteHeader(206) }, fault.Network, "Content-Range", 5},
		"redirected in circles":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, fault.Network, "redirects", 50},
		"hangs up without a word": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Network, "EOF", 5},
	} {
		t.Run(name, func(t *testing.T) {
			m := serve(t, c.answer)
			err := client(nil).File(t.Context(), part(t), fileAt(t, m.URL))
			var f *fault.Error
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || !errors.As(err, &f) || f.Fix == "" {
				t.Errorf("got %v, want %v with %q and a fix", err, c.kind, c.text)
			}
			if n := len(m.seen()); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
		})
	}
}

func TestASilentMirrorIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, answer := range map[string]http.HandlerFunc{
		"before the answer": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		},
		"in the middle": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:1000])
			w.(http.Flusher).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := serve(t, answer)
			c := client(nil)
			c.Idle, c.Attempts = 50*time.Millisecond, 1
			err := c.File(t.Context(), part(t), fileAt(t, m.URL))
			if !errors.Is(err, errIdle) || !errors.Is(err, fault.Network) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCancellingEndsADownloadAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted by a person")
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(content[:1000])
		w.(http.Flusher).Flush()
		cancel(stop)
		<-r.Context().Done()
	})
	if err := client(nil).File(ctx, part(t), fileAt(t, m.URL)); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if n := len(m.seen()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestCertificatesThatAreNotTrustedAreNotTriedAgain(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	var pauses []time.Duration
	err := client(&pauses).File(t.Context(), part(t), fileAt(t, server.URL))
	if !errors.Is(err, fault.Network) || !strings.Contains(err.Error(), "CA certificates") || len(pauses) > 0 {
		t.Errorf("got %v after %v", err, pauses)
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	m := serve(t, status(403))
	f := fileAt(t, m.URL)
	f.URL.User = url.UserPassword("user", "secret")
	err := client(nil).File(t.Context(), part(t), f)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	if _, password, _ := m.seen()[0].BasicAuth(); password != "secret" {
		t.Error("the password was not sent")
	}
}

func TestCompressedTransfersAreNotAskedFor(t *testing.T) {
	m := serve(t, whole(content))
	path := part(t)
	wantContent(t, path, client(nil).File(t.Context(), path, fileAt(t, m.URL)))
	if got := m.seen()[0].Header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("Accept-Encoding %q", got)
	}
}

func TestLocalMirrors(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a b+c~1.deb")
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f := fileAt(t, "file:///")
	f.URL = &url.URL{Scheme: "file", Path: name}
	path := part(t)
	if err := os.WriteFile(path, content[:1234], 0o644); err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, client(nil).File(t.Context(), path, f))

	f.URL = &url.URL{Scheme: "file", Path: filepath.Join(dir, "none")}
	if err := client(nil).File(t.Context(), part(t), f); !errors.Is(err, fault.Missing) {
		t.Errorf("missing file: %v", err)
	}
	f.URL = &url.URL{Scheme: "file", Path: dir}
	if err := client(nil).File(t.Context(), part(t), f); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestSmallFilesHaveALimit(t *testing.T) {
	m := serve(t, whole(content))
	u, _ := url.Parse(m.URL)
	if got, err := client(nil).Bytes(t.Context(), u, int64(len(content))); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := client(nil).Bytes(t.Context(), u, int64(len(content))-1); !errors.Is(err, fault.TooLarge) {
		t.Errorf("got %v", err)
	}
	m = serve(t, cut(10, whole(content)), status(500), whole(content))
	u, _ = url.Parse(m.URL)
	if got, err := client(nil).Bytes(t.Context(), u, 1<<20); err != nil || !bytes.Equal(got, content) {
		t.Errorf("after two failures: %d bytes, %v", len(got), err)
	}
}

func TestADiskThatCannotBeWrittenIsNotTheMirrorsFault(t *testing.T) {
	m := serve(t, whole(content))
	var pauses []time.Duration
	err := client(&pauses).File(t.Context(), filepath.Join(t.TempDir(), "none", "file"), fileAt(t, m.URL))
	if err == nil || errors.Is(err, fault.Network) || len(pauses) > 0 {
		t.Errorf("got %v after %v", err, pauses)
	}
}

// FuzzContentRange reads what a server may say.
func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 5-9/*")
	f.Fuzz(func(t *testing.T, text string) {
		first, total, err := contentRange(text)
		if err == nil && (first < 0 || total < -1) {
			t.Errorf("%q gives %d of %d", text, first, total)
		}
	})
}

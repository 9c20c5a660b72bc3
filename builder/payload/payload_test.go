package payload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"weft/builder/apt/fault"
	"weft/builder/progress"
	"weft/document"
	"weft/profiles"
)

// problem makes problems that point into no file.
func problem(path, message string) document.Problem {
	return document.Problem{Message: path + ": " + message}
}

// compiled is a tiny static program for an architecture, made by the Go
// toolchain.
func compiled(t testing.TB, arch string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "k3s.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"k3s\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "k3s")
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", name, source)...)
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "GOOS=linux", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// sumOf is the SHA-256 of a file, in hexadecimal.
func sumOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// profile is one with K3s and some payloads.
func profile(payloads ...profiles.Payload) profiles.Profile {
	return profiles.Profile{Kubernetes: profiles.Kubernetes{Distribution: profiles.K3s, Payload: payloads}}
}

// all lists and fetches the payloads of a profile.
func all(t *testing.T, s *Store, p profiles.Profile, dir string) ([]File, error) {
	t.Helper()
	items, problems := Items(p, "amd64", problem)
	if problems.Errors() != nil {
		return nil, problems
	}
	return s.All(t.Context(), items, func(string) string { return dir }, problem)
}

func TestURLIsFetchedOnceAndVerified(t *testing.T) {
	body := bytes.Repeat([]byte("k3s "), 1<<18)
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	}))
	defer server.Close()
	seen := &reports{}
	s := &Store{Dir: t.TempDir(), HTTP: server.Client(), Progress: seen}
	p := profile(profiles.Payload{URL: server.URL + "/v1/k3s?x=1", SHA256: sumOf(body)})
	for range 2 {
		files, err := all(t, s, p, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 1 || files[0].To != "usr/local/bin/k3s" || files[0].Content.Size() != int64(len(body)) {
			t.Fatalf("got %+v", files)
		}
	}
	if asked.Load() != 1 || seen.name != "download k3s" || seen.total != int64(len(body)) || seen.added != int64(len(body)) {
		t.Errorf("asked %d times, shown %+v", asked.Load(), seen)
	}
	name := filepath.Join(s.Dir, sumOf(body))
	if err := os.WriteFile(name, []byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := all(t, s, p, ""); err != nil || asked.Load() != 2 {
		t.Errorf("a rotten file of the cache: %v, asked %d times", err, asked.Load())
	}
	left, err := filepath.Glob(filepath.Join(s.Dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the cache holds %v", left)
	}
	server.Close()
	if _, err := all(t, s, p, ""); err != nil {
		t.Errorf("without a network: %v", err)
	}
}

// reports remembers what was shown.
type reports struct {
	name         string
	total, added int64
}

func (r *reports) Start(name string, total int64, _ progress.Unit) progress.Task {
	r.name, r.total = name, total
	return r
}
func (r *reports) Add(n int64) { r.added += n }
func (r *reports) Done(error)  {}

func TestDownloadsThatAreRefusedLeaveNothing(t *testing.T) {
	body := []byte("what the server has")
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	cases := []struct {
		name    string
		handler http.HandlerFunc
		sum     string
		kind    fault.Kind
		want    string
	}{
		{"another file", func(w http.ResponseWriter, r *http.Request) { w.Write(body) }, sumOf([]byte("x")), fault.Tampered, "the profile says"},
		{"not there", http.NotFound, sumOf(body), fault.Network, "404"},
		{"too large, as it says", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			w.Write(make([]byte, 5000))
		}, sumOf(body), fault.TooLarge, "larger than 1000 bytes"},
		{"too large, unsaid", func(w http.ResponseWriter, r *http.Request) {
			for range 10 {
				w.Write(make([]byte, 500))
				w.(http.Flusher).Flush()
			}
		}, sumOf(body), fault.TooLarge, "larger than 1000 bytes"},
		{"cut off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "900")
			w.Write(body)
			panic(http.ErrAbortHandler)
		}, sumOf(body), fault.Network, "EOF"},
		{"away from https", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }, sumOf(body), fault.Network, "not https"},
		{"in a circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, sumOf(body), fault.Network, "on and on"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(c.handler)
			server.Config.ErrorLog = nil
			server.StartTLS()
			defer server.Close()
			s := &Store{Dir: t.TempDir(), HTTP: server.Client(), Limit: 1000}
			_, err := all(t, s, profile(profiles.Payload{URL: server.URL + "/k3s", SHA256: c.sum}), "")
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "\nfix: ") {
				t.Errorf("got %v", err)
			}
			if left, _ := os.ReadDir(s.Dir); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestWithoutANetworkTheWayOutIsTold(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	client := server.Client()
	server.Close()
	s := &Store{Dir: t.TempDir(), HTTP: client}
	_, err := all(t, s, profile(profiles.Payload{URL: server.URL + "/k3s", SHA256: sumOf(nil)}), "")
	if !errors.Is(err, fault.Network) || !strings.Contains(err.Error(), "payload k3s") || !strings.Contains(err.Error(), "name it by path:") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	items, _ := Items(profile(profiles.Payload{URL: server.URL + "/k3s", SHA256: sumOf(nil)}), "amd64", problem)
	if _, err := s.All(ctx, items, nil, problem); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestFilesBesideTheProfile(t *testing.T) {
	dir := t.TempDir()
	data := []byte("a program")
	for name, data := range map[string][]byte{"k3s": data, "empty": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := all(t, &Store{}, profile(profiles.Payload{Path: "./k3s", SHA256: sumOf(data)}), dir)
	if err != nil || len(files) != 1 || files[0].Content.Digest() != sha256.Sum256(data) {
		t.Fatalf("%+v %v", files, err)
	}
	for name, c := range map[string]struct {
		payload profiles.Payload
		want    string
	}{
		"missing": {profiles.Payload{Path: "k3d"}, ".path: there is no file"},
		"folder":  {profiles.Payload{Path: ".", Name: "x"}, "is no file"},
		"empty":   {profiles.Payload{Path: "empty"}, "has 0 bytes"},
		"changed": {profiles.Payload{Path: "k3s", SHA256: sumOf(nil)}, ".sha256: "},
	} {
		_, err := all(t, &Store{}, profile(c.payload), dir)
		var problems document.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestItems(t *testing.T) {
	p := profile(profiles.Payload{Path: "k3s-arm64", Arch: "arm64"}, profiles.Payload{Path: "../k3s"}, profiles.Payload{Path: "tool"})
	p.Kubernetes.Images = []profiles.Payload{{Path: "k3s-airgap-images-amd64.tar.zst"}}
	p.Kubernetes.Manifests = []profiles.Payload{{Path: "x.yaml"}}
	p.Services = []profiles.Service{{Name: "exporter", Program: profiles.Payload{Path: "bin/node_exporter"}}}
	items, problems := Items(p, "amd64", problem)
	var got []string
	for _, i := range items {
		got = append(got, i.Path+"="+i.To)
	}
	want := "kubernetes.payload[1]=usr/local/bin/k3s kubernetes.payload[2]=usr/local/bin/tool " +
		"kubernetes.images[0]=usr/share/weft/images/k3s-airgap-images-amd64.tar.zst " +
		"kubernetes.manifests[0]=usr/share/weft/manifests/x.yaml services[0].program=usr/local/bin/exporter"
	if strings.Join(got, " ") != want || problems != nil {
		t.Errorf("got %s\n%v", strings.Join(got, " "), problems)
	}
	if Missing(p, "amd64", problem) != nil || Missing(p, "arm64", problem) != nil || Missing(profile(), "amd64", problem) == nil || Missing(profiles.Profile{}, "amd64", problem) != nil {
		t.Error("what is missing is told wrongly")
	}
}

func TestItemsAreRefusedByName(t *testing.T) {
	good := strings.Repeat("0a", 32)
	for name, c := range map[string]struct {
		change func(*profiles.Kubernetes)
		want   string
	}{
		"nothing": {func(k *profiles.Kubernetes) { k.Payload = []profiles.Payload{{Name: "k3s"}} }, "neither a path nor a URL"},
		"both": {func(k *profiles.Kubernetes) {
			k.Payload = []profiles.Payload{{Path: "a", URL: "https://a/b", SHA256: good}}
		}, "a path and a URL"},
		"http":        {func(k *profiles.Kubernetes) { k.Payload = []profiles.Payload{{URL: "http://a/b", SHA256: good}} }, "by https"},
		"login":       {func(k *profiles.Kubernetes) { k.Payload = []profiles.Payload{{URL: "https://u:p@a/b", SHA256: good}} }, "by https"},
		"no digest":   {func(k *profiles.Kubernetes) { k.Payload = []profiles.Payload{{URL: "https://a/b"}} }, "needs its SHA-256"},
		"bad digest":  {func(k *profiles.Kubernetes) { k.Payload = []profiles.Payload{{Path: "a", SHA256: "12"}} }, "no SHA-256"},
		"bad name":    {func(k *profiles.Kubernetes) { k.Payload = []profiles.Payload{{Path: "a", Name: "../init"}} }, "no name for a file"},
		"twice":       {func(k *profiles.Kubernetes) { k.Payload = []profiles.Payload{{Path: "a/x"}, {Path: "b/x"}} }, "is the place of kubernetes.payload[0] too"},
		"no archive":  {func(k *profiles.Kubernetes) { k.Images = []profiles.Payload{{Path: "images.zip"}} }, "no archive of images"},
		"no manifest": {func(k *profiles.Kubernetes) { k.Manifests = []profiles.Payload{{Path: "my_app.yaml"}} }, "no manifest"},
	} {
		p := profile()
		c.change(&p.Kubernetes)
		_, problems := Items(p, "amd64", problem)
		if len(problems) != 1 || !strings.Contains(problems.Error(), c.want) || problems[0].Fix == "" {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

func TestPrograms(t *testing.T) {
	static := compiled(t, "amd64")
	other := compiled(t, "arm64")
	check := func(name, arch string, has ...string) error {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return CheckProgram(f, arch, func(path string) bool { return strings.Contains(strings.Join(has, " "), path) })
	}
	if err := check(static, "amd64"); err != nil {
		t.Errorf("a static program: %v", err)
	}
	if err := check(other, "arm64"); err != nil {
		t.Errorf("a static program for arm64: %v", err)
	}
	wrong := func(err error, words ...string) {
		t.Helper()
		var bad *ProgramError
		if !errors.As(err, &bad) || bad.Fix == "" {
			t.Errorf("got %v", err)
			return
		}
		for _, w := range words {
			if !strings.Contains(bad.Reason, w) {
				t.Errorf("no %q in %q", w, bad.Reason)
			}
		}
	}
	wrong(check(other, "amd64"), "for arm64", "the board is amd64")
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	wrong(check(sh, "amd64"), "not static", "ld-linux-x86-64.so.2", "libc.so.6")
	if err := check(sh, "amd64", "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6"); err != nil {
		t.Errorf("a program whose libraries are there: %v", err)
	}
	for head, want := range map[string]string{
		"#!/bin/sh\n": "a script", "\x1f\x8b\x08": "compressed", "<!DOCTYPE html>": "web page", "hello": "no ELF", "\x7fELF\x02\x01\x01": "damaged",
	} {
		wrong(CheckProgram(strings.NewReader(head), "amd64", nil), want)
	}
}

func FuzzCheckProgram(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add([]byte("#!/bin/sh\n"))
	data, err := os.ReadFile(compiled(f, "arm64", "-ldflags=-s -w"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:4096])
	f.Fuzz(func(t *testing.T, data []byte) {
		err := CheckProgram(bytes.NewReader(data), "amd64", func(string) bool { return false })
		var bad *ProgramError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("not said why: %v", err)
		}
	})
}

package status

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// serving starts a server and returns its socket and its loopback URL.
func serving(t *testing.T, s Server) (socket, url string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "status") // short: the path of a unix socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "sock")
	listeners, err := Listen(socket, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("server ended with %v", err)
		}
	})
	return socket, "http://" + listeners[1].Addr().String()
}

func answering() Server {
	return Server{
		Report: func(bool) Report { return Build(facts()) },
		Explain: func(to string) (any, error) {
			if to == "" {
				return nil, errors.New("write an address")
			}
			return map[string]string{"target": to}, nil
		},
		Rotate: func(context.Context) (string, error) { return "begun", nil },
	}
}

func TestRequestsAndWhatTheyAnswer(t *testing.T) {
	_, url := serving(t, answering())
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/readyz", 200, "ok"},
		{"GET", "/metrics", 200, "netd_ready 1"},
		{"GET", "/explain?to=10.0.0.1", 200, "10.0.0.1"},
		{"GET", "/explain", 400, "write an address"},
		{"GET", "/explain?to=" + strings.Repeat("1", 300), 414, "longer than 256 bytes"},
		{"GET", "/status?" + strings.Repeat("a", 20000), 431, ""},
		{"POST", "/status", 405, ""},
		{"GET", "/etc/passwd", 404, ""},
		{"POST", "/rotate", 404, ""}, // only on the socket
	} {
		request, err := http.NewRequest(c.method, url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.code || !strings.Contains(string(body), c.says) {
			t.Errorf("%s %.40s: %d %.80s, want %d and %q", c.method, c.path, response.StatusCode, body, c.code, c.says)
		}
	}
}

func TestOnlyTheSocketTakesOrders(t *testing.T) {
	socket, _ := serving(t, answering())
	body, err := Client{socket}.Ask(context.Background(), http.MethodPost, "/rotate")
	if err != nil || string(body) != "begun\n" {
		t.Errorf("answer is %q, %v", body, err)
	}
}

// Connections that say nothing cannot keep others out for good.
func TestSilentConnectionsAreBounded(t *testing.T) {
	_, url := serving(t, answering())
	address := strings.TrimPrefix(url, "http://")
	var silent []net.Conn
	for range 2 * maxConns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	refused := 0
	for _, c := range slices.Backward(silent) { // the first ones were taken
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			refused++
		}
		if refused >= maxConns {
			break
		}
	}
	if refused < maxConns {
		t.Errorf("%d connections of %d were refused, want %d", refused, 2*maxConns, maxConns)
	}
	for _, c := range silent {
		c.Close()
	}
	// That they are gone is noticed as soon as the server reads.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		response, err := http.Get(url + "/healthz")
		if err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestOnlyALeftSocketIsReplaced: nothing else at the path is netd's to remove.
func TestOnlyALeftSocketIsReplaced(t *testing.T) {
	dir, err := os.MkdirTemp("", "status")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "sock")
	refused := func(listen, says string) {
		t.Helper()
		listeners, err := Listen(path, listen)
		for _, l := range listeners {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "fix: ") {
			t.Errorf("Listen: %v; want one that says %q and a fix", err, says)
		}
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("", "no socket")
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Fatalf("the file now holds %q", text)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listeners, err := Listen(path, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused("", fmt.Sprintf("(process %d) listens on %s", os.Getpid(), path))
	refused(listeners[1].Addr().String(), "address already in use")
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first one's socket is gone: %v", err)
	}
	c.Close()
	// Killed: the socket is left, and nobody listens.
	listeners[0].(*net.UnixListener).SetUnlinkOnClose(false)
	for _, l := range listeners {
		l.Close()
	}
	if listeners, err = Listen(path, ""); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	listeners[0].Close()
}

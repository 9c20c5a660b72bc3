package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"weft/netd/alone"
)

// A Server answers on a unix socket and, if asked, on a loopback address:
//
//	/healthz      200 while netd works
//	/readyz       200 when everything wanted is in the kernel, otherwise 503 and why
//	/metrics      Prometheus text
//	/status       the [Report] as JSON
//	/explain?to=  where a packet to an address goes, as JSON
//
// and on the socket alone, which only root can write to:
//
//	POST /rotate  replace the node's WireGuard key
type Server struct {
	// Report makes a report; full asks for the kernel's state too.
	Report func(full bool) Report
	// Explain says where a packet goes; its error says what is wrong with the
	// question. Not answered when nil.
	Explain func(to string) (any, error)
	// Rotate starts to replace the key and returns what to tell; its error
	// says why it cannot. Not answered when nil.
	Rotate func(context.Context) (string, error)
}

// Limits of the server: it answers a handful of readers, and nobody who does
// not read or write on gets to hold more than this.
const (
	maxConns   = 32
	maxHeader  = 8 << 10 // bytes
	maxQuery   = 256     // bytes
	readTime   = 5 * time.Second
	writeTime  = 30 * time.Second
	idleTime   = time.Minute
	socketMode = 0o600
)

// Listen opens the unix socket at path and, unless it is empty, the loopback
// address listen. A socket left by a killed netd is replaced; one that somebody
// listens on is not, nor is anything else that has its name. The socket is
// root's alone.
func Listen(path, listen string) ([]net.Listener, error) {
	// The address comes first: it may be taken, and then nothing is changed.
	var tcp []net.Listener
	if listen != "" {
		l, err := listenLoopback(listen)
		if err != nil {
			return nil, fmt.Errorf("status address %s: %w", listen, err)
		}
		tcp = append(tcp, l)
	}
	unix, err := listenUnix(path)
	if err != nil {
		for _, l := range tcp {
			l.Close()
		}
		return nil, fmt.Errorf("status socket: %w", err)
	}
	return append([]net.Listener{unix}, tcp...), nil
}

func listenLoopback(listen string) (net.Listener, error) {
	address, err := netip.ParseAddrPort(listen)
	if err != nil {
		return nil, err
	}
	if !address.Addr().IsLoopback() {
		return nil, errors.New("only loopback addresses are served; write 127.0.0.1:PORT")
	}
	l, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; fix: end what listens there, or write another port as listen", err)
	}
	return l, err
}

func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := makeRoom(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// makeRoom removes the socket that a killed netd has left at path.
func makeRoom(path string) error {
	const wayOut = "fix: write another path as paths.socket"
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and no socket; %s, or remove it", path, wayOut)
	}
	owner, err := alone.OwnerOf(path)
	switch {
	case err == nil:
		return fmt.Errorf("%s listens on %s; %s, or end that process", owner, path, wayOut)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s may be in use: %w; %s", path, err, wayOut)
	}
	return os.Remove(path)
}

// Serve answers on listeners until ctx ends, and closes them.
func (s Server) Serve(ctx context.Context, listeners []net.Listener) error {
	failures := make(chan error, len(listeners))
	var servers []*http.Server
	for _, l := range listeners {
		server := &http.Server{Handler: s.handler(l.Addr().Network() == "unix"), MaxHeaderBytes: maxHeader,
			ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime}
		servers = append(servers, server)
		go func() { failures <- server.Serve(&limited{Listener: l, free: make(chan struct{}, maxConns)}) }()
	}
	end := func() error {
		var all []error
		for _, server := range servers {
			all = append(all, server.Close())
		}
		return errors.Join(all...)
	}
	select {
	case <-ctx.Done():
		return end()
	case err := <-failures:
		return errors.Join(fmt.Errorf("status server: %w", err), end())
	}
}

// limited accepts no more connections than free has room for.
type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &counted{Conn: c, done: func() { <-l.free }}, nil
		default: // too many; the reader may come again
			c.Close()
		}
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	done func()
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	if err == nil { // closing again is an error
		c.done()
	}
	return err
}

func (s Server) handler(trusted bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := s.Report(true)
		if !r.Ready {
			http.Error(w, fmt.Sprintf("%s\nfix: %s", clean(r.Reason), clean(r.Fix)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		io.WriteString(w, Metrics(s.Report(false)))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Report(true)) })
	if s.Explain != nil {
		mux.HandleFunc("GET /explain", func(w http.ResponseWriter, r *http.Request) {
			a, err := s.Explain(r.URL.Query().Get("to"))
			if err != nil {
				http.Error(w, clean(err.Error()), http.StatusBadRequest)
				return
			}
			answer(w, a)
		})
	}
	if s.Rotate != nil && trusted {
		mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, r *http.Request) {
			text, err := s.Rotate(r.Context())
			if err != nil {
				http.Error(w, clean(err.Error()), http.StatusConflict)
				return
			}
			fmt.Fprintln(w, text)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.RawQuery) > maxQuery {
			http.Error(w, fmt.Sprintf("the query is longer than %d bytes", maxQuery), http.StatusRequestURITooLong)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 0) // nothing here takes a body
		mux.ServeHTTP(w, r)
	})
}

// answer writes JSON.
func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value) // fails when the asker has gone
}

// maxAnswer limits what is read of an answer: the report of 5,000 peers with
// the kernel's state is about 10 MB.
const maxAnswer = 256 << 20

// A Client asks the netd whose socket is at Socket.
type Client struct{ Socket string }

// Ask sends a request and returns the body of the answer; an answer that is
// no success is an error with what it says.
func (c Client) Ask(ctx context.Context, method, path string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
		}}}
	request, err := http.NewRequestWithContext(ctx, method, "http://netd"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("ask netd at %s: %w; run it as root", c.Socket, errors.Unwrap(err))
		}
		return nil, fmt.Errorf("ask netd at %s: %w; is it running?", c.Socket, errors.Unwrap(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of netd at %s: %w", c.Socket, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(clean(strings.TrimSpace(string(body))))
	}
	return body, nil
}

// Fetch asks the netd whose socket is at path for its report.
func Fetch(ctx context.Context, path string) (Report, error) {
	var r Report
	body, err := Client{path}.Ask(ctx, http.MethodGet, "/status")
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Report{}, fmt.Errorf("read the report of netd at %s: %w", path, err)
	}
	return r, nil
}

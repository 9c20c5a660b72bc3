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
	"time"
)

// A Server answers on a unix socket and, if asked, on a loopback address:
//
//	/healthz  200 while netd works
//	/readyz   200 when everything wanted is in the kernel, otherwise 503 and why
//	/metrics  Prometheus text
//	/status   the [Report] as JSON
type Server struct {
	// Report makes a report; full asks for the kernel's state too.
	Report func(full bool) Report
}

// Listen opens the unix socket at path and, unless it is empty, the loopback
// address listen. A socket left by a killed netd is replaced.
func Listen(path, listen string) ([]net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	unix, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	listeners := []net.Listener{unix}
	if listen == "" {
		return listeners, nil
	}
	address, err := netip.ParseAddrPort(listen)
	if err == nil && !address.Addr().IsLoopback() {
		err = errors.New("only loopback addresses are served; write 127.0.0.1:PORT")
	}
	var tcp net.Listener
	if err == nil {
		tcp, err = net.Listen("tcp", listen)
	}
	if err != nil {
		unix.Close()
		return nil, fmt.Errorf("status address %s: %w", listen, err)
	}
	return append(listeners, tcp), nil
}

// Serve answers on listeners until ctx ends, and closes them.
func (s Server) Serve(ctx context.Context, listeners []net.Listener) error {
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
	failures := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failures <- server.Serve(l) }()
	}
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-failures:
		return errors.Join(fmt.Errorf("status server: %w", err), server.Close())
	}
}

func (s Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := s.Report(false)
		if !r.Ready {
			http.Error(w, r.Reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, Metrics(s.Report(false)))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(s.Report(true)) // fails when the asker has gone
	})
	return mux
}

// maxReport limits what is read of a report: that of 5,000 peers with the
// kernel's state is about 10 MB.
const maxReport = 256 << 20

// Fetch asks the netd whose socket is at path for its report.
func Fetch(ctx context.Context, path string) (Report, error) {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://netd/status", nil)
	if err != nil {
		return Report{}, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return Report{}, fmt.Errorf("ask netd at %s: %w; is it running?", path, err)
	}
	defer answer.Body.Close()
	var r Report
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxReport)).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("read the report of netd at %s: %w", path, err)
	}
	return r, nil
}

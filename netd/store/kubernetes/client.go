package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	// headerTimeout is how long a server may take before it begins to answer.
	headerTimeout = 30 * time.Second
	// A connection without a frame for readIdle is asked for a sign of life,
	// and given up pingTimeout later: so a cut is found in 45 seconds, and
	// not when TCP gives up after a quarter of an hour.
	readIdle    = 30 * time.Second
	pingTimeout = 15 * time.Second
	// idleTimeout is how long a connection without a request is kept.
	idleTimeout = 90 * time.Second
)

// A client asks API servers.
type client struct {
	config Config

	mu sync.Mutex
	// now is what was last read, and transport the connections made for it.
	now       access
	transport *http.Transport
	// first is the server that is asked first.
	first int
	// trouble is what was last told of files that could not be read.
	trouble string
}

func newClient(c Config) *client { return &client{config: c} }

// A request is one question to an API server.
type request struct {
	// what it does, for errors.
	what        string
	method      string
	path        string
	query       url.Values
	contentType string
	body        []byte
}

// do asks, and returns an answer that is a success. The files with credentials
// are read for each question, so new ones count from the next; a 401 asks once
// more if they have changed meanwhile.
func (c *client) do(ctx context.Context, r request) (*http.Response, error) {
	s, err := c.session()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w; fix: start what writes it (the kubelet, K3s), or name the right file in store.kubernetes", r.what, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", r.what, err)
	}
	response, err := c.ask(ctx, s, r)
	if hasCode(err, http.StatusUnauthorized) {
		again, failed := c.session()
		if failed == nil && (again.transport != s.transport || again.token != s.token) {
			return c.ask(ctx, again, r)
		}
	}
	return response, err
}

// A session is what one question is asked with.
type session struct {
	access
	transport *http.Transport
	first     int
}

// session reads the files again. Ones that are broken or half replaced are
// told of, and those read before go on to count.
func (c *client) session() (session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := readAccess(c.config)
	if err == nil && (c.transport == nil || !next.sameTLS(c.now)) {
		err = c.connect(next)
	}
	switch {
	case err != nil && c.transport == nil:
		return session{}, err
	case err != nil && c.trouble != err.Error():
		c.config.Log.Warn("credentials of the API server: those read before are kept", "error", err)
		c.trouble = err.Error()
	case err == nil:
		c.now, c.trouble = next, ""
		c.first %= len(next.servers)
	}
	return session{access: c.now, transport: c.transport, first: c.first}, nil
}

// connect makes new connections the ones to use. Answers that still come over
// the old ones end in their time.
func (c *client) connect(a access) error {
	config, err := a.tls()
	if err != nil {
		return err
	}
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	c.transport = &http.Transport{
		// No Proxy: proxies of the environment are for the web, and the
		// network must be there before they are.
		DialContext:            c.config.Dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        idleTimeout,
		Protocols:              protocols,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: readIdle, PingTimeout: pingTimeout,
			// What may wait unread here: the defaults of 4 MiB a stream are
			// more than all of netd.
			MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 256 << 10,
		},
	}
	return nil
}

// ask asks the servers in turn until one answers.
func (c *client) ask(ctx context.Context, s session, r request) (*http.Response, error) {
	var last error
	for i := range s.servers {
		n := (s.first + i) % len(s.servers)
		response, err := send(ctx, s, s.servers[n], r)
		if ctx.Err() != nil {
			if err == nil {
				response.Body.Close()
			}
			return nil, context.Cause(ctx)
		}
		if err != nil {
			last = fmt.Errorf("%s: %s: %w", r.what, s.servers[n].Host, err)
			continue
		}
		switch {
		case response.StatusCode >= 500:
			c.prefer(n + 1)
		case n != s.first:
			c.prefer(n)
		}
		if response.StatusCode < 200 || response.StatusCode > 299 {
			return nil, refused(r.what, response)
		}
		return response, nil
	}
	return nil, last
}

// prefer makes server n the first to be asked.
func (c *client) prefer(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.now.servers) > 0 {
		c.first = n % len(c.now.servers)
	}
}

// send asks one server. It uses the transport itself, which follows no
// redirections.
func send(ctx context.Context, s session, server *url.URL, r request) (*http.Response, error) {
	u := *server.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	q, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Accept", "application/json")
	q.Header.Set("User-Agent", "weft-netd")
	if r.contentType != "" {
		q.Header.Set("Content-Type", r.contentType)
	}
	if s.token != "" {
		q.Header.Set("Authorization", "Bearer "+s.token)
	}
	return s.transport.RoundTrip(q)
}

// finish reads the little that may be left of an answer, so that its
// connection can serve others.
func finish(response *http.Response) {
	io.CopyN(io.Discard, response.Body, 4<<10) // what fails here is seen by the next question
}

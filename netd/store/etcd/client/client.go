// Package client speaks the part of etcd's version 3 API that a store of
// leases needs: ranges, transactions, watches, leases and authentication.
//
// It is gRPC by net/http's own HTTP/2 and hand-laid protocol buffers. It is
// not a general client: go.etcd.io/etcd/client/v3 is that, and a netd that
// merely links it (v3.7.3, amd64, idle, static store) is resident with 16.1
// MiB instead of 9.7, is a file of 17.3 MB instead of 9.2, and becomes ready
// 2 ms later. This package and the store on it cost 0.2 MiB, 0.3 MB and no
// time that can be measured, since net/http serves netd's status already.
// etcd's JSON gateway would cost as little, but an operator can turn it off,
// it knows no user by its certificate, and it fails where etcd's own
// certificate is not also a client's.
//
// Messages follow etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto,
// cited as [rpc.proto] and [kv.proto]; framing follows gRPC's
// doc/PROTOCOL-HTTP2.md, cited as [gRPC].
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says how etcd is reached.
type Config struct {
	// Endpoints are the URLs of the members, http or https, with a port.
	Endpoints []string
	// CAFile, CertFile and KeyFile are PEM files for https. They are read at
	// every connection, so that renewed ones count. Without CAFile the
	// system's authorities count.
	CAFile, CertFile, KeyFile string
	// Username and PasswordFile are for etcd with authentication; the file is
	// read whenever a token is asked for.
	Username, PasswordFile string
	// MaxMessage limits an answer, in bytes; 32 MiB when zero.
	MaxMessage int
}

// Times of the connection.
const (
	// stagger is how long a member has to accept a connection before the next
	// is tried beside it, as RFC 8305 (section 5) recommends.
	stagger = 250 * time.Millisecond
	// dialTimeout bounds one connection with its handshake.
	dialTimeout = 5 * time.Second
	// callTimeout bounds one call; etcd itself gives up at 5 s and an
	// election more (etcdserver/config.go, ReqTimeout).
	callTimeout = 10 * time.Second
	// pingEvery and pingTimeout find a connection that died silently. etcd
	// ends connections that ping more often than every 5 s
	// (--grpc-keepalive-min-time).
	pingEvery   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// defaultMaxMessage is some twenty times a page of 5,000 leases.
const defaultMaxMessage = 32 << 20

// A Client talks to one member of etcd at a time and to the next when that
// one fails. It connects when it is used; it may be used by many at once.
type Client struct {
	config    Config
	endpoints []*url.URL

	mu      sync.Mutex
	session *session
	first   int // the endpoint to try first
}

// New makes a client. The error names the endpoint that cannot be one.
func New(c Config) (*Client, error) {
	if c.MaxMessage == 0 {
		c.MaxMessage = defaultMaxMessage
	}
	x := &Client{config: c}
	for _, text := range c.Endpoints {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("etcd endpoint %q: %w", text, err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("etcd endpoint %q: want a URL such as https://10.0.0.1:2379", text)
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), "2379") // IANA: etcd-client
		}
		x.endpoints = append(x.endpoints, u)
	}
	if len(x.endpoints) == 0 {
		return nil, errors.New("etcd: no endpoints")
	}
	return x, nil
}

// Close ends the connection. A client that is used again connects again.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		c.session.close()
		c.session = nil
	}
}

// connect returns the session there is, or a new one to the first member
// that takes a connection.
func (c *Client) connect(ctx context.Context) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		return c.session, nil
	}
	conn, i, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.first = i
	c.session = newSession(c, c.endpoints[i], conn)
	return c.session, nil
}

// failed drops a session that did not do, so that the next use goes to the
// next member.
func (c *Client) failed(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
		c.first = (c.first + 1) % len(c.endpoints)
	}
	s.close()
}

// dialed is how one endpoint answered.
type dialed struct {
	conn  net.Conn
	index int
	err   error
}

// dial connects to the members, each a little later than the one before, and
// returns the first connection. Its errors name every member.
func (c *Client) dial(ctx context.Context) (net.Conn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	answers := make(chan dialed)
	next := time.NewTimer(0)
	defer next.Stop()
	var failures []error
	for started, ended := 0, 0; ended < len(c.endpoints); {
		select {
		case <-next.C:
			i := (c.first + started) % len(c.endpoints)
			started++
			go func() {
				conn, err := c.dialOne(ctx, c.endpoints[i])
				select {
				case answers <- dialed{conn, i, err}:
				case <-ctx.Done(): // another was first
					if conn != nil {
						conn.Close()
					}
				}
			}()
			if started < len(c.endpoints) {
				next.Reset(stagger)
			}
		case a := <-answers:
			if a.err == nil {
				return a.conn, a.index, nil
			}
			failures = append(failures, a.err)
			if ended++; started < len(c.endpoints) {
				next.Reset(0)
			}
		case <-ctx.Done():
			return nil, 0, errors.Join(append(failures, fmt.Errorf("etcd %s: %w", c.names(), ctx.Err()))...)
		}
	}
	return nil, 0, errors.Join(failures...)
}

func (c *Client) names() string {
	var names []string
	for _, u := range c.endpoints {
		names = append(names, u.Host)
	}
	return strings.Join(slices.Compact(names), ", ")
}

// dialOne connects to one member.
func (c *Client) dialOne(ctx context.Context, u *url.URL) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("etcd %s: %w", u.Host, err)
	}
	if u.Scheme == "http" {
		return conn, nil
	}
	config, err := c.tls(u.Hostname())
	if err == nil {
		secure := tls.Client(conn, config)
		if err = secure.HandshakeContext(ctx); err == nil {
			return secure, nil
		}
	}
	conn.Close()
	return nil, fmt.Errorf("etcd %s: TLS: %w", u.Host, err)
}

// tls reads the files of a TLS connection.
func (c *Client) tls(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if c.config.CAFile != "" {
		pem, err := os.ReadFile(c.config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authority %s: no PEM certificate in it", c.config.CAFile)
		}
	}
	if c.config.CertFile != "" || c.config.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.config.CertFile, c.config.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

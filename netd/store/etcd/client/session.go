package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A session is one HTTP/2 connection to one member.
type session struct {
	client    *Client
	url       url.URL
	transport *http.Transport
	conns     chan net.Conn // the one connection, until it is in use

	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	mu    sync.Mutex
	token string // of authentication; empty until asked for
}

func newSession(c *Client, u *url.URL, conn net.Conn) *session {
	s := &session{client: c, url: *u, conns: make(chan net.Conn, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.conns <- conn
	take := func(context.Context, string, string) (net.Conn, error) {
		select {
		case conn := <-s.conns:
			return conn, nil
		default:
			return nil, fmt.Errorf("etcd %s: the connection has ended", u.Host)
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.transport = &http.Transport{
		Protocols: protocols, DialContext: take, DialTLSContext: take, DisableCompression: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingEvery, PingTimeout: pingTimeout},
	}
	return s
}

// close ends the session and all that goes on in it.
func (s *session) close() {
	s.cancel()
	s.transport.CloseIdleConnections()
	select {
	case conn := <-s.conns:
		conn.Close()
	default:
	}
}

// A StatusError is how etcd refused a call.
type StatusError struct {
	// Code is gRPC's (doc/statuscodes.md).
	Code int
	// Message is etcd's text.
	Message string
}

func (e *StatusError) Error() string { return "etcd: " + e.Message }

// Codes of gRPC that callers decide by (doc/statuscodes.md).
const (
	codeInvalidArgument  = 3
	codeNotFound         = 5
	codePermissionDenied = 7
	codeUnauthenticated  = 16
)

// IsNotFound reports whether a lease does not exist (any more).
func IsNotFound(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == codeNotFound
}

// ErrTooLarge is an answer larger than the limit.
var ErrTooLarge = errors.New("etcd: the answer is larger than the limit")

// a stream is a call that etcd answers with messages.
type stream struct {
	response *http.Response
	cancel   context.CancelFunc
	limit    int
	host     string
}

// openBody is a request body whose one message is followed by nothing until
// the call ends or the transport gives the body up.
type openBody struct {
	io.Reader
	done <-chan struct{}
	end  context.CancelFunc
}

func (b openBody) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	<-b.done
	return 0, io.EOF
}

// Close ends a Read that waits: the transport waits for it.
func (b openBody) Close() error { b.end(); return nil }

// start sends one message. keepOpen leaves the sending side open, as a watch
// wants it. The stream must be closed.
func (s *session) start(ctx context.Context, method string, message []byte, keepOpen bool) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	end := func() { stop(); cancel() }
	// [gRPC] Length-Prefixed-Message: a compressed flag, 0, and the length.
	frame := binary.BigEndian.AppendUint32(make([]byte, 1, 5+len(message)), uint32(len(message)))
	frame = append(frame, message...)
	var body io.Reader = bytes.NewReader(frame)
	if keepOpen {
		sending, stop := context.WithCancel(ctx)
		body = openBody{body, sending.Done(), stop}
	}
	u := s.url
	u.Path = method
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		end()
		return nil, err
	}
	request.Header = http.Header{
		"Content-Type": {"application/grpc"},
		"Te":           {"trailers"},
		"User-Agent":   {"weft-netd"},
		// A member that has lost the majority refuses instead of giving old
		// answers for ever (etcd's clientv3.WithRequireLeader).
		"Hasleader": {"true"},
	}
	s.mu.Lock()
	if s.token != "" {
		request.Header["Token"] = []string{s.token}
	}
	s.mu.Unlock()
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		end()
		return nil, fmt.Errorf("etcd %s: %w", s.url.Host, err)
	}
	x := &stream{response: response, cancel: end, limit: s.client.config.MaxMessage, host: s.url.Host}
	kind := response.Header.Get("Content-Type")
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "application/grpc") {
		x.close()
		return nil, fmt.Errorf("etcd %s: answers HTTP %s with %q: this is no etcd, or something stands before it", s.url.Host, response.Status, kind)
	}
	// A refusal has its status in the header ([gRPC] Trailers-Only).
	if err := status(response.Header); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

func (x *stream) close() {
	x.cancel()
	x.response.Body.Close()
}

// believed is how many bytes are made room for on a server's word alone: a page
// of leases.
const believed = 2 << 20

// next is the next message; io.EOF after the last.
func (x *stream) next() ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(x.response.Body, head[:]); err != nil {
		if err == io.EOF {
			if err := status(x.response.Trailer); err != nil {
				return nil, err
			}
			return nil, io.EOF
		}
		return nil, fmt.Errorf("etcd %s: %w", x.host, err)
	}
	if head[0] != 0 {
		return nil, fmt.Errorf("etcd %s: a compressed message, which was not asked for", x.host)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if int64(size) > int64(x.limit) {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, size, x.limit)
	}
	// What is said to come is not believed before it comes, beyond a page of
	// leases. ReadFrom wants room for more even at the end.
	var message bytes.Buffer
	message.Grow(min(int(size), believed) + bytes.MinRead)
	if _, err := io.CopyN(&message, x.response.Body, int64(size)); err != nil {
		return nil, fmt.Errorf("etcd %s: a message of %d bytes breaks off: %w", x.host, size, err)
	}
	return message.Bytes(), nil
}

// status is the error a header or trailer tells of.
func status(h http.Header) error {
	text := h.Get("Grpc-Status")
	if text == "" || text == "0" {
		return nil
	}
	code, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("etcd: status %q", text)
	}
	message := h.Get("Grpc-Message")
	// [gRPC] Percent-Encoded; what does not decode is shown as it is.
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	return &StatusError{Code: code, Message: message}
}

// call is a call with one answer.
func (s *session) call(ctx context.Context, method string, message []byte) ([]byte, error) {
	x, err := s.start(ctx, method, message, false)
	if err != nil {
		return nil, err
	}
	defer x.close()
	answer, err := x.next()
	if err == io.EOF {
		return nil, fmt.Errorf("etcd %s: no answer to %s", s.url.Host, method)
	}
	return answer, err
}

// authenticate gets a token, if there is a user and no token yet. old is the
// token that has been refused, if any.
func (s *session) authenticate(ctx context.Context, old string) error {
	c := s.client.config
	if c.Username == "" {
		return nil
	}
	s.mu.Lock()
	has := s.token != old
	s.mu.Unlock()
	if has {
		return nil
	}
	password, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return fmt.Errorf("etcd: password of %s: %w", c.Username, err)
	}
	s.mu.Lock()
	s.token = ""
	s.mu.Unlock()
	answer, err := s.call(ctx, methodAuthenticate, authenticateRequest(c.Username, strings.TrimRight(string(password), "\r\n")))
	if err != nil {
		return fmt.Errorf("log in as %s: %w", c.Username, err)
	}
	token, err := parseAuthenticate(answer)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.token = token
	s.mu.Unlock()
	return nil
}

// do makes a call on the session there is, with a token that counts.
func (c *Client) do(ctx context.Context, method string, message []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var answer []byte
	err := c.with(ctx, func(s *session) (err error) {
		answer, err = s.call(ctx, method, message)
		return err
	})
	return answer, err
}

// with does something on the session there is, once more with a new token if
// the old one is refused. A session that fails is dropped.
func (c *Client) with(ctx context.Context, do func(*session) error) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	if err = s.authenticate(ctx, ""); err == nil {
		err = do(s)
	}
	if refusedToken(err) {
		s.mu.Lock()
		old := s.token
		s.mu.Unlock()
		if err = s.authenticate(ctx, old); err == nil {
			err = do(s)
		}
	}
	if err == nil || answered(err) || context.Cause(ctx) == context.Canceled {
		return err // the caller ended it, or has an answer
	}
	c.failed(s)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("etcd %s: %w", s.url.Host, cause)
	}
	return err
}

// refusedToken reports whether a token has ended (etcd's simple tokens do
// after five minutes, and with the process), or was made before the users
// changed.
func refusedToken(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && (status.Code == codeUnauthenticated ||
		status.Code == codeInvalidArgument && strings.Contains(status.Message, "revision of auth store is old"))
}

// answered reports whether err is an answer of a member that works.
func answered(err error) bool {
	var compacted *CompactedError
	if errors.Is(err, ErrTooLarge) || errors.As(err, &compacted) {
		return true
	}
	var status *StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case codeInvalidArgument, codeNotFound, codePermissionDenied, codeUnauthenticated,
		9, 11: // failed precondition, and out of range: compacted
		return true
	}
	return false
}

package status

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// Bounds of what a client may ask and how long it may take.
const (
	// maxRequest bounds the head of a request, in bytes.
	maxRequest = 8 << 10
	// maxClients bounds those served at once.
	maxClients = 8
	// within is how long a client may take, both ways.
	within = 5 * time.Second
	// MaxDocument bounds the answer a client takes, in bytes.
	MaxDocument = 4 << 20
)

// A Server answers on a unix socket: GET /status with the document as JSON,
// GET / with the same as plain text. It speaks the least of HTTP/1.0 that
// curl and browsers' tools understand; one request a connection.
type Server struct {
	// Document makes the document to answer with. It is called for each
	// request, so that lifetimes are right.
	Document func() Document
}

// Listen makes the socket at path, over one that a program left behind. Only
// root may ask: the document names addresses.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("status socket: %w", err)
	}
	return l, nil
}

// Serve answers until ctx ends. spawn starts a goroutine.
func (s Server) Serve(ctx context.Context, l net.Listener, spawn func(func())) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	slots := make(chan struct{}, maxClients)
	for {
		slots <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("status socket: %w", err)
		}
		spawn(func() {
			defer func() { conn.Close(); <-slots }()
			s.answer(conn)
		})
	}
}

// answer serves one client. One that does not speak HTTP, or goes, gets no
// answer and costs nothing but its place.
func (s Server) answer(conn net.Conn) {
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return
	}
	method, path, err := readRequest(conn)
	if err != nil {
		reply(conn, method, "400 Bad Request", "text/plain; charset=utf-8", []byte(err.Error()+"\n"))
		return
	}
	status, kind, body := s.page(method, path)
	reply(conn, method, status, kind, body)
}

// page is the answer to a request.
func (s Server) page(method, path string) (status, kind string, body []byte) {
	const plain = "text/plain; charset=utf-8"
	path, _, _ = strings.Cut(path, "?")
	switch {
	case method != "GET" && method != "HEAD":
		return "405 Method Not Allowed", plain, []byte("only GET; nothing can be changed here\n")
	case path == "/":
		return "200 OK", plain, []byte(Text(s.Document()))
	case path == "/status":
		body, err := Encode(s.Document())
		if err != nil {
			return "500 Internal Server Error", plain, []byte(err.Error() + "\n")
		}
		return "200 OK", "application/json", body
	}
	return "404 Not Found", plain, []byte("there are / (plain text) and /status (JSON)\n")
}

// reply writes an answer; a client that does not take it is let go.
func reply(w io.Writer, method, status, kind string, body []byte) {
	head := fmt.Sprintf("HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", status, kind, len(body))
	if method == "HEAD" {
		body = nil
	}
	_, _ = w.Write(append([]byte(head), body...))
}

// errRequest says that a client does not speak HTTP/1.
var errRequest = errors.New("this is no request of HTTP/1.0 or 1.1")

// readRequest reads the head of a request.
func readRequest(r io.Reader) (method, path string, err error) {
	lines := bufio.NewReader(io.LimitReader(r, maxRequest))
	first, err := lines.ReadString('\n')
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", errRequest, err)
	}
	words := strings.Fields(first)
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/1.") {
		return "", "", errRequest
	}
	// Its headers say nothing that matters, but are read: a connection closed
	// with bytes unread can take the answer with it.
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", "", fmt.Errorf("%w: %w", errRequest, err)
		}
		if strings.TrimRight(line, "\r\n") == "" {
			return words[0], words[1], nil
		}
	}
}

// Encode is the document as JSON for people and programs, ending in a line
// end.
func Encode(d Document) ([]byte, error) {
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return append(data, '\n'), nil
}

// Fetch asks the socket at path and returns the document.
func Fetch(ctx context.Context, path string) (Document, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return Document{}, fmt.Errorf("status: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return Document{}, fmt.Errorf("status: %w", err)
	}
	if _, err := io.WriteString(conn, "GET /status HTTP/1.0\r\n\r\n"); err != nil {
		return Document{}, fmt.Errorf("status: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, MaxDocument))
	if err != nil {
		return Document{}, fmt.Errorf("status: %w", err)
	}
	head, body, ok := strings.Cut(string(answer), "\r\n\r\n")
	if !ok || !strings.HasPrefix(head, "HTTP/1.0 200 ") {
		return Document{}, fmt.Errorf("status: the answer is %.80q", head)
	}
	return Decode([]byte(body))
}

// ErrMalformed says that bytes are no status document of this form.
var ErrMalformed = errors.New("malformed status document")

// Decode reads a document. Keys it does not know are passed over.
func Decode(data []byte) (Document, error) {
	var d Document
	if len(data) > MaxDocument {
		return d, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxDocument)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if d.Format != Format {
		return d, fmt.Errorf("%w: format %d, this program reads %d", ErrMalformed, d.Format, Format)
	}
	return d, nil
}

package download

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"weft/builder/apt/fault"
)

// A body is what a mirror answered: contents from the byte start on. total is
// the size of the whole file, -1 if the mirror does not say. validator is the
// ETag or date by which a later request can tell whether the file is still
// the same.
type body struct {
	io.Reader
	start, total int64
	validator    string
	close        func()
}

// Close ends the answer.
func (b *body) Close() { b.close() }

// errRange: the mirror cannot serve what lies from the asked byte on.
var errRange = errors.New("range not satisfiable")

// errIdle: nothing came for too long.
var errIdle = errors.New("the mirror went silent")

// open asks for a file from the byte start on, provided that it still fits
// validator, if that is not empty.
func (c *Client) open(ctx context.Context, from *url.URL, start int64, validator string) (*body, error) {
	if from.Scheme == "file" {
		return openFile(from, start)
	}
	// The timer is set again with every byte that comes.
	ctx, cancel := context.WithCancelCause(ctx)
	idle := c.Idle
	if idle <= 0 {
		idle = DefaultIdle
	}
	timer := time.AfterFunc(idle, func() { cancel(errIdle) })
	stop := func() { timer.Stop(); cancel(nil) }

	response, err := c.get(ctx, from, start, validator)
	if err == nil {
		var b *body
		if b, err = answer(response, start); err == nil {
			b.Reader = &watched{ctx: ctx, r: response.Body, timer: timer, idle: idle}
			b.close = func() { response.Body.Close(); stop() }
			return b, nil
		}
		response.Body.Close()
	}
	if cause := context.Cause(ctx); errors.Is(cause, errIdle) {
		err = errIdle
	}
	stop()
	return nil, err
}

// get sends the request.
func (c *Client) get(ctx context.Context, from *url.URL, start int64, validator string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, fault.New(fault.BadInput, from.Redacted(), err.Error(), "check the address of the mirror")
	}
	request.Header.Set("User-Agent", "weft")
	// What is asked for is the file as it is, not a compressed transfer of it.
	request.Header.Set("Accept-Encoding", "identity")
	if start > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", start))
		if validator != "" {
			request.Header.Set("If-Range", validator)
		}
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	return client.Do(request)
}

// answer reads the status and headers of a response to a request for bytes
// from start on.
func answer(response *http.Response, start int64) (*body, error) {
	b := &body{total: response.ContentLength, validator: validatorOf(response.Header)}
	switch response.StatusCode {
	case http.StatusOK:
		return b, nil
	case http.StatusPartialContent:
		first, total, err := contentRange(response.Header.Get("Content-Range"))
		if err != nil {
			return nil, err
		}
		b.start, b.total = first, total
		return b, nil
	case http.StatusRequestedRangeNotSatisfiable:
		if start > 0 {
			return nil, errRange
		}
	}
	return nil, &statusError{response.StatusCode}
}

// validatorOf picks what If-Range takes: a strong ETag, else the date
// (RFC 9110, section 13.1.5).
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes FIRST-LAST/TOTAL" (RFC 9110, section 14.4); total
// is -1 for "*".
func contentRange(text string) (first, total int64, err error) {
	bad := fmt.Errorf("the mirror sent Content-Range %q", text)
	span, size, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	from, _, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 || !strings.HasPrefix(text, "bytes ") {
		return 0, 0, bad
	}
	first, err = strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 {
		return 0, 0, bad
	}
	if size == "*" {
		return first, -1, nil
	}
	total, err = strconv.ParseInt(size, 10, 64)
	if err != nil || total < 0 {
		return 0, 0, bad
	}
	return first, total, nil
}

// openFile opens a file of a local mirror.
func openFile(from *url.URL, start int64) (*body, error) {
	f, err := os.Open(from.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &statusError{http.StatusNotFound}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "read", Path: from.Path, Err: errors.New("not a regular file")}
	}
	if err == nil {
		_, err = f.Seek(start, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &body{Reader: f, start: start, total: info.Size(), close: func() { f.Close() }}, nil
}

// watched gives up a connection that is silent for too long.
type watched struct {
	ctx   context.Context
	r     io.Reader
	timer *time.Timer
	idle  time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.timer.Reset(w.idle)
	if err != nil && err != io.EOF && errors.Is(context.Cause(w.ctx), errIdle) {
		err = errIdle
	}
	return n, err
}

// A statusError is an HTTP status that is no success.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the mirror answers %d %s", e.code, http.StatusText(e.code))
}

// certificate tells whether err says that the mirror's certificate is not
// trusted, which no repetition changes.
func certificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &host)
}

// explain turns what ended a download into a fault with a way out.
func explain(from *url.URL, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return fmt.Errorf("download %s: %w", from.Redacted(), err)
	}
	out := &fault.Error{Kind: fault.Network, File: from.Redacted(), Reason: "cannot be downloaded", Err: err,
		Fix: "check the network, or use another mirror (--mirror or WEFT_MIRROR)"}
	var status *statusError
	switch {
	case !errors.As(err, &status):
		if certificate(err) {
			out.Fix = "check this machine's clock and CA certificates, or use another mirror"
		}
	case status.code == http.StatusNotFound || status.code == http.StatusGone:
		out.Kind, out.Reason, out.Err = fault.Missing, "the mirror does not have it", err
		out.Fix = "check that the mirror is a Debian archive that holds this suite"
	case status.code == http.StatusUnauthorized || status.code == http.StatusForbidden:
		out.Fix = "the mirror wants a login or refuses you: use another, or put user:password@ into its address"
	case status.code == http.StatusProxyAuthRequired:
		out.Fix = "put user:password@ into http_proxy or https_proxy"
	}
	return out
}

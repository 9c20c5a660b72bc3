// Package download fetches files by HTTP, HTTPS or from a local mirror, and
// lets nothing pass that is larger than announced or has another SHA-256.
//
// Downloads go on where an earlier one ended, are tried again with growing
// pauses when the fault is likely to pass, and end with the context. Proxies
// are those of the environment, as net/http reads it. It knows nothing of
// Debian.
package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"weft/builder/apt/fault"
)

// Defaults for the fields of a Client.
const (
	// DefaultAttempts is how often a request is made in all when none makes
	// any headway.
	DefaultAttempts = 5
	// DefaultIdle is how long a connection may be silent.
	DefaultIdle = 30 * time.Second
)

// The pause before the second attempt is firstPause; each further one is
// twice as long, up to lastPause. Jitter takes off up to a half, so that many
// builds do not come back at the same moment.
const firstPause, lastPause = 500 * time.Millisecond, 15 * time.Second

// A Client downloads. Its zero value is ready; its methods may be called from
// several goroutines.
type Client struct {
	// HTTP makes the requests; nil for http.DefaultClient.
	HTTP *http.Client
	// Attempts is how often a request is made in all without headway.
	Attempts int
	// Idle is how long a connection may be silent before it is given up.
	Idle time.Duration
	// Pause waits between attempts; nil waits by the clock.
	Pause func(context.Context, time.Duration) error
	// Jitter gives random numbers from 0 to 1; nil uses math/rand.
	Jitter func() float64
	// Log is told of attempts that failed; nil discards.
	Log *slog.Logger
}

// A File says what is wanted.
type File struct {
	// URL is where it is: http, https or file.
	URL *url.URL
	// Size is its size in bytes: no more is read, and no less accepted.
	Size int64
	// SHA256 is its checksum.
	SHA256 [32]byte
	// Written is called with the number of bytes just written; negative when
	// bytes written before are given up. It may be nil.
	Written func(n int64)
}

// Bytes fetches a small file of at most limit bytes, of which no checksum is
// known.
func (c *Client) Bytes(ctx context.Context, from *url.URL, limit int64) ([]byte, error) {
	var data []byte
	err := c.retry(ctx, from, func() (bool, error) {
		body, err := c.open(ctx, from, 0, "")
		if err != nil {
			return false, err
		}
		defer body.Close()
		data, err = io.ReadAll(io.LimitReader(body, limit+1))
		if err != nil {
			return false, err
		}
		if int64(len(data)) > limit {
			return false, fault.New(fault.TooLarge, from.Redacted(), fmt.Sprintf("larger than %d bytes", limit),
				"check that the mirror is a Debian archive, or use another")
		}
		return false, nil
	})
	return data, err
}

// File downloads f to the path part. If part holds the beginning of the file,
// from an earlier attempt, the rest is asked for. When File returns nil the
// file is whole, verified, and on the disk.
func (c *Client) File(ctx context.Context, part string, f File) error {
	t := &transfer{File: f, client: c, path: part}
	err := c.retry(ctx, f.URL, func() (bool, error) { return t.attempt(ctx) })
	if e := t.close(err == nil); err == nil && e != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(part), e)
	}
	return err
}

// retry runs try until it succeeds, fails for good, or has failed too often
// in a row without headway.
func (c *Client) retry(ctx context.Context, from *url.URL, try func() (headway bool, err error)) error {
	attempts := c.Attempts
	if attempts <= 0 {
		attempts = DefaultAttempts
	}
	for failed := 0; ; {
		headway, err := try()
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("download %s: %w", from.Redacted(), cause)
		}
		if !passing(err) {
			return explain(from, err)
		}
		if headway {
			failed = 0
		}
		if failed++; failed >= attempts {
			return explain(from, err)
		}
		pause := c.pause(failed)
		c.log().Info("download failed, trying again", "url", from.Redacted(), "reason", err, "pause", pause)
		if err := c.wait(ctx, pause); err != nil {
			return fmt.Errorf("download %s: %w", from.Redacted(), err)
		}
	}
}

// pause is how long to wait after so many failures in a row.
func (c *Client) pause(failed int) time.Duration {
	jitter := rand.Float64
	if c.Jitter != nil {
		jitter = c.Jitter
	}
	pause := min(firstPause<<min(failed-1, 10), lastPause)
	return pause - time.Duration(jitter()*float64(pause)/2)
}

func (c *Client) wait(ctx context.Context, d time.Duration) error {
	if c.Pause != nil {
		return c.Pause(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (c *Client) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// passing tells whether trying again may help.
func passing(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.code >= 500 || status.code == http.StatusRequestTimeout || status.code == http.StatusTooManyRequests
	}
	var f *fault.Error
	var pathError *os.PathError
	return !errors.As(err, &f) && !errors.As(err, &pathError) && !certificate(err)
}

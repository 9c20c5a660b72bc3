package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// A Dialer connects to a host of a service; the real one is a [net.Dialer]'s
// DialContext.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// A Client asks metadata services.
type Client struct {
	Dial Dialer
	// Zone is the name of the uplink, through which link-local IPv6 addresses
	// are reached.
	Zone string
	// Retry is the pause between two tries.
	Retry time.Duration
}

// Ask asks a platform's service, all its addresses side by side, again and
// again until one answers or ctx ends. An answer that says no is not asked
// for again.
func (c Client) Ask(ctx context.Context, p Platform) (Data, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		data Data
		err  error
	}
	results := make(chan result, len(p.Hosts))
	for _, host := range p.Hosts {
		go func() {
			data, err := c.persist(ctx, p, host)
			results <- result{data, err}
		}()
	}
	var failures []error
	for range p.Hosts {
		r := <-results
		if r.err == nil {
			return r.data, nil
		}
		failures = append(failures, r.err)
	}
	return Data{}, fmt.Errorf("metadata service of %s: %w", p.Name, errors.Join(failures...))
}

// refused is an answer that another try would not change.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// persist asks one address until it answers.
func (c Client) persist(ctx context.Context, p Platform, host netip.Addr) (Data, error) {
	for {
		data, err := c.once(ctx, p, host)
		var final refused
		if err == nil || errors.As(err, &final) {
			return data, err
		}
		select {
		case <-ctx.Done():
			return Data{}, err
		case <-time.After(c.Retry):
		}
	}
}

// once asks one address once.
func (c Client) once(ctx context.Context, p Platform, host netip.Addr) (Data, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if host.Is6() && host.IsLinkLocalUnicast() {
		host = host.WithZone(c.Zone)
	}
	address := netip.AddrPortFrom(host, 80).String()
	client := &http.Client{
		// No proxy: a service of the link is asked on the link. Redirects
		// would lead away from it.
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return c.Dial(ctx, network, address)
			},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	headers := map[string]string{}
	for key, value := range p.Headers {
		headers[key] = value
	}
	name := netip.AddrPortFrom(host.WithZone(""), 80).Addr().String()
	if host.Is6() {
		name = "[" + name + "]"
	}
	if p.Token != nil {
		token, err := ask(ctx, client, http.MethodPut, "http://"+name+p.Token.Path, map[string]string{p.Token.Header: p.Token.Value})
		if err != nil {
			return Data{}, fmt.Errorf("token: %w", err)
		}
		headers[p.Token.Show] = string(token)
	}
	body, err := ask(ctx, client, http.MethodGet, "http://"+name+p.Path, headers)
	if err != nil {
		return Data{}, err
	}
	data, err := p.Read(body)
	if err != nil {
		return Data{}, refused{err}
	}
	data.Platform, data.From = p.Name, host.String()
	return data, nil
}

// ask sends one request and returns the body of a good answer.
func ask(ctx context.Context, client *http.Client, method, url string, headers map[string]string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, refused{err}
	}
	for key, value := range headers {
		req.Header.Set(key, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxAnswer:
		return nil, refused{fmt.Errorf("%w: more than %d KiB", ErrAnswer, maxAnswer>>10)}
	case resp.StatusCode == http.StatusOK:
		return body, nil
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil, refused{fmt.Errorf("%w: %s answers %s", ErrAnswer, url, resp.Status)}
}

package kubernetes

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"unicode"
)

// maxFile limits the files with credentials, in bytes: a bundle of CAs has
// some hundred kilobytes.
const maxFile = 1 << 20

// access is where API servers are and how we are known there, as read from
// files.
type access struct {
	servers []*url.URL
	// serverName is whom the servers' certificates must name; the host of
	// the URL when empty.
	serverName string
	// ca, cert and key are PEM.
	ca, cert, key []byte
	token         string
	insecure      bool
}

// readAccess reads all that says how to reach the API server.
func readAccess(c Config) (a access, err error) {
	if c.Kubeconfig != "" {
		data, err := readFile(c.Kubeconfig)
		if err != nil {
			return a, fmt.Errorf("kubeconfig: %w", err)
		}
		a, err = parseKubeconfig(data, c.Kubeconfig, c.AllowInsecure, readFile)
		if err != nil {
			return a, fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
		}
		return a, a.check()
	}
	for _, server := range c.Servers {
		u, err := parseServer(server)
		if err != nil {
			return a, err
		}
		a.servers = append(a.servers, u)
	}
	for _, f := range []struct {
		what, path string
		to         *[]byte
	}{
		{"caFile", c.CAFile, &a.ca}, {"certFile", c.CertFile, &a.cert}, {"keyFile", c.KeyFile, &a.key},
	} {
		if f.path == "" {
			continue
		}
		if *f.to, err = readFile(f.path); err != nil {
			return a, fmt.Errorf("%s: %w", f.what, err)
		}
	}
	if c.TokenFile != "" {
		token, err := readFile(c.TokenFile)
		if err != nil {
			return a, fmt.Errorf("tokenFile: %w", err)
		}
		a.token = strings.TrimSpace(string(token))
	}
	return a, a.check()
}

// readFile reads a file with credentials.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, err
}

// parseServer reads the URL of an API server. Plain HTTP sends credentials
// and takes routes from anybody on the way, so it is for this host alone, as
// kubectl proxy serves it.
func parseServer(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("server %q is no URL", text)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("server %q must be https://HOST:PORT", text)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("server %q does not use https; fix: write https://HOST:PORT", text)
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// check refuses what no server would take.
func (a access) check() error {
	if strings.ContainsFunc(a.token, func(r rune) bool { return unicode.IsSpace(r) || r < ' ' || r > '~' }) {
		return errors.New("the bearer token has characters that no token has; fix: one line with the token and nothing else in its file")
	}
	if (len(a.cert) == 0) != (len(a.key) == 0) {
		return errors.New("of client certificate and key there is only one; fix: give both")
	}
	return nil
}

// sameTLS reports whether connections made for a and b are alike.
func (a access) sameTLS(b access) bool {
	return a.serverName == b.serverName && a.insecure == b.insecure &&
		bytes.Equal(a.ca, b.ca) && bytes.Equal(a.cert, b.cert) && bytes.Equal(a.key, b.key)
}

// tls is the configuration of connections. Without CAs the system's count.
func (a access) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.serverName, InsecureSkipVerify: a.insecure}
	if len(a.ca) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(a.ca) {
			return nil, errors.New("the file with the CA has no certificate in PEM")
		}
	}
	if len(a.cert) > 0 {
		pair, err := tls.X509KeyPair(a.cert, a.key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

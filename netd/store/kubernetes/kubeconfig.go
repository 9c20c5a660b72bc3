package kubernetes

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// kubeconfig is the part of a kubeconfig file that is read
// (k8s.io/client-go/tools/clientcmd/api/v1).
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Clusters       []struct {
		Name    string  `yaml:"name"`
		Cluster cluster `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string `yaml:"name"`
		User user   `yaml:"user"`
	} `yaml:"users"`
	Contexts []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
			User    string `yaml:"user"`
		} `yaml:"context"`
	} `yaml:"contexts"`
}

type cluster struct {
	Server        string `yaml:"server"`
	TLSServerName string `yaml:"tls-server-name"`
	Insecure      bool   `yaml:"insecure-skip-tls-verify"`
	CA            string `yaml:"certificate-authority"`
	CAData        string `yaml:"certificate-authority-data"`
	ProxyURL      string `yaml:"proxy-url"`
}

type user struct {
	Cert         string    `yaml:"client-certificate"`
	CertData     string    `yaml:"client-certificate-data"`
	Key          string    `yaml:"client-key"`
	KeyData      string    `yaml:"client-key-data"`
	Token        string    `yaml:"token"`
	TokenFile    string    `yaml:"tokenFile"`
	Impersonate  string    `yaml:"as"`
	Username     string    `yaml:"username"`
	Exec         yaml.Node `yaml:"exec"`
	AuthProvider yaml.Node `yaml:"auth-provider"`
}

// yamlLine finds where a YAML error is. The rest of such an error may quote
// the file, secrets and all.
var yamlLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`line \d+`) })

// parseKubeconfig reads the current context of the file at path. Files named
// in it are read by read, relative to its folder.
func parseKubeconfig(data []byte, path string, allowInsecure bool, read func(string) ([]byte, error)) (a access, err error) {
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return a, fmt.Errorf("it is no kubeconfig file (%s)", strings.Join(yamlLine().FindAllString(err.Error(), 3), ", "))
	}
	c, u, err := k.current()
	if err != nil {
		return a, err
	}
	if err := refuse(c, u, allowInsecure); err != nil {
		return a, err
	}
	server, err := parseServer(c.Server)
	if err != nil {
		return a, err
	}
	a = access{servers: []*url.URL{server}, serverName: c.TLSServerName, insecure: c.Insecure, token: u.Token}
	r := resolver{folder: filepath.Dir(path), read: read}
	a.ca = r.get("certificate-authority", c.CA, c.CAData)
	a.cert = r.get("client-certificate", u.Cert, u.CertData)
	a.key = r.get("client-key", u.Key, u.KeyData)
	// A token file takes precedence, as with client-go (rest.Config).
	if u.TokenFile != "" {
		a.token = strings.TrimSpace(string(r.get("tokenFile", u.TokenFile, "")))
	}
	return a, r.err
}

// current is what the current context names; the only one there is when the
// file names none.
func (k kubeconfig) current() (c cluster, u user, err error) {
	name := k.CurrentContext
	if name == "" && len(k.Contexts) == 1 {
		name = k.Contexts[0].Name
	}
	for _, x := range k.Contexts {
		if x.Name != name {
			continue
		}
		for _, e := range k.Clusters {
			if e.Name == x.Context.Cluster {
				c = e.Cluster
			}
		}
		for _, e := range k.Users {
			if e.Name == x.Context.User {
				u = e.User
			}
		}
		if c.Server == "" {
			return c, u, fmt.Errorf("context %q: cluster %q has no server", name, x.Context.Cluster)
		}
		return c, u, nil
	}
	return c, u, fmt.Errorf("there is no context %q; fix: set current-context to one of contexts", name)
}

// refuse names what netd does not do, and the way out.
func refuse(c cluster, u user, allowInsecure bool) error {
	const wayOut = "fix: use a client certificate, a token or a tokenFile; docs/kubernetes-store.md shows how to make one"
	switch {
	case !u.Exec.IsZero():
		return fmt.Errorf("the user has an exec plugin, and netd runs no programs to get credentials; %s", wayOut)
	case !u.AuthProvider.IsZero():
		return fmt.Errorf("the user has an auth-provider, which netd does not know; %s", wayOut)
	case u.Username != "":
		return fmt.Errorf("the user has a username and password, which API servers no longer take; %s", wayOut)
	case u.Impersonate != "":
		return fmt.Errorf("the user acts as another (as: …), which netd does not do; %s", wayOut)
	case c.ProxyURL != "":
		return errors.New("the cluster has a proxy-url, and netd uses no proxies: the network must not depend on one; fix: give an address of the API server that this node reaches itself")
	case c.Insecure && !allowInsecure:
		return errors.New("insecure-skip-tls-verify lets anybody on the way give this node its routes; fix: give certificate-authority or certificate-authority-data")
	}
	return nil
}

// A resolver reads what a kubeconfig holds as a file or as data. It keeps the
// first error.
type resolver struct {
	folder string
	read   func(string) ([]byte, error)
	err    error
}

// get is what key says; data comes before the file, as with client-go.
func (r *resolver) get(key, path, data string) (content []byte) {
	var err error
	switch {
	case r.err != nil:
	case data != "":
		if content, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(data), "")); err != nil {
			r.err = fmt.Errorf("%s-data is not base64", key)
		}
	case path != "":
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.folder, path)
		}
		if content, err = r.read(path); err != nil {
			r.err = fmt.Errorf("%s: %w", key, err)
		}
	}
	return slices.Clip(content)
}

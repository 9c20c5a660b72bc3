package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"weft/document"
	"weft/netd/reconcile"
	"weft/netd/store/etcd"
	"weft/netd/store/kubernetes"
	"weft/profiles"
)

// maxConfig limits the configuration: 5,000 peers take about 1 MB.
const maxConfig = 16 << 20

// configError is a configuration that is refused.
type configError struct{ problems document.Problems }

func (e configError) Error() string { return "configuration refused: " + e.problems.Error() }

// readConfig reads and checks the configuration. Warnings are what would work,
// but is hardly meant.
func readConfig(file string) (c profiles.Netd, warnings document.Problems, err error) {
	c, _, warnings, err = readPlaced(file)
	return c, warnings, err
}

// readPlaced is readConfig, with the places of what the file says.
func readPlaced(file string) (c profiles.Netd, d *document.Document, warnings document.Problems, err error) {
	f, err := os.Open(file)
	if err != nil {
		return c, nil, nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	switch {
	case err != nil:
		return c, nil, nil, fmt.Errorf("configuration: %w", err)
	case len(data) > maxConfig:
		return c, nil, nil, fmt.Errorf("configuration %s is larger than %d MiB", file, maxConfig>>20)
	}
	c, d, problems := profiles.ReadNetd(file, data)
	if problems.Errors() == nil {
		// init renders everything; a file that somebody wrote by hand says
		// only what matters to them.
		c.Network = c.Network.WithDefaults()
		problems = append(problems, storeProblems(c, d)...)
	}
	if problems.Errors() != nil {
		return profiles.Netd{}, d, nil, configError{problems}
	}
	return c, d, problems.Warnings(), nil
}

// storeProblems is what a store refuses when it is made and no rule knows: what
// is in a kubeconfig or a certificate. It opens no connection.
func storeProblems(c profiles.Netd, d *document.Document) document.Problems {
	var err error
	at, rule := "network.store."+c.Network.Store.Type, "N47"
	quiet := slog.New(slog.DiscardHandler)
	switch c.Network.Store.Type {
	case profiles.StoreEtcd:
		_, err = etcd.New(etcd.Config{Etcd: c.Network.Store.Etcd, Network: c.Network, UUID: c.Node.UUID, Log: quiet})
	case profiles.StoreKubernetes:
		rule = "N48"
		if d.Has(at + ".kubeconfig") {
			at += ".kubeconfig"
		}
		_, err = kubernetes.New(kubernetes.Config{KubernetesStore: c.Network.Store.Kubernetes, Hostname: c.Node.Name,
			Networks: c.Network.Pods, Log: quiet})
	}
	if err == nil {
		return nil
	}
	message, fix, told := strings.Cut(err.Error(), "; fix: ")
	if !told {
		fix = "correct what it names"
	}
	return document.Problems{d.Problem(at, message).WithRule(rule).WithFix(fix)}
}

// missing warns of files that the configuration names and that are not there.
// A running netd waits for them, and its status says so.
func missing(c profiles.Netd, d *document.Document) document.Problems {
	const backend = "network.backend"
	b, e, k := c.Network.Backend, c.Network.Store.Etcd, c.Network.Store.Kubernetes
	files := []struct{ at, rule, path string }{}
	name := func(rule, at, path string) {
		files = append(files, struct{ at, rule, path string }{at, rule, path})
	}
	switch b.Canonical() {
	case profiles.BackendWireGuard:
		name("N74", backend+".pskFile", b.PSKFile)
	case profiles.BackendIPsec:
		name("N62", backend+".pskFile", b.PSKFile)
	}
	switch at := "network.store." + c.Network.Store.Type; {
	case c.Network.Store.Type == profiles.StoreEtcd:
		name("N49", at+".caFile", e.CAFile)
		name("N49", at+".certFile", e.CertFile)
		name("N49", at+".keyFile", e.KeyFile)
		name("N49", at+".passwordFile", e.PasswordFile)
	case c.Network.Store.Type != profiles.StoreKubernetes:
	case k.Kubeconfig != "":
		name("N49", at+".kubeconfig", k.Kubeconfig)
	default:
		name("N49", at+".caFile", k.CAFile)
		name("N49", at+".certFile", k.CertFile)
		name("N49", at+".keyFile", k.KeyFile)
		name("N49", at+".tokenFile", k.TokenFile)
	}
	var found document.Problems
	for _, f := range files {
		if _, err := os.Stat(f.path); f.path != "" && errors.Is(err, fs.ErrNotExist) {
			found = append(found, d.Problem(f.at, fmt.Sprintf("there is no file %s", f.path)).
				WithRule(f.rule).WithLevel(document.Warning).WithFix("put it there, or correct the path; netd waits for it"))
		}
	}
	return found
}

// logWarnings logs what a configuration says that is hardly meant.
func logWarnings(log *slog.Logger, warnings document.Problems) {
	for _, w := range warnings {
		log.Warn("configuration", "at", w.Position().String(), "rule", w.Rule, "problem", w.Message, "fix", w.Fix)
	}
}

// loopConfig is the part of the configuration the reconciler works by; the
// peers reach it through the store. Given are the subnets the store gave this
// node before.
func loopConfig(c profiles.Netd, given []netip.Prefix) reconcile.Config {
	c.Network.Peers = nil
	return reconcile.Config{Node: c.Node, Network: c.Network, Given: given}
}

package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"

	"weft/document"
	"weft/netd/reconcile"
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
	f, err := os.Open(file)
	if err != nil {
		return profiles.Netd{}, nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	switch {
	case err != nil:
		return profiles.Netd{}, nil, fmt.Errorf("configuration: %w", err)
	case len(data) > maxConfig:
		return profiles.Netd{}, nil, fmt.Errorf("configuration %s is larger than %d MiB", file, maxConfig>>20)
	}
	config, _, problems := profiles.ReadNetd(file, data)
	if problems.Errors() != nil {
		return profiles.Netd{}, nil, configError{problems}
	}
	return withDefaults(config), problems.Warnings(), nil
}

// withDefaults fills in what is left out. init renders everything; a file that
// somebody wrote by hand says only what matters to them.
func withDefaults(c profiles.Netd) profiles.Netd {
	c.Network = c.Network.WithDefaults()
	for _, p := range []struct {
		path     *string
		fallback string
	}{
		{&c.Paths.Socket, profiles.DefaultNetdPaths.Socket},
		{&c.Paths.SubnetEnv, profiles.DefaultNetdPaths.SubnetEnv},
		{&c.Paths.CNI, profiles.DefaultNetdPaths.CNI},
		{&c.Paths.State, profiles.DefaultNetdPaths.State},
	} {
		if *p.path == "" {
			*p.path = p.fallback
		}
	}
	return c
}

// loopConfig is the part of the configuration the reconciler works by; the
// peers reach it through the store. Given are the subnets the store gave this
// node before.
func loopConfig(c profiles.Netd, given []netip.Prefix) reconcile.Config {
	c.Network.Peers = nil
	return reconcile.Config{Node: c.Node, Network: c.Network, Given: given}
}

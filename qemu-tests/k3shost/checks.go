//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checks lists everything, in the order in which K3s would meet it.
func checks() []check {
	f := familiesOf("/etc/rancher/k3s/config.yaml")
	return slices.Concat(kernelChecks(f), cgroupChecks(), mountChecks(), pathChecks(), sysctlChecks(f), fileChecks(),
		processChecks(), networkChecks(f))
}

// families are those of the cluster.
type families struct{ ipv4, ipv6 bool }

// familiesOf reads them from cluster-cidr, as K3s does. A config that says none
// means IPv4, K3s's default; that it is there has a check of its own.
func familiesOf(config string) (f families) {
	data, _ := os.ReadFile(config)
	var c struct {
		Pods []string `yaml:"cluster-cidr"`
	}
	_ = yaml.Unmarshal(data, &c)
	for _, one := range c.Pods {
		if pods, err := netip.ParsePrefix(one); err == nil {
			f.ipv4, f.ipv6 = f.ipv4 || pods.Addr().Is4(), f.ipv6 || pods.Addr().Is6()
		}
	}
	f.ipv4 = f.ipv4 || !f.ipv6
	return f
}

// text reads a file without the space around its content.
func text(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimSpace(string(data)), err
}

// equals wants a file to hold a value.
func equals(path, want string) func() error {
	return func() error {
		got, err := text(path)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", path, got, want)
		}
		return err
	}
}

// atLeast wants a file to hold a number.
func atLeast(path string, want int64) func() error {
	return func() error {
		got, err := text(path)
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(got, 10, 64)
		if err == nil && n < want {
			err = fmt.Errorf("%s is %d, want %d or more", path, n, want)
		}
		return err
	}
}

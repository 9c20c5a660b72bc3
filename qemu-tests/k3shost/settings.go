//go:build linux

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// sysctlChecks: k3s pkg/agent/syssetup; kubernetes
// pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables.
func sysctlChecks(f families) []check {
	var list []check
	wanted := [][2]string{
		{"net/bridge/bridge-nf-call-iptables", "1"}, {"vm/overcommit_memory", "1"}, {"vm/panic_on_oom", "0"},
		{"kernel/panic", "10"}, {"kernel/panic_on_oops", "1"},
	}
	if f.ipv4 {
		wanted = append(wanted, [2]string{"net/ipv4/conf/all/forwarding", "1"}, [2]string{"net/ipv4/conf/default/forwarding", "1"})
	}
	if f.ipv6 {
		wanted = append(wanted, [2]string{"net/ipv6/conf/all/forwarding", "1"}, [2]string{"net/ipv6/conf/default/forwarding", "1"},
			[2]string{"net/bridge/bridge-nf-call-ip6tables", "1"}, [2]string{"net/ipv6/conf/all/disable_ipv6", "0"},
			[2]string{"net/ipv6/conf/default/disable_ipv6", "0"})
	}
	for _, s := range wanted {
		list = append(list, check{"sysctl " + s[0], equals("/proc/sys/"+s[0], s[1])})
	}
	for name, least := range map[string]int64{
		"kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000,
		"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524288, "vm/max_map_count": 262144,
	} {
		list = append(list, check{"sysctl " + name, atLeast("/proc/sys/"+name, least)})
	}
	for _, name := range []string{"all", "default"} {
		path := "/proc/sys/net/ipv4/conf/" + name + "/rp_filter"
		list = append(list, check{path + " lets packets take another way back", func() error {
			got, err := text(path)
			if err == nil && got == "1" {
				err = errors.New("it is 1, want 0 or 2")
			}
			return err
		}})
	}
	if _, err := os.Stat("/proc/sys/net/ipv6/conf/default/accept_ra"); err == nil {
		// Else a pod could announce itself as the node's router.
		list = append(list, check{"what is made later listens to no router", equals("/proc/sys/net/ipv6/conf/default/accept_ra", "0")})
	}
	slices.SortFunc(list, func(a, b check) int { return strings.Compare(a.name, b.name) })
	return append(list, check{"sysctls can be set", func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/all/forwarding", []byte("1"), 0)
	}})
}

// fileChecks: what programs look up.
func fileChecks() []check {
	matches := func(path, pattern string) func() error {
		return func() error {
			got, err := text(path)
			if err == nil && !regexp.MustCompile(pattern).MatchString(got) {
				err = fmt.Errorf("%s is %q", path, got)
			}
			return err
		}
	}
	return []check{
		{"/etc/os-release names the system", matches("/etc/os-release", `(?m)^ID="?weft"?$`)},
		{"/etc/machine-id is 32 digits", matches("/etc/machine-id", `^[0-9a-f]{32}$`)},
		{"/etc/hosts has 127.0.0.1 localhost", matches("/etc/hosts", `(?m)^127\.0\.0\.1\s+.*\blocalhost\b`)},
		{"/etc/hosts has ::1 localhost", matches("/etc/hosts", `(?m)^::1\s+.*\blocalhost\b`)},
		{"/etc/hosts has the node's own name", func() error {
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			return matches("/etc/hosts", `(?m)\s`+regexp.QuoteMeta(name)+`(\s|$)`)()
		}},
		{"/etc/hostname is the node's name, a sound one", func() error {
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`).MatchString(name) || strings.HasPrefix(name, "localhost") {
				return fmt.Errorf("it is %q", name)
			}
			return equals("/etc/hostname", name)()
		}},
		{"/etc/passwd has root", matches("/etc/passwd", `(?m)^root:x?:0:0:`)},
		{"/etc/resolv.conf has a server that pods reach", func() error {
			got, err := text("/etc/resolv.conf")
			if err != nil {
				return err
			}
			for line := range strings.Lines(got) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == "nameserver" {
					if ip, err := netip.ParseAddr(f[1]); err == nil && ip.Zone() == "" && ip.IsGlobalUnicast() {
						return nil
					}
				}
			}
			return fmt.Errorf("it is %q", got)
		}},
		{"config.yaml is there", matches("/etc/rancher/k3s/config.yaml", `(?m)^cluster-cidr:`)},
		{"iptables is none, or works", func() error {
			path, err := exec.LookPath("iptables")
			if err != nil {
				return nil // K3s has its own
			}
			out, err := exec.Command(path, "--version").CombinedOutput()
			if err == nil && regexp.MustCompile(`v1\.8\.([0-4]|10) `).Match(out) {
				err = errors.New("this version loses rules")
			}
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", path, err, out)
			}
			return err
		}},
		{"images can be pulled: the authorities of their registries are known", func() error {
			data, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
			if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
				err = errors.New("there is no certificate in it")
			}
			return err
		}},
		{"/bin/sh leads to the one that K3s unpacks", func() error {
			target, err := os.Readlink("/bin/sh")
			if err == nil && !strings.HasPrefix(target, "/var/lib/rancher/") {
				err = fmt.Errorf("it leads to %s", target)
			}
			return err
		}},
	}
}

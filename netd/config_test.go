package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configFile writes a configuration: goodConfig with one text for another.
func configFile(t *testing.T, from, to string) string {
	t.Helper()
	if !strings.Contains(goodConfig, from) {
		t.Fatalf("the base does not hold %q", from)
	}
	file := filepath.Join(t.TempDir(), "netd.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(goodConfig, from, to, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCheckAndRunRefuseTheSame: what a person is told before is what the
// daemon would say, with its place and the way out.
func TestCheckAndRunRefuseTheSame(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(broken, []byte("apiVersion: v1\nusers: [{name: a, user: {exec: {command: x}}}]\nclusters: [{name: a, cluster: {server: \"https://x\"}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const pods, socket = "  pods: [10.244.0.0/16]\n", "socket: /run/weft/netd.sock"
	const subnets = "  subnets: [10.244.1.0/24]\nnetwork:\n" + pods
	store := func(text string) string { return pods + "  store: " + text + "\n" }
	for _, c := range []struct{ name, from, to, says string }{
		{"a misspelt store", pods, store("{type: etcdd}"), ":8:17: there is no store \"etcdd\"   [N46]"},
		{"an endpoint by FTP", pods, store(`{type: etcd, etcd: {endpoints: ["ftp://x"]}}`), ":8:42: \"ftp://x\" is no endpoint of etcd   [N47]"},
		{"kubernetes without servers", pods, store("{type: kubernetes}"), ":8:3: it is not said where the API server is   [N48]"},
		{"a long annotation prefix", pods, store("{type: kubernetes, kubernetes: {kubeconfig: /k, annotationPrefix: a/b/c}}"), "\"a/b/c\" is no domain with an optional /name   [N48]"},
		{"a certificate without its key", pods, store("{type: etcd, etcd: {certFile: /c}}"), "certFile stands without keyFile   [N49]"},
		{"subnets beside kubernetes", pods, store("{type: kubernetes, kubernetes: {kubeconfig: /k}}"), ":5:3: with store kubernetes a node's subnets are the spec.podCIDRs of its object   [N29]"},
		{"a kubeconfig with a plugin", subnets, "network:\n" + store("{type: kubernetes, kubernetes: {kubeconfig: "+broken+"}}"), "the user has an exec plugin"},
		{"a path of 108 bytes", socket, "socket: /" + strings.Repeat("a", 107), "a socket has at most 107 bytes, and this one 108   [N27]"},
		{"one path for all", socket, "socket: /run/flannel/subnet.env", "/run/flannel/subnet.env is paths.socket, too   [N27]"},
		{"a status server for all", "paths:", "listen: 0.0.0.0:8285\npaths:", "is no loopback address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := configFile(t, c.from, c.to)
			var out, check, daemon bytes.Buffer
			if code := run([]string{"check", "-config", file}, &out, &check); code != exitUsage {
				t.Fatalf("check: exit code %d, want %d: %s%s", code, exitUsage, &out, &check)
			}
			if text := check.String(); !strings.Contains(text, c.says) || !strings.HasPrefix(text, file+":") || !strings.Contains(text, "\nfix: ") {
				t.Errorf("want %q with place and fix in\n%s", c.says, text)
			}
			if code := run([]string{"run", "-config", file}, &out, &daemon); code != exitUsage || daemon.String() != check.String() {
				t.Errorf("run: exit code %d, want %d; it says\n%s\ncheck says\n%s", code, exitUsage, &daemon, &check)
			}
		})
	}
}

// TestCheckWarnsOfWhatHasNoEffect: it is good, and a person is told all the
// same; the daemon logs it.
func TestCheckWarnsOfWhatHasNoEffect(t *testing.T) {
	const backend, pods = "backend: {type: vxlan}", "  pods: [10.244.0.0/16]\n"
	for _, c := range []struct {
		name, from, to, says string
		checkOnly            bool
	}{
		{"legacy ipsec", backend, "backend: {type: ipsec, pskFile: /dev/null}", "backend ipsec is legacy", false},
		{"host-gw with a VNI", backend, "backend: {type: host-gw, vni: 7}", "backend host-gw has no vni", false},
		{"a peer without a key", backend, "backend: {type: wireguard}\n  peers: [{name: b, addresses: [10.0.0.2], subnets: [10.244.2.0/24]}]", "peer b has no public key", false},
		{"a certificate that is not there", pods, pods + "  store: {type: etcd, etcd: {certFile: /none/c, keyFile: /none/k}}\n", "there is no file /none/c", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := configFile(t, c.from, c.to)
			var out, errs, log bytes.Buffer
			if code := run([]string{"check", "-config", file}, &out, &errs); code != exitOK || out.String() != file+": good\n" {
				t.Errorf("exit code %d: %s%s", code, &out, &errs)
			}
			if text := errs.String(); !strings.Contains(text, "warning: "+c.says) || !strings.Contains(text, "\nfix: ") {
				t.Errorf("want a warning %q with a fix in\n%s", c.says, text)
			}
			_, warnings, err := readConfig(file)
			if err != nil {
				t.Fatal(err)
			}
			logWarnings(slog.New(slog.NewTextHandler(&log, nil)), warnings)
			if logged := strings.Contains(log.String(), fmt.Sprintf("level=WARN msg=configuration at=%s:", file)) && strings.Contains(log.String(), c.says); logged == c.checkOnly {
				t.Errorf("the log is\n%s", &log)
			}
		})
	}
}

// TestPathsLeftOutAreThoseOfANode: the shortest configuration there is.
func TestPathsLeftOutAreThoseOfANode(t *testing.T) {
	file := configFile(t, goodConfig[strings.Index(goodConfig, "paths:"):], "")
	var out, errs bytes.Buffer
	if code := run([]string{"check", "-config", file}, &out, &errs); code != exitOK || errs.Len() > 0 {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/profiles"
)

func TestWhatTheRootAndCgroupsLackIsTold(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/local/bin/k3s", "")
	write("cgroup/cgroup.controllers", "cpuset cpu io hugetlb pids\n")
	c := profiles.Contract{
		Files: []profiles.FileNeed{
			{File: "/usr/local/bin/k3s", Program: true, By: profiles.ByPayload},
			{File: "/usr/sbin/iptables", Program: true, By: profiles.ByPackage, Reason: "host ports"},
			{File: "/etc/hosts", By: profiles.ByWeft},
			{File: "/var/lib/x", Program: true, By: profiles.ByDistribution},
		},
		Symbols: []profiles.SymbolNeed{{Any: []string{"CONFIG_MEMCG"}}},
	}
	var told []string
	for _, err := range lacking(root, filepath.Join(root, "cgroup"), c) {
		told = append(told, err.Error())
	}
	if len(told) != 2 || !strings.Contains(told[0], "usr/sbin/iptables") || !strings.Contains(told[0], "host ports") || !strings.Contains(told[1], "cgroup_enable=memory") {
		t.Errorf("told %q", told)
	}
	c.Files, c.Symbols = nil, nil
	if errs := lacking(root, "/none", c); errs != nil {
		t.Errorf("a node without Kubernetes lacks %v", errs)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStatusPrintsATable(t *testing.T) {
	c := newCluster(t, dual, 2)
	c.startAll(t)
	var out, errs bytes.Buffer
	if code := run([]string{"status", "-socket", c.nodes[0].config.Paths.Socket}, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	for _, want := range []string{"node      node-1\n", "state     ready\n", "pod mtu   1430\n", "node-2  fd00:10::2", "10.244.2.0/24", "yes"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestStatusWithoutADaemonSaysSo(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"status", "-socket", "/nonexistent/sock"}, &out, &errs)
	if code != exitFailed || !strings.Contains(errs.String(), "is it running?") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

func TestBadConfigurationIsRefusedWithItsPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netd.yaml")
	if err := os.WriteFile(file, []byte("weft: netd/v1\nnetwrok: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run([]string{"-config", file}, &out, &errs)
	if code != exitUsage || !strings.Contains(errs.String(), "netd.yaml:2:1:") {
		t.Errorf("exit code %d, want %d: %s", code, exitUsage, &errs)
	}
}

func TestUnknownArgumentIsNamed(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"statsu"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), `unknown argument "statsu"`) {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

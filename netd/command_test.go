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
	for _, want := range []string{"node      node-1\n", "state     ready\n", "pod mtu   1430\n", "node-2  fd00:10::2  fd42:0:0:2::/64  ready  ok"} {
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

func TestMisspeltCommandIsNamed(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"statsu"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), `unknown command "statsu"; did you mean status?`) {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

func TestWrongUseIsToldWithTheWayOut(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"status", "more"}, `netd status: unknown argument "more"`},
		{[]string{"peers", "-jsno"}, "flag provided but not defined: -jsno\nsee: netd help peers"},
		{[]string{"explain"}, "Write: netd explain [-json] ADDRESS|SUBNET"},
		{[]string{"explain", "10.244.2.300"}, `"10.244.2.300" is no address such as 10.244.2.7`},
		{[]string{"help", "rotat"}, "did you mean rotate?"},
		{[]string{"-config"}, "flag needs an argument"},
	} {
		var out, errs bytes.Buffer
		if code := run(c.args, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%q: exit code %d: %s", c.args, code, &errs)
		}
	}
}

func TestHelpTellsEveryCommandIn80Columns(t *testing.T) {
	for _, c := range append(commands(), command{}) {
		var out, errs bytes.Buffer
		args := []string{"help"}
		if c.name != "" {
			args = append(args, c.name)
		}
		if code := run(args, &out, &errs); code != exitOK || errs.Len() > 0 || out.Len() == 0 {
			t.Errorf("%q: exit code %d: %s", args, code, &errs)
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > 80 {
				t.Errorf("%q: more than 80 columns: %s", args, line)
			}
		}
	}
}

func TestCheckPrintsWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netd.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	write(goodConfig)
	if code := run([]string{"check", "-config", file}, &out, &errs); code != exitOK || out.String() != file+": good\n" {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
	write(strings.Replace(goodConfig, "vxlan", "vxlna", 1))
	if code := run([]string{"check", "-config", file}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "did you mean vxlan?") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
	if code := run([]string{"check", "-config", "/nonexistent"}, &out, &errs); code != exitFailed {
		t.Errorf("exit code %d for a file that is not there", code)
	}
}

// goodConfig is a small configuration.
const goodConfig = `weft: netd/v1
node:
  name: node-1
  uuid: 00000000-0000-4000-8000-000000000001
  subnets: [10.244.1.0/24]
network:
  pods: [10.244.0.0/16]
  backend: {type: vxlan}
paths:
  socket: /run/weft/netd.sock
  subnetEnv: /run/flannel/subnet.env
  cni: /etc/cni/net.d/10-weft.conflist
`

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// An outcome is what a run of weft left on the screen, and its exit code.
type outcome struct {
	code     int
	out, err string
}

// weft runs the command line in this process.
func weft(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errs}
	// Without any arguments cobra would take those of the test.
	code := a.execute(t.Context(), append([]string{}, args...))
	return outcome{code, out.String(), errs.String()}
}

// want fails unless weft ended with a code and said all of the texts.
func (o outcome) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", o.code, code, o.out, o.err)
	}
	for _, text := range texts {
		if !strings.Contains(o.out+o.err, text) {
			t.Errorf("weft does not say %q:\n%s%s", text, o.out, o.err)
		}
	}
}

// parse reads the JSON that weft printed.
func parse[T any](t *testing.T, o outcome) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(o.out), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s%s", err, o.out, o.err)
	}
	return v
}

// write makes a file in a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// narrow fails when a line does not fit on a terminal of 80 columns.
func narrow(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > lineWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestEveryVerbExplainsItselfOn80Columns(t *testing.T) {
	root := (&app{}).command()
	for _, cmd := range append([]*cobra.Command{root}, root.Commands()...) {
		args := strings.Fields(strings.TrimPrefix(cmd.CommandPath(), "weft"))
		o := weft(t, append(args, "--help")...)
		o.want(t, exitOK, "Usage:", "Examples:", "  weft "+strings.Join(args, " "))
		narrow(t, o.out)
		if o.err != "" {
			t.Errorf("%s: help on the error output: %s", cmd.CommandPath(), o.err)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || cmd.Long == "" {
			t.Errorf("%s: %q / %q", cmd.CommandPath(), cmd.Short, cmd.Long)
		}
	}
}

func TestWithoutAVerbHelpIsShown(t *testing.T) {
	weft(t).want(t, exitOK, "weft builds appliance OS images", "Available Commands:")
}

func TestTypingErrorsAreAnsweredWithTheWayOut(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"biuld", `weft has no verb "biuld"; did you mean "build"?` + "\nsee: weft --help"},
		{"frobnicate", `weft has no verb "frobnicate"` + "\nsee: weft --help"},
		{"build --ouut x", "unknown flag: --ouut; did you mean --out?\nsee: weft build --help"},

		{"run --timeout 5 x", "--timeout 5: write a time such as 90s or 10m\nsee: weft run --help"},
		{"run --nodes many x", "--nodes many: write a whole number"},
		{"build rpi4", `weft build takes no argument "rpi4"; did you mean --board rpi4?`},
		{"plan k3s-canal", `weft plan takes no argument "k3s-canal"; did you mean --profile k3s-canal?`},
		{"plan --node pi-1", "--node: of which cluster?"},
		{"plan --role agent", "--role: of which cluster?"},
		{"contract vxlan --profile wireguard", "vxlan and --profile wireguard: name one profile"},
		{"new --nodes 0", "--nodes 0: use 1 or more"},
		{"new --servers 0", "--servers 0: use 1 or more"},
		{"build x", `weft build takes no argument "x"`},
		{"plan x", `weft plan takes no argument "x"`},
		{"inspect", "weft inspect takes one image, not 0"},
		{"inspect a b", "weft inspect takes one image, not 2"},
		{"run", "weft run takes one image or cluster file, not 0"},
		{"run --nodes 0 x", "--nodes 0: use 1 to 64"},
		{"run --nodes 65 x", "--nodes 65: use 1 to 64"},
		{"run --until noon x", "--until noon: use ready or pods"},
		{"run --until pods x", "--until pods needs at least two nodes: --nodes 2"},
		{"run --accel kvn x", "--accel kvn: use one of auto, kvm, hvf, tcg"},
		{"run --memory 1 x", "--memory 1: use 32 to 65536 MiB"},
		{"build --out ''", "--out is empty; name a folder"},
		{"run --uefi --bios x", "--uefi and --bios: use one of them"},
		{"completion tcsh", "weft completion takes one of bash, fish, powershell, zsh"},
		{"check", "weft check takes at least one file"},
		{"build --board x86_64", `there is no board "x86_64"; did you mean x86-64?`},
		{"plan --board ''", "there is no board"},
		{"build --profile vxlam", `there is no profile "vxlam"; did you mean vxlan?`},
		{"plan --board ./none.yaml", "none.yaml: no such file or directory"},
		{"plan --profile none.yaml", "none.yaml: no such file or directory"},
		{"plan --profile none.yaml", "fix: correct the path"},
		{"check none.yaml", "none.yaml: no such file or directory"},
		{"check none.yaml", "weft new writes a profile and a cluster file to begin with"},
		{"import none.yaml", "a K3s node has /etc/rancher/k3s/config.yaml"},
		{"inspect none.img", "none.img: no such file or directory"},
		{"inspect none.img", "fix: correct the path"},
		{"run none.img", "there is no none.img; weft build makes images"},
		{"build --mirror ftp://example.org/debian --out OUT", "scheme ftp is not supported"},
	} {
		args := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(c.args, "''", ""), "OUT", t.TempDir()))
		if strings.Contains(c.args, "''") {
			args = append(args, "")
		}
		o := weft(t, args...)
		o.want(t, exitInput, c.want)
		if o.out != "" || strings.Contains(o.err, "Usage:") {
			t.Errorf("%s: more is printed than the message:\n%s%s", c.args, o.out, o.err)
		}
	}
}

func TestCompletionsAreScriptsForTheirShells(t *testing.T) {
	for shell, text := range map[string]string{"bash": "complete -o default", "zsh": "#compdef weft", "fish": "complete -c weft", "powershell": "Register-ArgumentCompleter"} {
		o := weft(t, "completion", shell)
		o.want(t, exitOK, text)
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // only bash is everywhere
		}
		if shell == "bash" {
			if out, err := exec.CommandContext(t.Context(), path, "-n", write(t, t.TempDir(), "script", o.out)).CombinedOutput(); err != nil {
				t.Errorf("%s does not read its script: %v\n%s", shell, err, out)
			}
		}
	}
}

func TestNamesAreCompleted(t *testing.T) {
	file := write(t, t.TempDir(), "home.yaml", homeCluster)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"build", file, "--node", ""}, "pi-1\npi-2\n:4"},
		{[]string{"plan", file, "--node", ""}, "pi-1\npi-2\n:4"},
		{[]string{"flash", file, "--node", ""}, "pi-1\npi-2\n:4"},
		{[]string{"node-file", file, "--node", ""}, "pi-1\npi-2\n:4"},
		{[]string{"cluster", "keys", file, "--rotate", ""}, "pi-1\npi-2\n:4"},
		{[]string{"build", "--node", ""}, ":4"},
		{[]string{"plan", "--files", "--node", ""}, ":0"},
		{[]string{"build", "--board", ""}, "x86-64-cloud"},
		{[]string{"plan", "--profile", ""}, "dual-stack"},
		{[]string{"run", "--until", ""}, "pods"},
		{[]string{"run", "--accel", ""}, "kvm"},
		{[]string{"ins"}, "inspect"},
		{[]string{"check", ""}, "yaml"},
	} {
		weft(t, append([]string{cobra.ShellCompNoDescRequestCmd}, c.args...)...).want(t, exitOK, c.want)
	}
}

func TestVersionSaysWhatWeftCarries(t *testing.T) {
	weft(t, "version").want(t, exitOK, "weft devel (go", "carries init and netd for amd64", "carries init and netd for arm64")
	info := parse[struct {
		Version string
		Nodes   []string
	}](t, weft(t, "version", "--json"))
	if info.Version != version || len(info.Nodes) != 2 {
		t.Errorf("%+v; build the programs first: make weft", info)
	}
}

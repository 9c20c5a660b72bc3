package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/document"
)

// oldK3s is a config.yaml of the time of IPsec.
const oldK3s = "cluster-cidr: 10.42.1.0/16\nflannel-backend: ipsec\ntoken: K10secret\nnode-name: pi-1\n"

func TestImportWritesWhatCheckAccepts(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	there := t.TempDir()
	t.Chdir(there)
	if err := os.MkdirAll("k3s/config.yaml.d", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "k3s", "config.yaml", oldK3s)
	write(t, "k3s/config.yaml.d", "10-domain.yaml", "cluster-domain: home.lan\n")
	o := weft(t, "import", "k3s/config.yaml", "--name", "home", "--out", "out")
	o.want(t, exitOK, "home.yaml: written", "home-cluster.yaml: written", "home-secrets.yaml: written")
	narrow(t, o.out)
	if strings.Contains(o.out+o.err, "K10secret") || strings.Contains(o.out+o.err, "\x1b") {
		t.Errorf("a secret or colour in a pipe: %s%s", o.out, o.err)
	}
	profile, err := os.ReadFile("out/home.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(home)
	golden(t, "import.txt", o.out+"---\n"+o.err+"---\n"+string(profile))
	t.Chdir(there)
	weft(t, "check", "out/home.yaml", "out/home-cluster.yaml").want(t, exitOK, "home-cluster.yaml: good")
	if info, err := os.Stat("out/home-secrets.yaml"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secrets: %v %v", info, err)
	}
	// What is there stays.
	weft(t, "import", "k3s/config.yaml", "--name", "home", "--out", "out").want(t, exitInput, "out/home.yaml is there already")
	write(t, "out", "home-secrets.yaml", "token: mine\n")
	weft(t, "import", "k3s/config.yaml", "--name", "home", "--out", "out", "--force").want(t, exitOK, "home-secrets.yaml: kept as it is")
	if text, _ := os.ReadFile("out/home-secrets.yaml"); string(text) != "token: mine\n" {
		t.Errorf("the secrets are %q", text)
	}
}

func TestImportOfWhatIsWrongWritesNothing(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "config.yaml", "cluster-cidrs: 10.42.0.0/16\nflannel-backend: vxlan\n")
	out := filepath.Join(dir, "out")
	weft(t, "import", file, "--out", out).want(t, exitInput, "config.yaml:1:1: unknown key cluster-cidrs", "[A1]", "fix: write cluster-cidr")
	if _, err := os.Stat(out); err == nil {
		t.Error("a folder was made")
	}
	for _, c := range []struct{ args, want string }{
		{"import", "weft import takes at least one file"},
		{"import --distribution k4s x", "--distribution k4s: use k3s or rke2"},
		{"import --role leader x", "--role leader: use server or agent"},
		{"import --version new x", "--version"},
		{"import --name a/b x", "--name"},
		{"import none.yaml", "none.yaml: no such file or directory"},
	} {
		weft(t, strings.Fields(c.args)...).want(t, exitInput, c.want)
	}
}

func TestImportReadsTheStandardInput(t *testing.T) {
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader("k3s server --flannel-backend=host-gw\n"), out: &out, err: &errs}
	if code := a.execute(t.Context(), []string{"import", "-", "--out", "-"}); code != exitOK {
		t.Errorf("%d: %s", code, errs.String())
	}
	if !strings.Contains(out.String(), "flannel-backend: host-gw # -:1") {
		t.Errorf("got %s", out.String())
	}
	out.Reset()
	a = &app{in: strings.NewReader("--x"), out: &out, err: &errs}
	if a.execute(t.Context(), []string{"import", "--distribution", ""}); out.Len() != 0 {
		t.Errorf("without a file: %s", out.String())
	}
}

func TestImportTellsWhatIsLeftToDo(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "k3s.sh", "k3s server --flannel-backend=wireguard\n")
	o := weft(t, "import", file, "--out", dir)
	o.want(t, exitOK, "What is left to do:", "Reboot all nodes, starting with the servers", "k3s.sh:1:30: warning: backend wireguard is legacy")
	for line := range strings.Lines(o.out) {
		if n := document.Columns(strings.TrimSuffix(line, "\n")); n > lineWidth && !strings.Contains(line, dir) {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	// Of a hosts file nothing is carried.
	hosts := write(t, dir, "hosts", "::1 localhost\n")
	weft(t, "import", hosts, "--distribution", "rke2", "--out", dir).want(t, exitOK, "nothing is left to carry")
}

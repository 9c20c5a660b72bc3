package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft/builder/disk"
	"weft/builder/fat"
	"weft/profiles"
)

func TestANodeFileGoesOntoACardOrNowhere(t *testing.T) {
	file, _ := plainCluster(t)
	card := t.TempDir()
	put := []string{"node-file", file, "--node", "pi-2", "--to", card}
	weft(t, put...).want(t, exitInput, card+" is no boot partition of weft")
	if err := os.Mkdir(filepath.Join(card, "weft"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(card, "weft"), "node.example.yaml", "")
	write(t, filepath.Join(card, "weft"), "node.yaml", "old")
	weft(t, put...).want(t, exitOK, filepath.Join(card, "weft", "node.yaml"), "node pi-2")
	data, err := os.ReadFile(filepath.Join(card, "weft", "node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	node, _, problems := profiles.ReadNode("node.yaml", data)
	if problems.Errors() != nil || node.Hostname != "pi-2" || node.WireGuardKey == "" {
		t.Errorf("the node file says %q, %v", node.Hostname, problems)
	}
	if left, _ := os.ReadDir(filepath.Join(card, "weft")); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}

	own := filepath.Join(t.TempDir(), "mine.yaml")
	weft(t, "node-file", file, "--node", "pi-2", "--out", own).want(t, exitOK, own)
	weft(t, "node-file", file, "--node", "pi-2", "--out", "-").want(t, exitOK, "hostname: pi-2")
	if again, err := os.ReadFile(own); err != nil || !bytes.Equal(again, data) {
		t.Errorf("the file is another, %v", err)
	}
	if info, err := os.Stat(own); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	weft(t, "node-file", file).want(t, exitInput, "which node?")
	weft(t, "node-file", file, "--node", "pi-3").want(t, exitInput, `there is no node "pi-3"`)
	weft(t, append(put, "--out", own)...).want(t, exitInput, "two places")
}

func TestThePlanOfANodeSaysWhereItsValuesStand(t *testing.T) {
	file, secrets := plainCluster(t)
	o := weft(t, "plan", file, "--node", "pi-2")
	o.want(t, exitOK, "node.wireguardKey = (not shown)", secrets)
	text := regexp.MustCompile(`\s+`).ReplaceAllString(o.out, " ")
	for _, part := range []string{
		"node.board = x86-64-cloud " + file + ":3:8",
		"node.hostname = pi-2 " + file + ":7:12",
		"node.addresses[0] = 192.168.1.12 " + file + ":7:30",
		"node.subnets[0] = 10.244.2.0/24 derived",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%.1500s", part, o.out)
		}
	}
	weft(t, "plan", file).want(t, exitInput, "which node of "+file)
	weft(t, "plan", file, "--node", "pi-2", "--board", "x86-64").want(t, exitInput, "--board: a cluster file has that itself")
}

// sixNodes is a cluster of six.
func sixNodes() string {
	text := homeCluster
	for i := 3; i <= 6; i++ {
		text += fmt.Sprintf("  - {name: pi-%d, addresses: [192.168.1.1%d]}\n", i, i)
	}
	return text
}

func TestSixNodesShareABaseAndNoSecret(t *testing.T) {
	kit := newKernelKit(t)
	dir := t.TempDir()
	kit.boardFile(dir, "deb: "+kit.deb())
	lock := filepath.Join(dir, "weft.lock")
	file := write(t, dir, "home.yaml", sixNodes())
	weft(t, "cluster", "keys", file).want(t, exitOK)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	built := parse[[]builtNode](t, weft(t, "build", file, "--lock", lock, "--out", one, "--json"))
	weft(t, "build", file, "--lock", lock, "--out", two).want(t, exitOK)
	first, again := images(t, one), images(t, two)
	if len(built) != 6 || len(first) != 7 {
		t.Fatalf("%d nodes, %d images", len(built), len(first))
	}
	for name, data := range first {
		if !bytes.Equal(again[name], data) {
			t.Errorf("%s differs when it is built again", name)
		}
	}
	owner := map[string]string{}
	for _, n := range built {
		t.Logf("%s in %.3f s, on the disk after %.3f s", n.Node, n.Seconds, n.Flush)
		data := first[filepath.Base(n.Path)]
		image, err := disk.Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		boot, _ := image.Layout.Partition(disk.Boot)
		volume, err := fat.Open(io.NewSectionReader(bytes.NewReader(data), boot.Start, boot.Size), boot.Size)
		if err != nil {
			t.Fatal(err)
		}
		text, err := fs.ReadFile(volume, profiles.NodeFile)
		if err != nil {
			t.Fatal(err)
		}
		node, _, problems := profiles.ReadNode("node.yaml", text)
		if problems.Errors() != nil {
			t.Fatal(problems)
		}
		for _, own := range []string{node.Hostname, node.WireGuardKey, node.Addresses[0].String(), node.Subnets[0].String()} {
			if owner[own] != "" || own == "" {
				t.Errorf("%s has something of %s", n.Node, owner[own])
			}
			owner[own] = n.Node
		}
	}
}

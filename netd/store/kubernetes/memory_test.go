package kubernetes

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/netd/store/kubernetes/kubernetestest"
	"weft/profiles"
)

// memoryFolder tells the process of its own where its files are.
const memoryFolder = "WEFT_TEST_MEMORY_FOLDER"

// A store of 500 nodes is to cost some megabytes. It is measured in a process
// of its own, which has no server in it; flannel's informer takes 30 MB.
func TestMemoryOfFiveHundredNodes(t *testing.T) {
	if folder := os.Getenv(memoryFolder); folder != "" {
		watchAndTell(t, folder)
		return
	}
	_, bare := measure(t, 0, 0)
	t.Logf("no nodes: %d kB", bare)
	const limit = 10 << 10 // kB
	for _, c := range []struct{ nodes, weight int }{{500, 1500}, {500, 20000}, {5000, 1500}} {
		resident, peak := measure(t, c.nodes, c.weight)
		t.Logf("%d nodes of %d bytes and more: %d kB resident, %d kB at most", c.nodes, c.weight, resident, peak)
		if c.nodes == 500 && peak-bare > limit && !raced {
			t.Errorf("%d nodes take %d kB beyond the %d of none, want %d at most", c.nodes, peak-bare, bare, limit)
		}
	}
}

// measure watches a cluster in a process of its own.
func measure(t *testing.T, nodes, weight int) (resident, peak int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := kubernetestest.New(kubernetestest.Options{Listener: listener})
	defer s.Close()
	for i := range nodes {
		o := peer(i % 200)
		o["metadata"].(kubernetestest.Object)["name"] = fmt.Sprintf("node-%04d", i)
		o["status"].(kubernetestest.Object)["images"] = strings.Repeat("x", weight)
		s.Put(o)
	}
	folder := t.TempDir()
	for name, data := range map[string][]byte{
		"server": []byte("https://localhost:" + fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)),
		"ca":     s.CA(), "token": []byte(s.Token(kubernetestest.Netd)),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestMemoryOfFiveHundredNodes$")
	cmd.Env = append(os.Environ(), memoryFolder+"="+folder)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	known := 0
	if n, err := fmt.Sscanf(string(out), "known %d VmRSS %d VmHWM %d", &known, &resident, &peak); n != 3 || known != nodes {
		t.Fatalf("%v: %s", err, out)
	}
	return resident, peak
}

// watchAndTell prints the memory of this process when it knows all nodes.
func watchAndTell(t *testing.T, folder string) {
	server, err := os.ReadFile(filepath.Join(folder, "server"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{
		KubernetesStore: profiles.KubernetesStore{
			Servers: []string{string(server)}, Node: "self",
			CAFile: filepath.Join(folder, "ca"), TokenFile: filepath.Join(folder, "token"),
		},
		Networks: []netip.Prefix{ipv4Network},
	})
	if err != nil {
		t.Fatal(err)
	}
	for u, err := range s.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		memory := processMemory(t)
		fmt.Printf("known %d VmRSS %s VmHWM %s\n", len(u.Set), memory["VmRSS"], memory["VmHWM"])
		return
	}
}

// processMemory reads /proc/self/status (proc_pid_status(5)), in kB.
func processMemory(t *testing.T) map[string]string {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), ":"); found {
			values[name] = strings.TrimSuffix(strings.TrimSpace(value), " kB")
		}
	}
	return values
}

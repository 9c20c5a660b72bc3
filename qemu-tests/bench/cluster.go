package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clusterNodes is how many nodes the measured cluster has.
const clusterNodes = 6

// measureCluster builds a cluster: one image that all nodes share, and the copy
// of each node. What a node costs is the making of its file; the wait for the
// disk is told apart, since it is the disk's.
func (b builds) measureCluster(ctx context.Context, m meter) error {
	dir := filepath.Join(b.dir, "cluster")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "weft: cluster/v1\nname: six\nboard: %s\nprofile: wireguard\nnodes:\n", boardName)
	for i := range clusterNodes {
		fmt.Fprintf(&text, "  - {name: node-%d, addresses: [192.168.77.%d]}\n", i+1, i+11)
	}
	file := filepath.Join(dir, "six.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		return err
	}
	if said, err := exec.CommandContext(ctx, b.weft, "cluster", "keys", file).CombinedOutput(); err != nil {
		return fmt.Errorf("weft cluster keys: %w\n%s", err, said)
	}
	cmd := exec.CommandContext(ctx, b.weft, "build", file, "--out", dir, "--lock", filepath.Join(b.dir, "weft.lock"), "--json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, stderr.Bytes())
	}
	base := time.Since(started).Seconds()
	var nodes []struct{ Seconds, Flush float64 }
	if err := json.Unmarshal(stdout.Bytes(), &nodes); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	if len(nodes) != clusterNodes {
		return fmt.Errorf("%s: %d nodes of %d", cmd, len(nodes), clusterNodes)
	}
	var seconds, flushes []float64
	for _, n := range nodes {
		base -= n.Seconds + n.Flush
		seconds, flushes = append(seconds, n.Seconds), append(flushes, n.Flush)
	}
	m.figure("build.cluster.base", base, "s")
	m.figure("build.cluster.first-node", seconds[0], "s")
	m.figure("build.cluster.node", median(seconds[1:]), "s")
	m.figure("build.cluster.node.flush", median(flushes[1:]), "s")
	return nil
}

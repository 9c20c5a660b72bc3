package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// measureNetd runs the tests of netd that measure, in network namespaces, and
// prints the figures among their output.
func measureNetd(ctx context.Context, m meter) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "TestScale|TestSmall", "./netd")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out.Bytes())
	}
	for line := range strings.Lines(out.String()) {
		name, value, unit, ok := parseFigure(line)
		if ok {
			m.figure(name, value, unit)
		}
	}
	return nil
}

// parseFigure reads a line: name value unit.
func parseFigure(line string) (name string, value float64, unit string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 3 || !strings.HasPrefix(fields[0], "netd_") {
		return "", 0, "", false
	}
	value, err := strconv.ParseFloat(fields[1], 64)
	return strings.ReplaceAll(fields[0], "netd_", "netd."), value, fields[2], err == nil
}

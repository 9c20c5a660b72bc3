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

// measureNetd runs the tests of netd that measure, in network namespaces.
func measureNetd(ctx context.Context, m meter) error {
	return measureTest(ctx, m, "netd_", "-run", "TestScale|TestSmall", "./netd")
}

// measureFlash writes images to loop devices, by weft and by dd.
func measureFlash(ctx context.Context, m meter) error {
	for _, part := range [][2]string{{"AgainstDd/card", "1x"}, {"AgainstDd/(weft|sparse)", "7x"}} {
		if err := measureTest(ctx, m, "flash.", "-run", "^$", "-bench", part[0], "-benchtime", part[1], "./builder/flash"); err != nil {
			return err
		}
	}
	return nil
}

// measureTest runs go test and prints the figures among its output, whose
// names have a prefix.
func measureTest(ctx context.Context, m meter, prefix string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-v"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out.Bytes())
	}
	for line := range strings.Lines(out.String()) {
		name, value, unit, ok := parseFigure(prefix, line)
		if ok {
			m.figure(name, value, unit)
		}
	}
	return nil
}

// parseFigure reads a line: name value unit.
func parseFigure(prefix, line string) (name string, value float64, unit string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 3 || !strings.HasPrefix(fields[0], prefix) {
		return "", 0, "", false
	}
	value, err := strconv.ParseFloat(fields[1], 64)
	return strings.ReplaceAll(fields[0], "netd_", "netd."), value, fields[2], err == nil
}

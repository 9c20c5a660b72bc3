package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime"

	"golang.org/x/term"

	"weft/netd/explain"
	"weft/netd/status"
)

// version is set when netd is built (go build -ldflags "-X main.version=...").
var version = "devel"

// runDaemon is netd run.
func runDaemon(ctx context.Context, o options, _, stderr io.Writer) int {
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return fails(serve(ctx, o.config, log), stderr)
}

// runCheck is netd check.
func runCheck(_ context.Context, o options, stdout, stderr io.Writer) int {
	c, d, warnings, err := readPlaced(o.config)
	if err != nil {
		return fails(err, stderr)
	}
	warnings = append(warnings, missing(c, d)...)
	if len(warnings) > 0 {
		_ = warnings.Write(stderr, styleOf(stderr).Colour)
	}
	fmt.Fprintf(stdout, "%s: good\n", o.config)
	return exitOK
}

// fails tells of an error and is the exit code for it.
func fails(err error, stderr io.Writer) int {
	var refused configError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &refused):
		_ = refused.problems.Write(stderr, styleOf(stderr).Colour) // there is nobody left to tell
		return exitUsage
	}
	fmt.Fprintln(stderr, "netd:", err)
	return exitFailed
}

// styleOf is how text for people is written to w: in colour on a terminal,
// unless NO_COLOR says otherwise (no-color.org), and as wide as it is.
func styleOf(w io.Writer) status.Style {
	file, is := w.(*os.File)
	if !is || !term.IsTerminal(int(file.Fd())) {
		return status.Style{}
	}
	style := status.Style{Colour: os.Getenv("NO_COLOR") == ""}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width >= 40 {
		style.Width = width
	}
	return style
}

// runStatus is netd status.
func runStatus(ctx context.Context, o options, stdout, stderr io.Writer) int {
	return fails(show(ctx, o, "/status", stdout, func(body []byte) error {
		return writeReport(body, stdout, status.WriteStatus)
	}), stderr)
}

// runPeers is netd peers.
func runPeers(ctx context.Context, o options, stdout, stderr io.Writer) int {
	if o.json {
		return fails(peersJSON(ctx, o, stdout), stderr)
	}
	return fails(show(ctx, o, "/status", stdout, func(body []byte) error {
		return writeReport(body, stdout, status.WritePeers)
	}), stderr)
}

// peersJSON prints the peers alone.
func peersJSON(ctx context.Context, o options, stdout io.Writer) error {
	r, err := status.Fetch(ctx, o.socket)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r.Peers)
}

// writeReport reads a report and writes it for people.
func writeReport(body []byte, stdout io.Writer, write func(io.Writer, status.Report, status.Style) error) error {
	var r status.Report
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	return write(stdout, r, styleOf(stdout))
}

// show asks the running netd and shows its answer as it is, or for people.
func show(ctx context.Context, o options, path string, stdout io.Writer, people func([]byte) error) error {
	body, err := status.Client{Socket: o.socket}.Ask(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	if o.json {
		_, err := stdout.Write(body)
		return err
	}
	return people(body)
}

// runExplain is netd explain.
func runExplain(ctx context.Context, o options, stdout, stderr io.Writer) int {
	if _, err := explain.Parse(o.args[0]); err != nil {
		fmt.Fprintln(stderr, "netd explain:", err)
		return exitUsage
	}
	return fails(show(ctx, o, "/explain?to="+url.QueryEscape(o.args[0]), stdout, func(body []byte) error {
		var a explain.Answer
		if err := json.Unmarshal(body, &a); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return explain.Write(stdout, a, styleOf(stdout))
	}), stderr)
}

// runRotate is netd rotate.
func runRotate(ctx context.Context, o options, stdout, stderr io.Writer) int {
	body, err := status.Client{Socket: o.socket}.Ask(ctx, http.MethodPost, "/rotate")
	if err == nil {
		_, err = stdout.Write(body)
	}
	return fails(err, stderr)
}

// runVersion is netd version.
func runVersion(_ context.Context, _ options, stdout, _ io.Writer) int {
	fmt.Fprintf(stdout, "netd %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}

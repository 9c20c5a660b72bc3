package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// leastTested is how many lines of tests each line of a pure part has at
// least.
const leastTested = 0.7

// edges are the packages whose users touch the world: their files are tested
// by namespaces and boots as well, and not counted here.
var edges = []string{
	"golang.org/x/sys/unix", "syscall", "net/http", "os", "os/exec", "os/signal",
	"github.com/vishvananda/netlink", "github.com/mdlayher/netlink", "github.com/mdlayher/socket",
}

// Every package of init whose decisions are plain functions over values has
// the tests that such functions make easy. go test -v prints the figures.
func TestThePurePartsAreTested(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%-12s %6s %6s %6s %s", "package", "pure", "edge", "tests", "tests per pure line")
	for _, e := range entries {
		dir := e.Name()
		if !e.IsDir() {
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var pure, edge, tests int
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.Count(data, []byte("\n"))
			switch {
			case strings.HasSuffix(name, "_test.go"):
				tests += lines
			case touchesTheWorld(t, name, data):
				edge += lines
			default:
				pure += lines
			}
		}
		if pure == 0 {
			t.Logf("%-12s %6d %6d %6d", dir, pure, edge, tests)
			continue
		}
		ratio := float64(tests) / float64(pure)
		t.Logf("%-12s %6d %6d %6d %.2f", dir, pure, edge, tests, ratio)
		if ratio < leastTested {
			t.Errorf("package %s has %.2f lines of tests for a pure line, less than %.1f", dir, ratio, leastTested)
		}
	}
}

// sockets is what opens or uses a connection; package net has types of
// addresses too.
var sockets = regexp.MustCompile(`\bnet\.(Dial|Listen|Resolver|Interface|\w*Conn\b)`)

// touchesTheWorld reports whether a file imports one of the edges, or has to
// do with connections.
func touchesTheWorld(t *testing.T, name string, data []byte) bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	return sockets.Match(data) || slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool {
		path, err := strconv.Unquote(i.Path.Value)
		return err == nil && slices.Contains(edges, path)
	})
}

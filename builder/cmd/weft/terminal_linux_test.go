package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft/document"
)

// terminalPair opens a pseudo terminal (pty(7)): what is written to the one is
// read from the other.
func terminalPair(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return screen, program
}

// tale is a problem with much to say.
var tale = document.Problems{{
	File: "profile.yaml", Line: 3, Column: 8, Width: 2, Source: "name: «配置»", Rule: "B7",
	Message: "a message that is a good deal longer than the eighty columns that a terminal has, as some are",
	Fix:     "a way out that takes as many words, because what is wrong can be mended in more than one place",
}}

func TestProblemsOnATerminalAreColouredAndFit(t *testing.T) {
	for name, colourless := range map[string]bool{"in colour": false, "without colour": true} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			t.Setenv("NO_COLOR", map[bool]string{true: "1"}[colourless])
			screen, program := terminalPair(t)
			if err := show(tale, program); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(program, "THE END")
			var text string
			buf := make([]byte, 4096)
			for !strings.Contains(text, "THE END") {
				n, err := screen.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				text += string(buf[:n])
			}
			if strings.Contains(text, "\x1b[") == colourless {
				t.Errorf("colour: %q", text)
			}
			seen := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(strings.ReplaceAll(text, "\r", ""), "")
			for line := range strings.Lines(seen) {
				if n := document.Columns(strings.TrimSuffix(line, "\n")); n > lineWidth {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
	}
}

func TestProblemsInAPipeAreLinesWithoutColour(t *testing.T) {
	t.Setenv("TERM", "xterm")
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := show(tale, f); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(data); strings.Contains(text, "\x1b") || !strings.Contains(text, tale[0].Message+"   [B7]\n") || !strings.Contains(text, "fix: "+tale[0].Fix+"\n") {
		t.Errorf("got %q", text)
	}
}

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func journals(t *testing.T) (*Journals, string) {
	t.Helper()
	return NewJournals(func() time.Time { return noon }), filepath.Join(t.TempDir(), "log")
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLinesStayInMemoryUntilTheyAreFlushed(t *testing.T) {
	j, dir := journals(t)
	j.Add("web", "before there is a disk")
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := j.Open(dir); err != nil {
		t.Fatal(err)
	}
	j.Add("web", "two\nlines")
	if _, err := os.Stat(filepath.Join(dir, "web.log")); err == nil {
		t.Error("written before the flush")
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "2026-11-21T12:00:00.000Z before there is a disk\n2026-11-21T12:00:00.000Z two lines\n"
	if got := content(t, filepath.Join(dir, "web.log")); got != want {
		t.Errorf("%q", got)
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(dir, "web.log")); got != want {
		t.Errorf("nothing new came, and: %q", got)
	}
}

func TestJournalsAreBoundedInSizeAndNumber(t *testing.T) {
	j, dir := journals(t)
	if err := j.Open(dir); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1000)
	for i := range 6 * journalBytes / 1000 {
		j.Add("web", line)
		if i%50 == 0 {
			if err := j.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/*")
	if err != nil || len(files) != journalFiles {
		t.Fatalf("%q %v", files, err)
	}
	for _, file := range files {
		text := content(t, file)
		if len(text) > journalBytes || !strings.HasSuffix(text, "x\n") || !strings.HasPrefix(text, "2026-") {
			t.Errorf("%s: %d bytes, from %.30q", file, len(text), text)
		}
	}
}

func TestAFullDiskLosesTheOldestLinesAndSaysSo(t *testing.T) {
	j, dir := journals(t)
	for i := range 2000 {
		j.Add("web", fmt.Sprintf("%04d %s", i, strings.Repeat("x", 300)))
	}
	select {
	case <-j.Full():
	default:
		t.Error("nobody was told that there is much to write")
	}
	if err := j.Open(dir); err != nil {
		t.Fatal(err)
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(content(t, filepath.Join(dir, "web.log"))), "\n")
	if !strings.HasSuffix(lines[0], "lines lost, they could not be written") || !strings.Contains(lines[len(lines)-1], "1999 ") {
		t.Errorf("from %.60q to %.40q", lines[0], lines[len(lines)-1])
	}
	var lost int
	if _, err := fmt.Sscan(lines[0], &lost); err != nil || lost+len(lines)-1 != 2000 {
		t.Errorf("%d lost and %d kept, of 2000", lost, len(lines)-1)
	}
}

func TestWhatCannotBeWrittenIsKept(t *testing.T) {
	j, dir := journals(t)
	if err := j.Open(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "web.log")
	if err := os.Mkdir(path, 0o755); err != nil { // a disk that takes nothing
		t.Fatal(err)
	}
	j.Add("web", "kept")
	if err := j.Flush(); err == nil || !strings.Contains(err.Error(), "journal of web") {
		t.Errorf("error %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	j.Add("web", "after")
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); strings.Count(got, "\n") != 2 || !strings.Contains(got, "kept") {
		t.Errorf("%q", got)
	}
}

func TestHalfALineOfAPowerCutSpoilsNoOther(t *testing.T) {
	j, dir := journals(t)
	if err := j.Open(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "web.log")
	if err := os.WriteFile(path, []byte("whole\nhal"), 0o644); err != nil {
		t.Fatal(err)
	}
	j.Add("web", "next")
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "whole\nhal\n2026-11-21T12:00:00.000Z next\n" {
		t.Errorf("%q", got)
	}
}

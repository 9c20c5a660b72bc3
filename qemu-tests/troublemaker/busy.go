//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"weft/init/keep"
)

const (
	// busyDir is where busy keeps its files, nodeDir where the node does.
	busyDir = "/data/busy"
	nodeDir = "/data/weft"
	// busyFiles is how many files are written in turn, tellEvery after how
	// many writes the number of the last one is told.
	busyFiles, tellEvery = 16, 20
)

// busy says what is whole of what it and the node wrote before, and from then
// on writes as fast as the disk takes it: files that must be whole, and lines
// for the journal. A number is told once it must not be lost any more.
func busy() error {
	last, err := checkKept()
	if err != nil {
		return err
	}
	fmt.Printf("level=WARN all whole, the last is %d\n", last)
	if err := os.MkdirAll(busyDir, 0o755); err != nil {
		return err
	}
	for i := last + 1; ; i++ {
		body := fmt.Sprintf("%d\n%s\n", i, strings.Repeat("the quick brown fox ", i%400))
		text := sum(body) + "\n" + body
		if err := keep.Write(filepath.Join(busyDir, strconv.Itoa(i%busyFiles)), []byte(text), 0o600); err != nil {
			return err
		}
		fmt.Println("wrote", i)
		if i%tellEvery == 0 {
			fmt.Printf("level=WARN kept %d\n", i)
		}
	}
}

func sum(s string) string {
	digest := sha256.Sum256([]byte(s))
	return hex.EncodeToString(digest[:])
}

// checkKept reads every file that busy and the node have written, and returns
// the highest number among busy's own.
func checkKept() (last int, err error) {
	names, err := filepath.Glob(busyDir + "/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		want, body, _ := strings.Cut(string(data), "\n")
		number, _, _ := strings.Cut(body, "\n")
		i, err := strconv.Atoi(number)
		if sum(body) != want || err != nil {
			return 0, fmt.Errorf("%s is not whole: %.60q", name, data)
		}
		last = max(last, i)
	}
	var errs []error
	for name, sound := range map[string]func([]byte) bool{
		"node.json": json.Valid, "boot.json": json.Valid,
		"clock": func(b []byte) bool { _, err := strconv.Atoi(strings.TrimSpace(string(b))); return err == nil },
	} {
		data, err := os.ReadFile(filepath.Join(nodeDir, name))
		if err == nil && !sound(data) {
			err = fmt.Errorf("%s is not whole: %.60q", name, data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return last, errors.Join(errs...)
}

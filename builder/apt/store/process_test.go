package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The test program runs itself as another build: see child.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WEFT_TEST_STORE"); dir != "" {
		os.Exit(child(dir, os.Getenv("WEFT_TEST_DEB"), os.Getenv("WEFT_TEST_HANG") != ""))
	}
	os.Exit(m.Run())
}

// child unpacks the package in the file pkg into the store dir and prints what
// it does. If hang is set, it stops for ever in the middle.
func child(dir, pkg string, hang bool) int {
	s, err := Open(dir, now, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	data, err := os.ReadFile(pkg)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	item := itemOf(data, func(ctx context.Context, part string) error {
		fmt.Println("fetching")
		return os.WriteFile(part, data, 0o644)
	})
	item.Unpacking = func(context.Context) (func(int), func(error), error) {
		fmt.Println("unpacking")
		return func(int) {
			if hang {
				fmt.Println("hanging")
				select {}
			}
		}, func(error) {}, nil
	}
	p, err := s.Package(context.Background(), item)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	text, err := p.ReadFile("usr/lib/file")
	fmt.Println("read", len(text), err)
	return 0
}

// start starts the test program as another build.
func start(t *testing.T, dir, pkg string, hang bool) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEFT_TEST_STORE="+dir, "WEFT_TEST_DEB="+pkg)
	if hang {
		cmd.Env = append(cmd.Env, "WEFT_TEST_HANG=1")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, bufio.NewScanner(out)
}

func TestTwoProcessesUnpackOnce(t *testing.T) {
	dir, pkg := t.TempDir(), filepath.Join(t.TempDir(), "test.deb")
	if err := os.WriteFile(pkg, samplePackage(t), 0o644); err != nil {
		t.Fatal(err)
	}
	var unpacked, read int
	var commands []*exec.Cmd
	var outputs []*bufio.Scanner
	for range 3 {
		cmd, out := start(t, dir, pkg, false)
		commands, outputs = append(commands, cmd), append(outputs, out)
	}
	for i, out := range outputs {
		for out.Scan() {
			switch out.Text() {
			case "unpacking":
				unpacked++
			case fmt.Sprintf("read %d <nil>", len(body)):
				read++
			}
		}
		if err := commands[i].Wait(); err != nil {
			t.Error(err)
		}
	}
	if unpacked != 1 || read != 3 {
		t.Errorf("%d unpacked, %d read", unpacked, read)
	}
}

func TestKillInTheMiddleOfUnpackingLeavesAUsableCache(t *testing.T) {
	dir, pkg := t.TempDir(), filepath.Join(t.TempDir(), "test.deb")
	data := samplePackage(t)
	if err := os.WriteFile(pkg, data, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, out := start(t, dir, pkg, true)
	for out.Scan() && out.Text() != "hanging" {
	}
	half, err := os.ReadDir(filepath.Join(dir, tmp))
	if err != nil || len(half) != 1 {
		t.Fatalf("nothing half made to kill: %v %v", half, err)
	}

	// While it lives, its work is left alone and its lock is waited for.
	s := openStore(t, dir)
	if _, err := os.Stat(filepath.Join(dir, tmp, half[0].Name(), "data")); err != nil {
		t.Errorf("the work of a living build was swept: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := s.Package(ctx, itemOf(data, nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("did not wait for the other build: %v", err)
	}

	cmd.Process.Kill()
	cmd.Wait()
	s = openStore(t, dir)
	noLeftovers(t, dir)
	// The download was whole before the kill: nothing is fetched.
	check(t, s, itemOf(data, nil))
}

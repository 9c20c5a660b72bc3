package vm_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/qemu-tests/vm/vmtest"
)

// helperVariable makes the test binary run TestHelperWithAGuest, which ends
// the way the variable says while its guest runs.
const helperVariable = "WEFT_VM_HELPER"

func TestHelperWithAGuest(t *testing.T) {
	way, name, _ := strings.Cut(os.Getenv(helperVariable), ":")
	if way == "" {
		return // only of use to TestNoGuestSurvives
	}
	cfg := guest(t, say+busy+text("\nrunning\n"))
	cfg.Name = name
	v := vmtest.Start(t, cfg)
	if _, err := v.Expect(t.Context(), regexp.MustCompile("running")); err != nil {
		t.Fatal(err)
	}
	fmt.Println("guest runs")
	switch way {
	case "fails":
		t.Fatal("as asked")
	case "panics":
		panic("as asked")
	case "exits":
		os.Exit(1)
	case "is killed":
		<-t.Context().Done()
	}
}

func TestNoGuestSurvives(t *testing.T) {
	for _, way := range []string{"fails", "panics", "exits", "is killed"} {
		t.Run("a test that "+way, func(t *testing.T) {
			name := fmt.Sprintf("survivor-%d-%s", os.Getpid(), strings.Fields(way)[0])
			helper := exec.Command(os.Args[0], "-test.run=^TestHelperWithAGuest$", "-test.timeout=60s")
			helper.Env = append(os.Environ(), helperVariable+"="+way+":"+name, "TMPDIR="+t.TempDir())
			var said bytes.Buffer
			out, err := helper.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			helper.Stderr = &said
			if err := helper.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { helper.Process.Kill() })
			if !sees(out, "guest runs") {
				t.Fatalf("the helper never ran its guest: %v\n%s", helper.Wait(), said.String())
			}
			if way == "is killed" {
				if len(guestsNamed(t, name)) == 0 {
					t.Error("no guest to be seen while the helper lives: this test would prove nothing")
				}
				if err := helper.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.Copy(io.Discard, out); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := helper.Wait(); !errors.As(err, &exit) {
				t.Errorf("the helper ended with %v, want a failure:\n%s", err, said.String())
			}
			deadline := time.After(10 * time.Second)
			for len(guestsNamed(t, name)) > 0 {
				select {
				case <-deadline:
					t.Fatalf("still there: %v", guestsNamed(t, name))
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
}

// sees reads lines until one is as wanted.
func sees(r io.Reader, want string) bool {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if lines.Text() == want {
			return true
		}
	}
	return false
}

// guestsNamed lists the processes that run a guest of that name.
func guestsNamed(t *testing.T, name string) []string {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range lines {
		// A process that ends meanwhile, or is a zombie, has none.
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte("\x00guest="+name+"\x00")) {
			found = append(found, path)
		}
	}
	return found
}

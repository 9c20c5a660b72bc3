package vm

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestHelperWithAGuard starts a guarded process and waits to be killed.
func TestHelperWithAGuard(t *testing.T) {
	if os.Getenv("WEFT_VM_GUARD_HELPER") == "" {
		return // only of use to TestGuardOutlivesAKilledParent
	}
	guarded := exec.Command("sleep", "60")
	guarded.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	guarded.Stdout = os.Stdout
	if err := guarded.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := shellGuard(guarded.Process.Pid); err != nil {
		t.Fatal(err)
	}
	fmt.Println("guarded")
	<-t.Context().Done()
}

func TestGuardOutlivesAKilledParent(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	helper := exec.Command(os.Args[0], "-test.run=^TestHelperWithAGuard$", "-test.timeout=60s")
	helper.Env = append(os.Environ(), "WEFT_VM_GUARD_HELPER=1")
	helper.Stdout = in
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	// The guarded process holds the pipe too: its end is seen only when both
	// are gone.
	if err := out.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	guarded := false
	for lines.Scan() {
		if lines.Text() == "guarded" {
			guarded = true
			if err := helper.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = helper.Wait() // it was killed
	if err := lines.Err(); err != nil || !guarded {
		t.Errorf("guarded %v; the guarded process still runs: %v", guarded, err)
	}
}

package vm_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/vmtest"
)

// say is assembly that writes the zero-ended text at "text" to the first
// serial port and goes on behind itself.
const say = `
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7000
	cld
	mov si, text
	mov dx, 0x3f8
.next:	lodsb
	test al, al
	jz .said
	out dx, al
	jmp .next
.said:
`

const (
	stop      = "\nstop:	hlt\n	jmp stop\n"
	busy      = "\nstop:	jmp stop\n"
	debugExit = "\n	mov al, 21\n	out 0xf4, al\n" + stop
	// powerOff turns the machine off through the power management block of
	// ICH9 (SLP_EN with type 0, ACPI 4.8.3.2.1), where SeaBIOS puts it.
	powerOff = "\n	mov dx, 0x604\n	mov ax, 0x2000\n	out dx, ax\n" + stop
	reset    = "\n	mov al, 0xfe\n	out 0x64, al\n" + stop
)

func text(s string) string { return "\ntext:	db `" + strings.ReplaceAll(s, "\n", `\n`) + "`, 0\n" }

// guest returns the configuration of a guest that runs an assembled sector
// under software emulation.
func guest(t *testing.T, source string) vm.Config {
	t.Helper()
	return vm.Config{
		Name: "guest", Accel: vm.TCG, Memory: 64,
		Disks:     []vm.Disk{{Path: vmtest.Assemble(t, source), Throwaway: true}},
		CPULimit:  20 * time.Second,
		WallLimit: 5 * time.Minute,
	}
}

func TestConsoleIsMatchedFromACursor(t *testing.T) {
	var raw bytes.Buffer
	cfg := guest(t, say+stop+text("hello one\nhello two\n"))
	cfg.Console = &raw
	v := vmtest.Start(t, cfg)
	for _, want := range []string{"one", "two"} {
		match, err := v.Expect(t.Context(), regexp.MustCompile(`hello (\w+)\n`))
		if err != nil {
			t.Fatal(err)
		}
		if match[1] != want {
			t.Errorf("matched %q, want %q", match[1], want)
		}
	}
	v.Kill()
	exit, err := v.Wait(t.Context())
	if err != nil || !exit.Killed {
		t.Errorf("exit %+v, error %v; want killed without error", exit, err)
	}
	if !strings.Contains(v.Console(), "hello one\nhello two\n") || !strings.Contains(raw.String(), "hello two") {
		t.Errorf("console %q, raw %q", v.Console(), raw.String())
	}
	if exit.Usage.CPU <= 0 || exit.Usage.PeakMemory <= 0 {
		t.Errorf("usage %+v, want some", exit.Usage)
	}
}

func TestPanicEndsTheGuestAtOnceWithTheReason(t *testing.T) {
	lines := "booting\n[    2.203809] Kernel panic - not syncing: VFS: no root\n[    2.204993] Call Trace:\n[    2.205] last line\n"
	v := vmtest.Start(t, guest(t, say+busy+text(lines)))
	_, err := v.Wait(t.Context())
	var failure *vm.Failure
	if !errors.As(err, &failure) || !errors.Is(err, vm.ErrFault) {
		t.Fatalf("error %v, want a fault", err)
	}
	if want := "kernel panic: Kernel panic - not syncing: VFS: no root"; failure.Reason != want {
		t.Errorf("reason %q, want %q", failure.Reason, want)
	}
	for _, want := range []string{"booting", "last line", "qemu-system-x86_64", "-cpu max,-cx16"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestPanicThatEndsQEMUIsStillAPanic(t *testing.T) {
	cfg := guest(t, say+reset+text("\nKernel panic - not syncing: x\n"))
	cfg.NoReboot = true
	if _, err := vmtest.Start(t, cfg).Wait(t.Context()); !errors.Is(err, vm.ErrFault) {
		t.Fatalf("error %v, want a fault", err)
	}
}

func TestPanicIsNoFaultWhereTheTestAllowsIt(t *testing.T) {
	cfg := guest(t, say+debugExit+text("\nKernel panic - not syncing: x\n"))
	cfg.Faults, cfg.DebugExit = []vm.FaultPattern{}, true
	exit, err := vmtest.Start(t, cfg).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if value, ok := exit.Guest(); !ok || value != 21 {
		t.Errorf("the guest's number is %d, %v; want 21", value, ok)
	}
}

func TestBusyGuestMeetsTheCPULimit(t *testing.T) {
	cfg := guest(t, say+busy+text("busy\n"))
	cfg.CPULimit = time.Second
	v := vmtest.Start(t, cfg)
	exit, err := v.Wait(t.Context())
	if !errors.Is(err, vm.ErrCPULimit) {
		t.Fatalf("error %v, want the CPU limit", err)
	}
	if cpu := exit.Usage.CPU; cpu < time.Second || cpu > 4*time.Second {
		t.Errorf("used %v of CPU, want little more than a second", cpu)
	}
}

func TestIdleGuestMeetsTheWallLimit(t *testing.T) {
	cfg := guest(t, say+stop+text("idle\n"))
	cfg.WallLimit = time.Second
	if _, err := vmtest.Start(t, cfg).Wait(t.Context()); !errors.Is(err, vm.ErrWallLimit) {
		t.Fatalf("error %v, want the wall limit", err)
	}
}

func TestPowerOffIsAnOrderlyEnd(t *testing.T) {
	exit, err := vmtest.Start(t, guest(t, say+powerOff+text("bye\n"))).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if exit.Shutdown != "guest-shutdown" || exit.Code != 0 || exit.Killed {
		t.Errorf("exit %+v, want guest-shutdown", exit)
	}
}

func TestResetStartsTheGuestAgain(t *testing.T) {
	v := vmtest.Start(t, guest(t, say+stop+text("started\n")))
	for range 2 {
		if _, err := v.Expect(t.Context(), regexp.MustCompile("started")); err != nil {
			t.Fatal(err)
		}
		v.Mark()
		if err := v.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Expect(t.Context(), regexp.MustCompile("started")); err != nil {
		t.Fatal(err)
	}
}

func TestSentBytesReachTheGuest(t *testing.T) {
	echo := `
.wait:	mov dx, 0x3fd
	in al, dx
	test al, 1
	jz .wait
	mov dx, 0x3f8
	in al, dx
	inc al
	out dx, al
	jmp .wait
`
	v := vmtest.Start(t, guest(t, say+echo+text("type\n")))
	if _, err := v.Expect(t.Context(), regexp.MustCompile("type\n")); err != nil {
		t.Fatal(err)
	}
	if err := v.Send([]byte("GDKKN")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Expect(t.Context(), regexp.MustCompile("HELLO")); err != nil {
		t.Fatal(err)
	}
}

func TestWaitInVainSaysWhatTheConsoleShowed(t *testing.T) {
	cfg := guest(t, say+powerOff+text("something else\n"))
	_, err := vmtest.Start(t, cfg).Expect(t.Context(), regexp.MustCompile("never"))
	if err == nil {
		t.Fatal("matched what was never written")
	}
	for _, want := range []string{"never", "something else", "to reproduce"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestEndOfTheContextEndsTheGuest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v, err := vm.Start(ctx, guest(t, say+busy+text("busy\n")))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := v.Wait(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestQEMUThatRefusesItsArgumentsIsQuoted(t *testing.T) {
	cfg := guest(t, say+stop+text("never\n"))
	cfg.ExtraArgs = []string{"-device", "no-such-device"}
	_, err := vmtest.Start(t, cfg).Wait(t.Context())
	if !errors.Is(err, vm.ErrQEMU) || !strings.Contains(err.Error(), "no-such-device") {
		t.Errorf("error %v, want QEMU's own words", err)
	}
}

func TestMissingQEMUSaysHowToGetIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := vm.Start(t.Context(), vm.Config{})
	var missing *vm.MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "install qemu-system-x86: make deps") {
		t.Errorf("error %v", err)
	}
}

func TestThrowawayDiskIsLeftAsItIs(t *testing.T) {
	for _, throwaway := range []bool{true, false} {
		write := `
	mov ax, 0x0301
	mov cx, 2
	mov dx, 0x80
	mov bx, text
	int 0x13
` + powerOff
		cfg := guest(t, say+write+text("written\n"))
		cfg.Disks[0].Throwaway = throwaway
		if _, err := vmtest.Start(t, cfg).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		disk, err := os.ReadFile(cfg.Disks[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		if changed := bytes.Contains(disk[512:1024], []byte("written")); changed == throwaway {
			t.Errorf("throw-away %v: changed %v", throwaway, changed)
		}
	}
}

func TestEveryBusBoots(t *testing.T) {
	for _, bus := range []string{"virtio", "sata", "nvme", "scsi", "usb"} {
		cfg := guest(t, say+powerOff+text("booted\n"))
		cfg.Disks[0].Bus = bus
		v := vmtest.Start(t, cfg)
		if _, err := v.Expect(t.Context(), regexp.MustCompile("booted")); err != nil {
			t.Errorf("%s: %v", bus, err)
		}
	}
}

func TestUEFIVariablesArePrivateAndKept(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	cfg := vm.Config{Name: "uefi", Accel: vm.TCG, Firmware: vm.UEFI, Memory: 128, StateDir: state, CPULimit: 60 * time.Second}
	v := vmtest.Start(t, cfg)
	if _, err := v.Wait(t.Context()); !errors.Is(err, vm.ErrFault) || !strings.Contains(err.Error(), "nothing to boot") {
		t.Fatalf("error %v, want nothing to boot", err)
	}
	vars := filepath.Join(state, "uefi-vars.fd")
	first, err := os.ReadFile(vars)
	if err != nil {
		t.Fatal(err)
	}
	// The firmware has written boot entries; a second start must keep them.
	v = vmtest.Start(t, cfg)
	v.Kill()
	second, err := os.ReadFile(vars)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the variables were not kept: %v", err)
	}
}

func TestNothingIsLeftInTheTemporaryDirectory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	cfg := guest(t, say+stop+text("here\n"))
	v := vmtest.Start(t, cfg)
	if _, err := v.Expect(t.Context(), regexp.MustCompile("here")); err != nil {
		t.Fatal(err)
	}
	v.Kill()
	entries, err := filepath.Glob(filepath.Join(tmp, "weft-vm-*"))
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

package qemutests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weft/builder"
	"weft/event"
	"weft/init/trace"
	"weft/qemu-tests/vm"
)

// helper compiles a program of this folder for a guest, once.
func helper(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		path := filepath.Join(workDir, name)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "weft/qemu-tests/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if said, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("compile %s: %w\n%s", name, err, said)
		}
		return path, nil
	})
}

var (
	troublemaker = helper("troublemaker")
	k3shost      = helper("k3shost")
)

// troubled builds an image with services that make trouble: each of the given
// lines is one, as name, how and further settings.
func troubled(t *testing.T, services ...string) string {
	t.Helper()
	program, err := troublemaker()
	if err != nil {
		t.Fatal(err)
	}
	text := "weft: profile/v1\nname: trouble\ndescription: services that make trouble\n" +
		"network:\n  pods: [10.244.0.0/16]\n  backend: {type: vxlan}\nservices:\n"
	for _, s := range services {
		name, more, _ := strings.Cut(s, ",")
		text += fmt.Sprintf("  - {name: %s, program: {path: %s}, args: [%s]%s}\n", name, program, name, comma(more))
	}
	return imageOf(t, profileFile(t, "trouble", text))
}

func comma(more string) string {
	if more == "" {
		return ""
	}
	return "," + more
}

// imageOf builds the image of a profile.
func imageOf(t *testing.T, profile string) string {
	t.Helper()
	o, err := options(board, profile)
	if err != nil {
		t.Fatal(err)
	}
	built, err := builder.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return built.Path
}

// lastBoot waits until the node has said how the boot before ended.
func (n node) lastBoot() trace.End {
	n.t.Helper()
	e := n.wait("how the last boot ended", func(e event.Event) bool { return e.Kind == event.Status && e.Name == "last boot" })
	var end trace.End
	if err := json.Unmarshal(e.Data, &end); err != nil {
		n.t.Fatal(err)
	}
	n.t.Logf("the last boot: %+v", end)
	return end
}

// onData lists or reads what is on the data partition of a machine that is
// off, by a command of debugfs(8).
func onData(t *testing.T, cfg vm.Config, command string) string {
	t.Helper()
	return tool(t, "e2fsprogs", "debugfs", "-R", command, device(t, diskOf(cfg)))
}

// traceOf reads the trace whose name has a part.
func traceOf(t *testing.T, cfg vm.Config, part string) string {
	t.Helper()
	for _, name := range strings.Fields(onData(t, cfg, "ls -p /weft/traces")) {
		for _, field := range strings.Split(name, "/") {
			if strings.Contains(field, part) {
				return onData(t, cfg, "cat /weft/traces/"+field)
			}
		}
	}
	t.Errorf("no trace of %s is kept", part)
	return ""
}

func TestBadServicesAreCappedToldAndTraced(t *testing.T) {
	t.Parallel()
	cfg := machine(t, troubled(t, "crash", "eat, memory: 48, restart: never", "mute, notify: true"), vm.BIOS)
	cfg.Faults = vm.FatalFaults() // the kernel tells where it was when memory ran out
	n := start(t, cfg)
	n.problem("eat is down", "out of memory")
	n.problem("crash is down", "it has ended 8 times within 10m0s and stays down")
	e := n.wait("degraded by crash", func(e event.Event) bool {
		return e.Kind == event.Degraded && strings.Contains(e.Text, "crash: ") && strings.Contains(e.Text, "eat: ")
	})
	t.Log(e.Text)
	// netd and the network do not suffer.
	if strings.Contains(e.Text, "netd") {
		t.Errorf("netd suffers: %s", e.Text)
	}
	n.powerOff()
	cleanDisk(t, diskOf(cfg))
	for part, want := range map[string][]string{
		"down-crash": {"crash stays down", "| about to crash", "| level=ERROR the last words of a crash"},
		"oom-eat":    {"eat was ended for want of memory", "| eating", "Memory cgroup out of memory: Killed process"},
	} {
		if text := traceOf(t, cfg, part); !hasAll(text, want) {
			t.Errorf("the trace of %s does not have all of %q:\n%s", part, want, text)
		}
	}
	if text := onData(t, cfg, "cat /var/log/weft/crash.log"); strings.Count(text, "the last words of a crash") != 8 {
		t.Errorf("the journal of crash:\n%s", text)
	}
}

func TestAServiceThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	cfg := machine(t, troubled(t, "hang"), vm.BIOS)
	n := start(t, cfg)
	n.ready()
	before := n.Usage().Wall
	n.powerOff()
	t.Logf("it took %s", n.Usage().Wall-before)
	n.problem("hang hangs", "did not end within 10s")
	cleanDisk(t, diskOf(cfg))

	n = start(t, cfg)
	if end := n.lastBoot(); end.Kind != trace.Orderly || !strings.Contains(end.Text, "power button") {
		t.Errorf("the last boot: %+v", end)
	}
	n.ready()
	n.wait("its status, which follows the note that it is ready", func(e event.Event) bool {
		return e.Kind == event.Status && e.Name == "node"
	})
	n.Kill()
	// Nobody said goodbye this time.
	n = start(t, cfg)
	if end := n.lastBoot(); end.Kind != trace.Reset || end.Phase != trace.Ready {
		t.Errorf("the last boot: %+v", end)
	}
}

func TestOrderlyReboots(t *testing.T) {
	t.Parallel()
	cfg := machine(t, troubled(t, "reboot"), vm.BIOS)
	n := start(t, cfg)
	n.ready()
	n.wait("the end", func(e event.Event) bool {
		return e.Kind == event.Stopping && strings.Contains(e.Text, "SIGTERM, reboot")
	})
	n.Mark()
	if end := n.lastBoot(); end.Kind != trace.Orderly || !strings.Contains(end.Text, "SIGTERM, reboot") {
		t.Errorf("after SIGTERM: %+v", end)
	}
	n.ready()
	n.keys("ctrl", "alt", "delete")
	n.wait("the end", func(e event.Event) bool {
		return e.Kind == event.Stopping && strings.Contains(e.Text, "Ctrl-Alt-Del, reboot")
	})
	n.Mark()
	if end := n.lastBoot(); end.Kind != trace.Orderly || !strings.Contains(end.Text, "Ctrl-Alt-Del, reboot") {
		t.Errorf("after Ctrl-Alt-Del: %+v", end)
	}
	n.ready()
	n.powerOff()
	n.noProblems()
	cleanDisk(t, diskOf(cfg))
}

// keys presses keys at once.
func (n node) keys(codes ...string) {
	n.t.Helper()
	ctx, cancel := n.within()
	defer cancel()
	var keys []map[string]string
	for _, code := range codes {
		keys = append(keys, map[string]string{"type": "qcode", "data": code})
	}
	if _, err := n.QMP(ctx, "send-key", map[string]any{"keys": keys}); err != nil {
		n.t.Fatal(err)
	}
}

func TestAWedgedNetdStartsTheNodeAgain(t *testing.T) {
	t.Parallel()
	cfg := machine(t, troubled(t, "wedge"), vm.BIOS)
	cfg.Watchdog = true
	n := start(t, cfg)
	n.problem("netd is wedged")
	n.problem("the watchdog starts the node again", "netd has shown no life")
	n.Mark()
	end := n.lastBoot()
	if end.Kind != trace.Watchdog || !strings.Contains(end.Text, "netd has shown no life") {
		t.Errorf("the last boot: %+v", end)
	}
	n.ready()
	n.powerOff()
	if text := traceOf(t, cfg, "watchdog"); !hasAll(text, []string{"netd has shown no life", "netd is ", "the kernel says:"}) {
		t.Errorf("the trace:\n%s", text)
	}
}

func TestAFrozenInitIsResetByTheHardware(t *testing.T) {
	t.Parallel()
	cfg := machine(t, troubled(t, "freeze"), vm.BIOS)
	cfg.Watchdog = true
	n := start(t, cfg)
	n.wait("the first boot", func(e event.Event) bool { return e.Kind == event.Identity })
	n.Mark()
	n.wait("the second boot", func(e event.Event) bool { return e.Kind == event.Identity })
	n.wait("how the last boot ended", func(e event.Event) bool {
		return e.Kind == event.Status && e.Name == "last boot" && strings.Contains(string(e.Data), "the hardware's watchdog reset the node")
	})
	n.ready()
	n.powerOff()
	cleanDisk(t, diskOf(cfg))
}

func TestAPanicOfTheKernelIsTracedAcrossTheReboot(t *testing.T) {
	t.Parallel()
	cfg := machine(t, troubled(t, "panic"), vm.UEFI)
	cfg.Faults = []vm.FaultPattern{}
	n := start(t, cfg)
	n.wait("the first boot", func(e event.Event) bool { return e.Kind == event.Identity })
	n.Mark()
	n.wait("the second boot", func(e event.Event) bool { return e.Kind == event.Identity })
	if end := n.lastBoot(); end.Kind != trace.Panic || !strings.Contains(end.Text, "sysrq triggered crash") || end.Trace == "" {
		t.Errorf("the last boot: %+v", end)
	}
	n.ready()
	n.powerOff()
	if text := traceOf(t, cfg, "kernel-panic"); !strings.Contains(text, "Kernel panic - not syncing: sysrq triggered crash") {
		t.Errorf("the trace:\n%s", text)
	}
}

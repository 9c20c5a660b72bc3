package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/event"
)

func TestFaultsAreToldFromNoise(t *testing.T) {
	for _, tc := range []struct{ name, console, want string }{
		{"panic", "[    2.203809] Kernel panic - not syncing: VFS: x\n", "kernel panic: Kernel panic - not syncing: VFS: x"},
		{"panic with caller", "[    2.203809][    T1] Kernel panic - not syncing: x\n", "kernel panic: Kernel panic - not syncing: x"},
		{"panic without a stamp", "Kernel panic - not syncing: x\n", "kernel panic: Kernel panic - not syncing: x"},
		{"oops", "[ 1.0] Oops: double fault: 0000 [#1] PREEMPT SMP\n", "kernel oops: Oops: double fault: 0000 [#1] PREEMPT SMP"},
		{"arm64 oops", "[ 1.0] Internal error: Oops: 96000004 [#1]\n", "kernel oops: Internal error: Oops: 96000004 [#1]"},
		{"null pointer", "[ 1.0] BUG: kernel NULL pointer dereference, address: 0\n", "kernel bug: BUG: kernel NULL pointer dereference, address: 0"},
		{"BUG_ON", "[ 1.0] kernel BUG at mm/slub.c:1!\n", "kernel bug: kernel BUG at mm/slub.c:1!"},
		{"protection fault", "[ 1.0] general protection fault, maybe for address 0x10: 0000 [#1]\n", "kernel fault: general protection fault, maybe for address 0x10: 0000 [#1]"},
		{"double fault", "[ 1.0] PANIC: double fault, error_code: 0x0\n", "kernel fault: PANIC: double fault, error_code: 0x0"},
		{"warning", "[ 1.0] WARNING: CPU: 0 PID: 1 at net/x.c:1 f+0x1\n", "kernel warning: WARNING: CPU: 0 PID: 1 at net/x.c:1 f+0x1"},
		{"warning of newer kernels", "[ 1.0] WARNING: net/x.c:1 at f+0x1, CPU#0: x/1\n", "kernel warning: WARNING: net/x.c:1 at f+0x1, CPU#0: x/1"},
		{"call trace alone", "[ 1.0] Call Trace:\n", "kernel call trace: Call Trace:"},
		{"BIOS finds nothing", "\x1b[0mNo bootable device.\r\n", "nothing to boot: No bootable device."},
		{"OVMF finds nothing", "\x1b[2J\x1b[01;01HUEFI Interactive Shell v2.2\r\n", "nothing to boot: UEFI Interactive Shell v2.2"},
		{"OVMF exception", "!!!! X64 Exception Type - 0D(#GP - General Protection)  CPU Apic ID - 00000000 !!!!\n", "firmware exception: !!!! X64 Exception Type - 0D(#GP - General Protection)  CPU Apic ID - 00000000 !!!!"},
		{"colours do not hide it", "[ 1.0] \x1b[31mKernel\x1b[0m panic - not syncing: x\r\n", "kernel panic: Kernel panic - not syncing: x"},

		{"a line that has not ended", "Kernel panic - not syncing: x", ""},
		{"mentioned within a line", "docs say: Kernel panic - not syncing\nno BUG: here\n", ""},
		{"a program's fault", "[ 1.0] traps: weft[12] general protection fault ip:1 sp:2 error:0\n", ""},
		{"stall on a busy host", "[ 9.0] rcu: INFO: rcu_preempt self-detected stall on CPU\n[ 9.1] Call Trace:\n", ""},
		{"lockup on a busy host", "[ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [swapper/0:1]\n[ 9.1] Call Trace:\n", ""},
		{"workqueue on a busy host", "[ 9.0] BUG: workqueue lockup - pool cpus=0 stuck for 31s!\n", ""},
		{"hung task on a busy host", "[ 9.0] INFO: task init:1 blocked for more than 120 seconds.\n[ 9.1] Call Trace:\n", ""},
		{"panic after a stall", "[ 9.0] watchdog: BUG: soft lockup - CPU#0\n[ 9.1] Kernel panic - not syncing: x\n", "kernel panic: Kernel panic - not syncing: x"},
		{"panic behind a very long line", strings.Repeat("x", 3*maxLine) + "\nKernel panic - not syncing: x\n", "kernel panic: Kernel panic - not syncing: x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// However the text is cut into pieces, the answer is the same.
			for _, size := range []int{len(tc.console), 7, 1} {
				d := detector{patterns: DefaultFaults()}
				var s stripper
				var got string
				for rest := []byte(tc.console); len(rest) > 0 && got == ""; {
					n := min(size, len(rest))
					got, _ = d.scan(s.plain(rest[:n]))
					rest = rest[n:]
				}
				if got != tc.want {
					t.Errorf("in pieces of %d: %q, want %q", size, got, tc.want)
				}
			}
		})
	}
}

func TestFatalFaultsLeaveWarningsAlone(t *testing.T) {
	d := detector{patterns: FatalFaults()}
	if fault, found := d.scan([]byte("[ 1.0] WARNING: CPU: 0 PID: 1 at x\n[ 1.0] Call Trace:\n")); found {
		t.Errorf("found %q", fault)
	}
	if _, found := d.scan([]byte("[ 1.0] Kernel panic - not syncing: x\n")); !found {
		t.Error("found no panic")
	}
}

func TestTerminalSequencesAreStripped(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "a\tb\nc", "a\tb\nc"},
		{"carriage return", "a\r\nb", "a\nb"},
		{"colour", "\x1b[1;31mred\x1b[0m", "red"},
		{"reset and private mode", "\x1bc\x1b[?7l\x1b[2Jtext", "text"},
		{"title", "\x1b]0;name\x07text", "text"},
		{"title ended by ST", "\x1b]0;name\x1b\\text", "text"},
		{"character set", "\x1b(Btext", "text"},
		{"broken sequence does not eat the log", "\x1b[12\nnext", "\nnext"},
		{"controls", "a\x00\x08\x7fb", "ab"},
		{"UTF-8 stays", "grüße", "grüße"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s stripper
			if got := string(s.plain([]byte(tc.in))); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("\x1b[31m[ 1.0] Kernel panic - not syncing: x\r\n"), 3)
	f.Add([]byte("\x1b]0;\x1b\\\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		size = max(size%64, 1)
		whole, pieces := newConsole(nil), newConsole(nil)
		d := detector{patterns: DefaultFaults()}
		whole.take(text)
		for len(text) > 0 {
			n := min(size, len(text))
			d.scan(pieces.take(text[:n]))
			text = text[n:]
		}
		if whole.String() != pieces.String() {
			t.Errorf("%q in pieces, %q whole", pieces, whole)
		}
		if len(d.line) > maxLine {
			t.Errorf("a line of %d bytes is kept", len(d.line))
		}
		if strings.ContainsAny(whole.String(), "\x1b\r") {
			t.Errorf("%q is not plain", whole)
		}
	})
}

func TestConsoleKeepsABoundedLog(t *testing.T) {
	c := newConsole(nil)
	line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
	for range 20 {
		c.take(line)
	}
	c.take([]byte("the end\n"))
	if len(c.text) > maxConsole || !strings.HasPrefix(c.String(), "[") {
		t.Errorf("%d bytes kept, beginning with %.20q", len(c.text), c.String())
	}
	if _, err := c.expect(t.Context(), regexp.MustCompile("the end\n")); err != nil {
		t.Error(err)
	}
	if tail := c.tail(1); tail != "the end" {
		t.Errorf("the last line is %.20q", tail)
	}
}

func TestHostileEventLinesAreSkipped(t *testing.T) {
	l := newEventLog()
	l.read(strings.NewReader(strings.Join([]string{
		`{"uptime":1.5,"kind":"step","name":"module vxlan","millis":12}`,
		``, `not json`, `{"kind":""}`, `[]`, `"x"`, `{"kind":7}`, "\x00\xff",
		`{"kind":"ready","text":"` + strings.Repeat("x", maxEventLine) + `"}`,
		`{"kind":"ready"}`, `{"kind":"ready","text":"cut off`,
	}, "\n")))
	got := l.all()
	if len(got) != 2 || got[0].Name != "module vxlan" || got[0].Millis != 12 || got[1].Kind != event.Ready {
		t.Errorf("events %+v", got)
	}
	if l.invalid == 0 {
		t.Error("no line was counted as invalid")
	}
}

func TestEventIsFoundBeforeAndAfterTheWaitBegan(t *testing.T) {
	l := newEventLog()
	ready := func(e event.Event) bool { return e.Kind == event.Ready }
	l.read(strings.NewReader(`{"kind":"ready","text":"first"}` + "\n" + `{"kind":"identity"}` + "\n"))
	for range 2 { // a wait takes nothing away
		if e, err := l.wait(t.Context(), ready); err != nil || e.Text != "first" {
			t.Errorf("%+v, %v", e, err)
		}
	}
	l.mark()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if e, err := l.wait(short, ready); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the mark: %+v, %v", e, err)
	}
	found := make(chan string)
	go func() {
		e, err := l.wait(t.Context(), ready)
		if err != nil {
			e.Text = err.Error()
		}
		found <- e.Text
	}()
	l.read(strings.NewReader(`{"kind":"ready","text":"second"}` + "\n"))
	if text := <-found; text != "second" {
		t.Errorf("found %q", text)
	}
	l.end()
	if _, err := l.wait(t.Context(), func(event.Event) bool { return false }); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestFloodOfEventsIsBounded(t *testing.T) {
	l := newEventLog()
	for range maxEvents + 1 {
		l.take([]byte(`{"kind":"step"}`), false)
	}
	if n := len(l.all()); n > maxEvents || n < maxEvents/2 {
		t.Errorf("%d events kept", n)
	}
	l.mark()
	l.take([]byte(`{"kind":"ready"}`), false)
	if e, err := l.wait(t.Context(), func(event.Event) bool { return true }); err != nil || e.Kind != event.Ready {
		t.Errorf("after the mark %+v, %v", e, err)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"uptime":1,"kind":"ready","data":{}}` + "\n"))
	f.Add([]byte("\n\x00{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := newEventLog()
		l.read(bytes.NewReader(text))
		for _, e := range l.all() {
			if e.Kind == "" {
				t.Errorf("event %+v has no kind", e)
			}
		}
	})
}

// fakeQEMU answers QMP requests on its end of a pipe.
func fakeQEMU(t *testing.T, answer func(request string, id int) string) io.ReadWriter {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		_, _ = io.WriteString(theirs, `{"QMP":{"version":{}}}`+"\n")
		requests := json.NewDecoder(theirs)
		for {
			var request struct {
				Execute string
				ID      int
			}
			if requests.Decode(&request) != nil {
				return
			}
			reply := answer(request.Execute, request.ID)
			if reply == "" {
				theirs.Close()
				return
			}
			_, _ = io.WriteString(theirs, reply+"\n")
		}
	}()
	return ours
}

func TestQMPAnswersAreToldApart(t *testing.T) {
	var heard []string
	q := newQMP(fakeQEMU(t, func(request string, id int) string {
		switch request {
		case "qmp_capabilities":
			return `{"return":{},"id":-1}`
		case "query-status":
			return `{"event":"STOP"}` + "\n" + `junk` + "\n" + `{"return":{"status":"running"},"id":` + string(rune('0'+id)) + `}`
		case "bad":
			return `{"error":{"class":"GenericError","desc":"no such thing"},"id":` + string(rune('0'+id)) + `}`
		}
		return ""
	}), func(name string, _ json.RawMessage) { heard = append(heard, name) })
	answer, err := q.do(t.Context(), "query-status", nil)
	if err != nil || !strings.Contains(string(answer), "running") {
		t.Errorf("answer %s, %v", answer, err)
	}
	if _, err := q.do(t.Context(), "bad", nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error %v", err)
	}
	if _, err := q.do(t.Context(), "hang up", nil); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want that QEMU has ended", err)
	}
	if len(heard) != 1 || heard[0] != "STOP" {
		t.Errorf("events %v", heard)
	}
}

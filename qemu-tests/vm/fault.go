package vm

import (
	"bytes"
	"regexp"
	"strings"
)

// A FaultPattern is a line on the console that means the guest has failed.
type FaultPattern struct {
	// Name says what the line means.
	Name string
	// Line matches the line, without escape sequences, carriage returns and
	// the kernel's time stamp.
	Line *regexp.Regexp
}

// DefaultFaults returns what no guest under test may print: [FatalFaults],
// and the kernel's warnings and call traces. Reports of a kernel that only
// waited too long, which a busy host causes, are not among them; the call
// traces they bring are told apart from those of faults.
func DefaultFaults() []FaultPattern {
	return append(FatalFaults(),
		pattern("sanitizer report", `^(KASAN|UBSAN|KFENCE|KCSAN): `),
		pattern("kernel warning", `^WARNING: (CPU: \d+ PID: \d+ at |\S+:\d+ at )`),
		pattern(callTrace, `^Call [Tt]race:`),
	)
}

// FatalFaults returns the lines by which Linux, UEFI firmware and SeaBIOS say
// that it is over.
func FatalFaults() []FaultPattern {
	return []FaultPattern{
		pattern("kernel panic", `^Kernel panic - not syncing`),
		pattern("kernel oops", `^(Oops|Internal error: Oops)\b`),
		pattern("kernel bug", `^(BUG: |kernel BUG at )`),
		pattern("kernel fault", `^(PANIC: )?(double fault|general protection fault|stack segment|divide error|invalid opcode|int3)\b.*(:|\[#\d+\])`),
		pattern("kernel fault", `^(PANIC: early exception|Unable to handle kernel )`),
		pattern("no init", `^(No working init found|Failed to execute /init)`),
		pattern("firmware exception", `^!!!! (X64|AArch64|IA32) Exception Type|^(Synchronous|SError) Exception at 0x`),
		pattern("nothing to boot", `^No bootable device\.|No bootable option or device was found|^UEFI Interactive Shell v`),
	}
}

const callTrace = "kernel call trace"

func pattern(name, line string) FaultPattern {
	return FaultPattern{name, regexp.MustCompile(line)}
}

var (
	// stamp is the kernel's time stamp, with the caller that some kernels
	// print (CONFIG_PRINTK_TIME, CONFIG_PRINTK_CALLER).
	stamp = regexp.MustCompile(`^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?`)
	// waited starts a report that time, not the kernel, is at fault: stalls
	// of RCU (kernel/rcu/tree_stall.h), lockups (kernel/watchdog.c, kernel/workqueue.c) and hung
	// tasks (kernel/hung_task.c). On a busy host they mean nothing, and a
	// real hang meets the limits.
	waited = regexp.MustCompile(`rcu_\w+ (self-)?detected (expedited )?stall|soft lockup|hard LOCKUP|workqueue lockup|blocked for more than \d+ seconds|clocksource: .*unstable`)
)

const (
	// maxLine is how much of a line is looked at.
	maxLine = 4096
	// waitedLines is how many lines such a report takes until its call
	// traces are done, one for each processor.
	waitedLines = 200
)

// detector finds the first fault in a console's text, piece by piece.
type detector struct {
	patterns []FaultPattern
	line     []byte
	excused  int // lines for which call traces mean nothing
}

// scan returns the fault that text completes a line of, if any. A line that
// has not ended is kept for the next piece.
func (d *detector) scan(text []byte) (fault string, found bool) {
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n')
		piece := text
		if end >= 0 {
			piece, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		d.line = append(d.line, piece[:min(len(piece), maxLine-len(d.line))]...)
		if end < 0 {
			break
		}
		line := string(d.line)
		d.line = d.line[:0]
		if fault, found := d.judge(line); found {
			return fault, true
		}
	}
	return "", false
}

// judge looks at a whole line.
func (d *detector) judge(line string) (string, bool) {
	line = strings.TrimRight(stamp.ReplaceAllString(line, ""), " \t")
	d.excused = max(d.excused-1, 0)
	if waited.MatchString(line) {
		d.excused = waitedLines
		return "", false
	}
	for _, p := range d.patterns {
		if !p.Line.MatchString(line) {
			continue
		}
		if d.excused > 0 && p.Name == callTrace {
			continue
		}
		return p.Name + ": " + line, true
	}
	return "", false
}

package status

import (
	"strings"
	"testing"
	"time"

	"weft/init/ntp"
	"weft/init/sysctl"
)

func TestDurationsAreSaidAsPeopleSayThem(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 s", 119: "119 s", 120: "2 min", 7199: "119 min", 7200: "2 h", 2*86400 - 1: "47 h", 2 * 86400: "2 days", 90 * 86400: "90 days",
	} {
		if got := duration(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if lifetime("expires in ", nil) != "" {
		t.Error("what has no end is said to have one")
	}
}

func TestTheClockAndTheDataPartitionInOneLine(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for want, state := range map[string]ntp.State{
		"2026-02-03T04:05:06Z, right to 12ms by 192.0.2.1": {Synced: true, Distance: 12 * time.Millisecond, Followed: []string{"192.0.2.1"}},
		"2026-02-03T04:05:06Z, not set by a time server":   {},
		"not set by a time server: nobody answered":        {Error: "nobody answered"},
	} {
		if got := clock(Document{At: at, Clock: Clock{State: state}}); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, d := range map[string]Data{
		"in memory, lost at the next boot":                                  {Size: 1 << 30},
		"vda5, 1 of 2 MiB free, READ-ONLY AFTER DAMAGE, damage met 3 times": {Device: "vda5", Size: 2 << 20, Free: 1 << 20, ReadOnly: true, Errors: 3},
	} {
		if got := data(d); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSettingsAreListedWithWhatIsWrongWithThem(t *testing.T) {
	got := SysctlText([]sysctl.Finding{
		{Name: "kernel.panic", Want: "10", Have: "10", OK: true},
		{Name: "net.ipv4.conf.wlan0.rp_filter", Want: "2", OK: true, Waits: true, Why: "device wlan0 is not there"},
		{Name: "vm.swappiness", Want: "1", Have: "60", Why: "something has changed it"},
	})
	lines := strings.Split(strings.TrimSpace(got), "\n")
	for i, want := range []string{"ok ", "waits ", "WRONG "} {
		if len(lines) != 3 || !strings.HasPrefix(strings.TrimSpace(lines[i]), want) {
			t.Fatalf("%q", got)
		}
	}
	if !strings.Contains(lines[2], "want 1") || !strings.Contains(lines[2], "is 60") || !strings.Contains(lines[1], "is -") {
		t.Errorf("%s", got)
	}
}

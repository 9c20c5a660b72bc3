package trace

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestJudge(t *testing.T) {
	record := func(p Phase, why string) *Record {
		return &Record{Boot: "b1", Phase: p, Why: why, At: noon, Uptime: 12.4}
	}
	panicked := []Dump{{Reason: "Panic", Text: "[    9.1] Kernel panic - not syncing: sysrq triggered crash\n[    9.2] end"}}
	for name, c := range map[string]struct {
		record *Record
		dumps  []Dump
		reset  bool
		kind   Kind
		text   string
	}{
		"the first boot":             {nil, nil, false, First, "nothing is kept"},
		"in order":                   {record(Clean, "power button, power off"), nil, false, Orderly, "ended in order: power button, power off"},
		"in order, with a watchdog":  {record(Clean, "x"), nil, true, Orderly, "in order"},
		"power cut when ready":       {record(Ready, ""), nil, false, Reset, "it had been ready since 12 s after it started"},
		"power cut when degraded":    {record(Degraded, "netd: no\nmore"), nil, false, Reset, "degraded (netd: no) since"},
		"power cut while starting":   {record(Starting, ""), nil, false, Reset, "starting"},
		"the kernel panicked":        {record(Ready, ""), panicked, false, Panic, "the kernel panicked: sysrq triggered crash"},
		"panicked, nothing recorded": {nil, panicked, false, Panic, "sysrq"},
		"an oops long before":        {record(Clean, "x"), []Dump{{Reason: "Oops", Text: "BUG: x"}}, false, Orderly, "in order"},
		"bitten":                     {record(Bitten, "netd has shown no life"), nil, false, Watchdog, "started the node again: netd has shown no life"},
		"bitten by hardware":         {record(Ready, ""), nil, true, Watchdog, "init or the kernel no longer answered"},
		"gave up":                    {record(GaveUp, "init has a bug: x\nstack"), nil, false, Failure, "init could not go on: init has a bug: x"},
		"stuck while stopping":       {record(Stopping, "SIGTERM, reboot"), nil, false, Unfinished, "it was stopping (SIGTERM, reboot)"},
		"stuck, and bitten":          {record(Stopping, "SIGTERM, reboot"), nil, true, Watchdog, "the hardware's watchdog ended it"},
		"a phase of the future":      {record("dancing", ""), nil, false, Reset, "dancing"},
	} {
		e := Judge(c.record, c.dumps, c.reset)
		if e.Kind != c.kind || !strings.Contains(e.Text, c.text) || strings.Contains(e.Text, "\n") {
			t.Errorf("%s: %s %q, want %s %q", name, e.Kind, e.Text, c.kind, c.text)
		}
		if c.record != nil && (e.Boot != "b1" || e.Phase != c.record.Phase) {
			t.Errorf("%s: %+v", name, e)
		}
		if e.Well() != (c.kind == First || c.kind == Orderly) {
			t.Errorf("%s: well %v", name, e.Well())
		}
	}
}

func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "boot.json")
	if r, err := Load(path); r != nil || err != nil {
		t.Errorf("before the first: %v %v", r, err)
	}
	want := Record{Boot: "b", Image: "i", Phase: Ready, Why: "so", At: noon, Uptime: 5}
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || *got != want {
		t.Errorf("%+v %v", got, err)
	}
	want.Why = strings.Repeat("ä", maxWhy)
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(path); err != nil || len(got.Why) > maxWhy || strings.Trim(got.Why, "ä") != "" {
		t.Errorf("a long reason: %v", err)
	}
	for name, text := range map[string]string{"half": `{"boot":`, "too long": strings.Repeat(" ", maxRecord+1), "empty": ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPstore(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		// As efi_pstore keeps it: small parts, the first one the newest.
		"dmesg-efi_pstore-1001": "Panic#2 Part1\n<0>[    2.3] Kernel panic - not syncing: Fatal exception\n<4>[    2.4] last\x1b[2J\n",
		"dmesg-efi_pstore-1002": "Panic#2 Part2\n<6>[    1.0] middle\n",
		"dmesg-efi_pstore-1003": "Panic#2 Part10\n<6>[    0.1] first",
		"dmesg-efi_pstore-1004": "Oops#1 Part1\n<1>[    2.0] BUG: kernel NULL pointer dereference\n",
		"dmesg-efi_pstore-1005": "garbage",
		"console-ramoops-0":     "not asked for",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dumps, files, err := ReadPstore(dir)
	if err != nil || len(dumps) != 2 || len(files) != 5 {
		t.Fatalf("%d dumps of %d files, %v", len(dumps), len(files), err)
	}
	if dumps[0].Reason != "Oops" || dumps[0].Cause() != "kernel NULL pointer dereference" {
		t.Errorf("first %+v", dumps[0])
	}
	want := "[    0.1] first\n[    1.0] middle\n[    2.3] Kernel panic - not syncing: Fatal exception\n[    2.4] last [2J\n"
	if dumps[1].Reason != "Panic" || dumps[1].Text != want || dumps[1].Cause() != "Fatal exception" {
		t.Errorf("second %q", dumps[1])
	}
	if err := Forget(files); err != nil {
		t.Fatal(err)
	}
	if left, _, err := ReadPstore(dir); err != nil || len(left) != 0 {
		t.Errorf("%d are left, %v", len(left), err)
	}
	if err := Forget(files[:1]); err == nil {
		t.Error("no error for what is gone")
	}
}

func TestPstoreIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		text := fmt.Sprintf("Panic#%d Part1\n%s", i, strings.Repeat("x", maxDump-20))
		if i == 0 {
			text += strings.Repeat("x", 40)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("dmesg-ramoops-%d", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dumps, _, err := ReadPstore(dir)
	if err == nil || len(dumps) != 4 {
		t.Errorf("%d dumps, %v", len(dumps), err)
	}
}

func TestCause(t *testing.T) {
	for text, want := range map[string]string{
		"[ 1.0] a\n[ 2.0] Kernel panic - not syncing: b\n[ 3.0] c": "b",
		"[ 1.0][ T12] Oops: d\n[ 2.0] e":                           "d",
		"[ 1.0][ T12] f":                                           "f",
		"":                                                         "",
	} {
		if got := (Dump{Text: text}).Cause(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTracesAreBoundedInSizeAndNumber(t *testing.T) {
	s := NewStore(filepath.Join(t.TempDir(), "traces"), func() time.Time { return noon })
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("at first %q %v", list, err)
	}
	var last string
	for i := range maxTraces + 5 {
		path, err := s.Add(fmt.Sprintf("OOM web/%d", i), "web was ended", "line\n"+strings.Repeat("y", i))
		if err != nil {
			t.Fatal(err)
		}
		last = path
	}
	list, err := s.List()
	if err != nil || len(list) != maxTraces || list[len(list)-1] != last || filepath.Base(list[0]) != "000006-oom-web-5.txt" {
		t.Errorf("%d traces %q %v", len(list), list, err)
	}
	path, err := s.Add("", "title", strings.Repeat("0123456789\n", maxTrace/5)+"the end")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if len(text) > maxTrace || !strings.HasPrefix(text, "title\n2026-11-21T12:00:00Z\n\n...\n0123456789\n") || !strings.HasSuffix(text, "\nthe end\n") {
		t.Errorf("%d bytes, %.60q … %q", len(text), text, text[len(text)-30:])
	}
	// What is not a trace is left alone.
	stranger := filepath.Join(filepath.Dir(path), "notes.txt")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(); err != nil || len(list) != maxTraces {
		t.Errorf("%d traces %v", len(list), err)
	}
}

func TestNoRoomForATraceIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStore(filepath.Join(file, "traces"), time.Now)
	if _, err := s.Add("a", "b", "c"); err == nil {
		t.Error("no error")
	}
}

func FuzzParsePart(f *testing.F) {
	f.Add("Panic#1 Part1\n<6>[ 1.0] x\n")
	f.Add("Oops#99999999999999999999 Part1\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePart(text)
		if !ok {
			return
		}
		for _, d := range join([]part{p, p}) {
			if c := d.Cause(); strings.ContainsAny(c, "\n\x1b") || strings.ContainsAny(d.Text, "\x1b\x00") {
				t.Errorf("%q", d)
			}
		}
	})
}

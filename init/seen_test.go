package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"weft/init/ready"
	"weft/init/status"
	"weft/init/storage"
)

func TestNeedsAreShownWithAWayOut(t *testing.T) {
	got := needs([]ready.Item{
		{Name: "modules", State: ready.Good},
		{Name: "network", State: ready.Pending, Reason: "eth0 has no carrier"},
		{Name: "data partition", State: ready.Failed, Reason: "vda5 is damaged"},
	})
	want := []string{"good", "pending", "failed"}
	for i, n := range got {
		if n.State != want[i] || (n.Fix == "") != (n.State == "good") {
			t.Errorf("%+v", n)
		}
	}
}

func TestResolversAreReadFromWhatProgramsRead(t *testing.T) {
	servers, domains := resolvers("# made by weft\nsearch a.example b.example\nnameserver 10.0.2.3\nnameserver fd00::3\noptions edns0\nnameserver\n")
	if !reflect.DeepEqual(servers, []string{"10.0.2.3", "fd00::3"}) || !reflect.DeepEqual(domains, []string{"a.example", "b.example"}) {
		t.Errorf("%q, %q", servers, domains)
	}
}

func TestWithoutANodeThereIsNothingToShow(t *testing.T) {
	if _, err := os.Stat(statusSocket); err == nil {
		t.Fatal("the tests run on a node")
	}
	for _, args := range [][]string{{"status"}, {"check"}, {"sysctl"}, {"status", "--json"}} {
		if code := outside(args); code != exitUnavailable {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

func TestMeasurementsAreKeptAndDamagedOnesMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latency.json")
	if m, err := readMeasurement(path); err != nil || m != (status.Sync{}) {
		t.Errorf("none: %+v, %v", m, err)
	}
	for text, ok := range map[string]bool{`{"at":"2026-02-03T04:05:06Z","median":1.5,"worst":3,"slow":false}`: true, "{": false, "": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := readMeasurement(path); (err == nil) != ok || ok && (m.Median != 1.5 || m.At.IsZero()) {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
}

func TestDiskNotes(t *testing.T) {
	var n diskNotes
	n.add("made new")
	n.add("made new")
	n.mounted(storage.Partition{Name: "vda5"})
	n.measured(&status.Sync{Median: 1})
	if len(n.notes) != 1 || n.name() != "vda5" || n.sync == nil {
		t.Errorf("%+v", n.notes)
	}
	if n.where() != "gone" {
		t.Errorf("it is %s", n.where())
	}
	if n.setAside("vda6", "kept"); !strings.Contains(n.where(), "in vda6") || len(n.notes) != 2 {
		t.Errorf("it is %s; %q", n.where(), n.notes)
	}
	if n.damage(0) || !n.damage(2) || n.damage(2) || !n.damage(3) {
		t.Error("damage is not told once each time it grows")
	}
	if millis(1500*time.Microsecond) != 1.5 {
		t.Error("milliseconds")
	}
}

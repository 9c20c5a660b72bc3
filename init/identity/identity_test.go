package identity

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestANewIdentityIsWellFormed(t *testing.T) {
	a, err := New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.UUID == b.UUID || a.MachineID == b.MachineID || strings.ReplaceAll(a.UUID, "-", "") == a.MachineID {
		t.Errorf("identities are alike: %+v, %+v", a, b)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(a.UUID) {
		t.Errorf("uuid %q", a.UUID)
	}
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(a.MachineID) {
		t.Errorf("machine id %q", a.MachineID)
	}
	if _, err := New(bytes.NewReader(make([]byte, 20))); err == nil {
		t.Error("no error without randomness")
	}
}

func TestAnIdentityStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.json")
	id, isNew, damage, err := Load(path, rand.Reader)
	if err != nil || !isNew || damage != nil {
		t.Fatalf("new %v, damage %v, %v", isNew, damage, err)
	}
	id.Hostname, id.HostnameSource = "n1", "node file"
	if err := id.Save(path); err != nil {
		t.Fatal(err)
	}
	again, isNew, damage, err := Load(path, rand.Reader)
	if err != nil || isNew || damage != nil || again != id {
		t.Errorf("%+v, new %v, damage %v, %v; want %+v", again, isNew, damage, err, id)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestADamagedIdentityIsReplacedAndSaid(t *testing.T) {
	id, err := New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := string(id.Encode())
	for name, text := range map[string]string{
		"empty":         "",
		"torn":          good[:40],
		"other version": strings.Replace(good, Version, "identity/v9", 1),
		"upper case":    strings.Replace(good, id.UUID, strings.ToUpper(id.UUID), 1),
		"short id":      strings.Replace(good, id.MachineID, id.MachineID[1:], 1),
		"bad name":      strings.Replace(good, `"machineID"`, `"hostname": "a b", "machineID"`, 1),
		"not hex":       strings.Replace(good, id.UUID, "zzzzzzzz-zzzz-4zzz-8zzz-zzzzzzzzzzzz", 1),
		"huge":          strings.Repeat(" ", maxFile) + good,
	} {
		path := filepath.Join(t.TempDir(), "node.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, isNew, damage, err := Load(path, rand.Reader)
		if err != nil || !isNew || damage == nil || got.UUID == id.UUID || got.Hostname != "" {
			t.Errorf("%s: %+v, new %v, damage %v, %v", name, got, isNew, damage, err)
		}
	}
	if _, err := Decode([]byte("{}")); !errors.Is(err, ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

func TestAFileOfANewerWeftIsRead(t *testing.T) {
	id, err := New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(id.Encode()), "{", `{"wireguard": {"key": "…"},`, 1)
	if got, err := Decode([]byte(text)); err != nil || got != id {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"weft":"identity/v1","uuid":"5ba0d6b6-63be-4c66-a9de-cd4549fabc55","machineID":"835f723a105b4cf78c01af45f8521dde","hostname":"n"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(id.Encode())
		if err != nil || again.UUID != id.UUID || again.MachineID != id.MachineID {
			t.Errorf("%+v does not survive: %+v, %v", id, again, err)
		}
	})
}

func TestADiskInAnotherMachineIsToldNotRenamed(t *testing.T) {
	id := Identity{Hostname: "n1", UUID: "u", Machine: "a"}
	for _, same := range []string{"", "a"} {
		if text := id.Moved(same); text != "" {
			t.Errorf("in %q: %s", same, text)
		}
	}
	if text := (Identity{}).Moved("b"); text != "" {
		t.Errorf("never seen anywhere: %s", text)
	}
	text := id.Moved("b")
	for _, part := range []string{"machine a", "in b now", "node n1", "erase the data partition of the copy"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

func TestTheMachineOfAFileIsPrintable(t *testing.T) {
	id, err := New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for machine, sound := range map[string]bool{"": true, "4c4c4544-0042": true, "a\x1b[2J": false, strings.Repeat("a", 257): false} {
		id.Machine = machine
		if _, err := Decode(id.Encode()); (err == nil) != sound {
			t.Errorf("machine %.20q: %v", machine, err)
		}
	}
}

package wireguard

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The wg tool makes the key, and says what its public one is.
func TestKeysAreThoseOfTheWGTool(t *testing.T) {
	tool, err := exec.LookPath("wg")
	if err != nil {
		t.Fatal("install wireguard-tools: make deps")
	}
	made, err := exec.Command(tool, "genkey").Output()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivate(string(made))
	if err != nil {
		t.Fatal(err)
	}
	pubkey := exec.Command(tool, "pubkey")
	pubkey.Stdin = strings.NewReader(key.Reveal() + "\n")
	public, err := pubkey.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := key.Public().String(); got != strings.TrimSpace(string(public)) {
		t.Errorf("public key is %s, wg says %s", got, public)
	}
	if key.Reveal() != strings.TrimSpace(string(made)) {
		t.Error("the key reads back as another")
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	key := New()
	encoded, err := json.Marshal(struct{ Key Private }{key})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s %q", key, key, key, key, key), string(encoded)} {
		if strings.Contains(text, key.Reveal()) || strings.Contains(text, key.Reveal()[:10]) {
			t.Errorf("the key is in %s", text)
		}
	}
}

func TestKeyFileIsKept(t *testing.T) {
	dir, key := filepath.Join(t.TempDir(), "state"), New()
	if err := WriteKey(dir, key); err != nil {
		t.Fatal(err)
	}
	again, err := ReadKey(dir)
	if err != nil || again != key {
		t.Errorf("read back %v, %v", again, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestDamagedKeyFileIsRefusedWithTheWayOut(t *testing.T) {
	good := New().Reveal()
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"cut", good[:30]},
		{"of zeros", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		{"something else", strings.Repeat("x", 5000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, KeyFile), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadKey(dir)
			if err == nil || !strings.Contains(err.Error(), KeyFile) || !strings.Contains(err.Error(), "fix:") || strings.Contains(err.Error(), good[:8]) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func FuzzParsePrivate(f *testing.F) {
	f.Add("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n")
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParsePrivate(text)
		if err != nil {
			if len(text) > 20 && strings.Contains(err.Error(), text[:20]) {
				t.Error("the error holds the text")
			}
			return
		}
		if again, err := ParsePrivate(key.Reveal()); err != nil || again != key || key.IsZero() {
			t.Errorf("%q reads back as %v, %v", text, again, err)
		}
	})
}

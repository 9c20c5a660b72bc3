package keys

import (
	"os"
	"strings"
	"testing"
)

func TestTheCarriedKeysAreThoseOfTheTable(t *testing.T) {
	ring, err := Debian()
	if err != nil {
		t.Fatal(err)
	}
	names, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(ring) != len(fingerprints) || len(names) != len(fingerprints) {
		t.Errorf("%d keys, %d files, %d fingerprints", len(ring), len(names), len(fingerprints))
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fingerprints {
		if !strings.Contains(string(readme), "| "+f.file+" | "+f.fingerprint+" |") {
			t.Errorf("README.md does not list %s with %s", f.file, f.fingerprint)
		}
	}
}

func TestNoCarriedKeyHasASecretPart(t *testing.T) {
	ring, err := Debian()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ring {
		if e.PrivateKey != nil {
			t.Errorf("%s has a private key", Fingerprint(e))
		}
	}
}

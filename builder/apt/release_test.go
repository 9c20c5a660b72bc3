package apt

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"weft/builder/apt/apttest"
	"weft/builder/apt/fault"
)

func TestABadInReleaseIsRefused(t *testing.T) {
	const inRelease = "dists/trixie/InRelease"
	field := func(name, value string) func(*testing.T, *apttest.Mirror) {
		return func(_ *testing.T, m *apttest.Mirror) { m.Fields[name] = value; m.Sign() }
	}
	edit := func(old, new string) func(*testing.T, *apttest.Mirror) {
		return func(t *testing.T, m *apttest.Mirror) {
			data := bytes.Replace(m.Get(inRelease), []byte(old), []byte(new), 1)
			if bytes.Equal(data, m.Get(inRelease)) {
				t.Fatal("the case changes nothing")
			}
			m.Put(inRelease, data)
		}
	}
	for name, c := range map[string]struct {
		spoil func(*testing.T, *apttest.Mirror)
		kind  fault.Kind
		text  string
	}{
		"tampered text": {edit("Codename: trixie", "Codename: trixiE"), fault.Tampered, "does not match its text"},
		"tampered hash": {edit("Packages.xz", "Packages.gz"), fault.Tampered, "does not match its text"},
		"no signature":  {func(_ *testing.T, m *apttest.Mirror) { m.Put(inRelease, []byte("Suite: trixie\n")) }, fault.Unsigned, "not one clear-signed"},
		"a login page":  {func(_ *testing.T, m *apttest.Mirror) { m.Put(inRelease, []byte("<html>please log in</html>")) }, fault.Unsigned, "login page"},
		"text before": {func(_ *testing.T, m *apttest.Mirror) {
			m.Put(inRelease, append([]byte("Suite: evil\n"), m.Get(inRelease)...))
		}, fault.Unsigned, "not one clear-signed"},
		"text after":  {func(_ *testing.T, m *apttest.Mirror) { m.Put(inRelease, append(m.Get(inRelease), "Suite: evil\n"...)) }, fault.Unsigned, "not one clear-signed"},
		"cut off":     {func(_ *testing.T, m *apttest.Mirror) { m.Put(inRelease, m.Get(inRelease)[:300]) }, fault.Unsigned, "not one clear-signed"},
		"foreign key": {func(t *testing.T, m *apttest.Mirror) { m.Keys = []*openpgp.Entity{apttest.Key(t)}; m.Sign() }, fault.ForeignKey, "by no key of the trusted ones"},
		"oversized":   {func(_ *testing.T, m *apttest.Mirror) { m.Put(inRelease, make([]byte, maxInRelease+1)) }, fault.TooLarge, "larger than"},
		"wrong suite": {func(_ *testing.T, m *apttest.Mirror) {
			m.Fields["Suite"], m.Fields["Codename"] = "oldstable", "bookworm"
			m.Sign()
		}, fault.WrongSuite, "it is of suite oldstable (bookworm), not of trixie"},
		"expired":           {field("Valid-Until", "Sat, 21 Nov 2026 03:59:59 UTC"), fault.Expired, "valid until 2026-11-21 03:59 UTC"},
		"from the future":   {field("Date", "Sat, 21 Nov 2026 04:01:01 UTC"), fault.NotYetValid, "dated 2026-11-21 04:01 UTC"},
		"no date":           {field("Date", ""), fault.Malformed, "field Date"},
		"date of no zone":   {field("Date", "Sat, 21 Nov 2026 03:00:00 CET"), fault.Malformed, "no date in UTC"},
		"nonsense validity": {field("Valid-Until", "tomorrow"), fault.Malformed, "field Valid-Until"},
		"a field twice":     {field("Suite", "stable\nSUITE: evil"), fault.Malformed, "field Suite is in it twice"},
		"two stanzas":       {field("Version", "1\n\nSuite: evil"), fault.Malformed, ""},
		"nonsense hashes":   {field("Version", "1\nSHA256:\n 12 34"), fault.Malformed, ""},
		"gone":              {func(_ *testing.T, m *apttest.Mirror) { m.Remove(inRelease) }, fault.Missing, "suite trixie"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mirrorWithKernels(t)
			s := source(t, m)
			c.spoil(t, m)
			_, err := s.Resolve(t.Context(), cloud)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.text)
			}
			if !strings.Contains(err.Error(), inRelease) || !strings.Contains(err.Error(), "\nfix: ") {
				t.Errorf("%q names no file or no way out", err)
			}
		})
	}
}

func TestTimesJustInsideTheLimitsAreAccepted(t *testing.T) {
	m := mirrorWithKernels(t)
	m.Fields["Valid-Until"] = "Sat, 21 Nov 2026 04:00:00 +0000"
	m.Fields["Date"] = "Sat, 21 Nov 2026 04:01:00 GMT"
	m.Sign()
	if _, err := source(t, m).Resolve(t.Context(), cloud); err != nil {
		t.Error(err)
	}
	delete(m.Fields, "Valid-Until")
	m.Sign()
	if _, err := source(t, m).Resolve(t.Context(), cloud); err != nil {
		t.Errorf("without Valid-Until: %v", err)
	}
}

func TestOneKnownSignerAmongOthersIsEnough(t *testing.T) {
	m := mirrorWithKernels(t)
	s := source(t, m)
	m.Keys = []*openpgp.Entity{apttest.Key(t), m.Keys[0], apttest.Key(t)}
	m.Sign()
	if _, err := s.Resolve(t.Context(), cloud); err != nil {
		t.Error(err)
	}
}

func TestAnEmptyKeyRingTrustsNobody(t *testing.T) {
	m := mirrorWithKernels(t)
	data := m.Get("dists/trixie/InRelease")
	for _, ring := range []openpgp.EntityList{nil, {}} {
		if _, err := readRelease("InRelease", data, ring, "trixie", m.Clock()); !errors.Is(err, fault.ForeignKey) {
			t.Errorf("got %v", err)
		}
	}
}

func TestExpiredKeysSignNothing(t *testing.T) {
	m := mirrorWithKernels(t)
	seconds := uint32(3600)
	for _, identity := range m.Keys[0].Identities {
		identity.SelfSignature.KeyLifetimeSecs = &seconds
	}
	m.Sign()
	if _, err := source(t, m).Resolve(t.Context(), cloud); !errors.Is(err, fault.Expired) {
		t.Errorf("got %v", err)
	}
}

// FuzzRelease reads signed texts as they could be from a broken mirror, past
// the signature.
func FuzzRelease(f *testing.F) {
	f.Add([]byte("Suite: stable\nDate: Sat, 21 Nov 2026 03:00:00 UTC\nSHA256:\n " + strings.Repeat("ab", 32) + " 5 main/x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRelease("InRelease", text)
		if err == nil && r.date.IsZero() {
			t.Error("a release without a date")
		}
	})
}

// FuzzSigned reads what could come in place of InRelease.
func FuzzSigned(f *testing.F) {
	m := apttest.NewMirror(f).Publish()
	f.Add(m.Get("dists/trixie/InRelease"))
	ring, want := m.Ring(), m.Get("dists/trixie/InRelease")
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := verifySigned("InRelease", data, ring, m.Clock())
		if err == nil && !bytes.Contains(bytes.ReplaceAll(want, []byte("\n"), nil), bytes.ReplaceAll(text, []byte("\r\n"), nil)) {
			t.Errorf("a text nobody signed was accepted: %q", text)
		}
	})
}

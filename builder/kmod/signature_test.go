package kmod

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// sign appends a signature of length bytes that claims to have claimed.
func sign(module []byte, length int, claimed uint32) []byte {
	signed := append(bytes.Clone(module), make([]byte, length+signatureInfo-4)...)
	signed = binary.BigEndian.AppendUint32(signed, claimed)
	return append(signed, signatureMagic...)
}

func TestASignatureIsTakenOffAndNothingElse(t *testing.T) {
	module := []byte("\x7fELF and so on")
	for _, c := range []struct {
		name      string
		raw, want []byte
	}{
		{"signed", sign(module, 700, 700), module},
		{"empty signature", sign(module, 0, 0), module},
		{"not signed", module, module},
		{"longer than the file", sign(module, 10, 1000), sign(module, 10, 1000)},
		{"magic alone", []byte(signatureMagic), []byte(signatureMagic)},
		{"nothing", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := StripSignature(c.raw); !bytes.Equal(got, c.want) {
				t.Errorf("%d bytes left of %d, want %d", len(got), len(c.raw), len(c.want))
			}
		})
	}
}

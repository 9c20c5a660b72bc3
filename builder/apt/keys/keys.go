// Package keys carries the public keys that the Debian archive is signed
// with. README.md beside it says where they come from.
package keys

import (
	"embed"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
)

//go:embed *.asc
var files embed.FS

// fingerprints names the key that each file must hold.
var fingerprints = []struct{ file, fingerprint string }{
	{"trixie-automatic.asc", "04B54C3CDCA79751B16BC6B5225629DF75B188BD"},
	{"trixie-stable.asc", "41587F7DB8C774BCCF131416762F67A0B2C39DE4"},
	{"bookworm-automatic.asc", "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8"},
	{"bookworm-stable.asc", "4D64FEC119C2029067D6E791F8D2585B8783D481"},
}

// Debian returns the keys of the Debian archive.
func Debian() (openpgp.EntityList, error) {
	var ring openpgp.EntityList
	for _, want := range fingerprints {
		f, err := files.Open(want.file)
		if err != nil {
			return nil, fmt.Errorf("archive key %s: %w", want.file, err)
		}
		list, err := openpgp.ReadArmoredKeyRing(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("archive key %s: %w", want.file, err)
		}
		if len(list) != 1 || Fingerprint(list[0]) != want.fingerprint {
			return nil, fmt.Errorf("archive key %s: it does not hold the one key %s", want.file, want.fingerprint)
		}
		ring = append(ring, list[0])
	}
	return ring, nil
}

// Fingerprint returns the fingerprint of a key's primary key in upper-case
// hexadecimal digits.
func Fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

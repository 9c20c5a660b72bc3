package apt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"weft/builder/apt/deb822"
	"weft/builder/apt/fault"
	"weft/builder/apt/keys"
)

const (
	// maxInRelease bounds an InRelease file, in bytes; trixie's has 140 KB.
	maxInRelease = 4 << 20
	// maxSignatures bounds the signatures of one file; Debian makes up to four.
	maxSignatures = 16
	// clockSkew is how far in the future a file may be dated: this machine's
	// clock may be that wrong. (apt's Acquire::Max-FutureTime allows 10 s.)
	clockSkew = time.Minute
)

// A release is what a verified InRelease file says.
type release struct {
	suite, codename           string
	date                      time.Time
	validUntil                time.Time // zero if it is valid for ever
	architectures, components []string
	byHash                    bool
	files                     map[string]releaseFile
}

// A releaseFile is an index as InRelease announces it.
type releaseFile struct {
	size   int64
	sha256 [32]byte
}

// readRelease verifies the InRelease file data, which is called name in
// errors, against ring, and checks that it is valid at now and of the suite
// want.
func readRelease(name string, data []byte, ring openpgp.EntityList, want string, now time.Time) (*release, error) {
	text, err := verifySigned(name, data, ring, now)
	if err != nil {
		return nil, err
	}
	r, err := parseRelease(name, text)
	if err != nil {
		return nil, err
	}
	if want != r.suite && want != r.codename {
		return nil, fault.New(fault.WrongSuite, name,
			fmt.Sprintf("it is of suite %s (%s), not of %s", r.suite, r.codename, want),
			"the mirror is broken or under attack: use another")
	}
	if r.date.After(now.Add(clockSkew)) {
		return nil, fault.New(fault.NotYetValid, name,
			fmt.Sprintf("it is dated %s, and this machine's clock says %s", stamp(r.date), stamp(now)),
			"set this machine's clock")
	}
	if !r.validUntil.IsZero() && now.After(r.validUntil) {
		return nil, fault.New(fault.Expired, name,
			fmt.Sprintf("it was valid until %s, and this machine's clock says %s", stamp(r.validUntil), stamp(now)),
			"use a mirror that is up to date; check this machine's clock; a build with a lock does not need this file")
	}
	return r, nil
}

// stamp writes a time for messages.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// verifySigned returns the text of a clear-signed file once one of its
// signatures has proved to be by a key of ring.
func verifySigned(name string, data []byte, ring openpgp.EntityList, now time.Time) ([]byte, error) {
	block, rest := clearsign.Decode(data)
	if block == nil || !bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fault.New(fault.Unsigned, name, "it is not one clear-signed OpenPGP message",
			"check that the mirror is a Debian archive and that nothing on the way (a login page, a proxy) answers in its place")
	}
	body, err := io.ReadAll(block.ArmoredSignature.Body)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Unsigned, File: name, Reason: "its signature is not readable", Err: err, Fix: "use another mirror"}
	}
	signatures, err := splitSignatures(body)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Unsigned, File: name, Reason: "its signature is not readable", Err: err, Fix: "use another mirror"}
	}
	var signers []string
	var worst error
	for _, s := range signatures {
		// A nil ring panics in the library; an empty one knows no key.
		if ring == nil {
			ring = openpgp.EntityList{}
		}
		config := &packet.Config{Time: func() time.Time { return now }}
		// The signature covers block.Bytes, the text in its canonical form.
		_, err := openpgp.CheckDetachedSignature(ring, bytes.NewReader(block.Bytes), bytes.NewReader(s.raw), config)
		if err == nil && s.weak {
			err = errors.New("it uses a hash function that is no longer safe")
		}
		if err == nil {
			return block.Bytes, nil
		}
		if !errors.Is(err, pgperrors.ErrUnknownIssuer) {
			worst = err
		}
		signers = append(signers, s.issuer)
	}
	if worst == nil {
		return nil, fault.New(fault.ForeignKey, name,
			"it is signed by "+strings.Join(signers, ", ")+" and by no key of "+ringNames(ring),
			"use a mirror of the Debian archive, or a weft that knows its current keys")
	}
	kind, reason := fault.Tampered, "its signature does not match its text"
	if errors.Is(worst, pgperrors.ErrKeyExpired) || errors.Is(worst, pgperrors.ErrKeyRevoked) || errors.Is(worst, pgperrors.ErrSignatureExpired) {
		kind, reason = fault.Expired, "its signature is no longer valid"
	}
	return nil, &fault.Error{Kind: kind, File: name, Reason: reason, Err: worst,
		Fix: "use another mirror; if all say the same, check this machine's clock and use a newer weft"}
}

// A signature is one signature packet by itself.
type signature struct {
	raw    []byte
	issuer string // key id or fingerprint, for messages
	weak   bool
}

// splitSignatures parts the packets of a signature block, so that one that
// cannot be used does not hide another.
func splitSignatures(body []byte) ([]signature, error) {
	var list []signature
	for r := packet.NewReader(bytes.NewReader(body)); ; {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		s, ok := p.(*packet.Signature)
		if !ok {
			return nil, errors.New("a packet that is no signature")
		}
		if len(list) == maxSignatures {
			return nil, errors.New("too many signatures")
		}
		var raw bytes.Buffer
		if err := s.Serialize(&raw); err != nil {
			return nil, err
		}
		list = append(list, signature{raw: raw.Bytes(), issuer: issuer(s), weak: !strong[s.Hash.String()]})
	}
	if len(list) == 0 {
		return nil, errors.New("no signature in it")
	}
	return list, nil
}

// strong are the hash functions a signature may use.
var strong = map[string]bool{"SHA-256": true, "SHA-384": true, "SHA-512": true, "SHA3-256": true, "SHA3-512": true}

// issuer names the key a signature says it is by.
func issuer(s *packet.Signature) string {
	switch {
	case len(s.IssuerFingerprint) > 0:
		return fmt.Sprintf("key %X", s.IssuerFingerprint)
	case s.IssuerKeyId != nil:
		return fmt.Sprintf("key %016X", *s.IssuerKeyId)
	}
	return "an unnamed key"
}

// ringNames lists the fingerprints of the trusted keys.
func ringNames(ring openpgp.EntityList) string {
	names := make([]string, len(ring))
	for i, e := range ring {
		names[i] = keys.Fingerprint(e)
	}
	return "the trusted ones (" + strings.Join(names, ", ") + ")"
}

// parseRelease reads the fields of a verified text.
func parseRelease(name string, text []byte) (*release, error) {
	bad := func(reason string) error {
		return fault.New(fault.Malformed, name, reason, "use another mirror")
	}
	in := deb822.NewReader(bytes.NewReader(text), false)
	if !in.Next() {
		return nil, bad("it has no fields")
	}
	if twice := in.Repeated(); twice != "" {
		return nil, bad("field " + textproto.CanonicalMIMEHeaderKey(twice) + " is in it twice")
	}
	get := func(field string) string { return string(in.Get(field)) }
	r := &release{
		suite: get("Suite"), codename: get("Codename"),
		architectures: strings.Fields(get("Architectures")),
		components:    strings.Fields(get("Components")),
		byHash:        strings.EqualFold(get("Acquire-By-Hash"), "yes"),
		files:         map[string]releaseFile{},
	}
	var err error
	if r.date, err = parseDate(get("Date")); err != nil {
		return nil, bad("field Date: " + err.Error())
	}
	if until := get("Valid-Until"); until != "" {
		if r.validUntil, err = parseDate(until); err != nil {
			return nil, bad("field Valid-Until: " + err.Error())
		}
	}
	for line := range strings.Lines(get("SHA256")) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 {
			return nil, bad(fmt.Sprintf("field SHA256: %q is not checksum, size and name", strings.TrimSpace(line)))
		}
		sum, err := parseSum(words[0])
		size, err2 := strconv.ParseInt(words[1], 10, 64)
		if err != nil || err2 != nil || size < 0 {
			return nil, bad(fmt.Sprintf("field SHA256: %q is not checksum, size and name", strings.TrimSpace(line)))
		}
		r.files[words[2]] = releaseFile{size: size, sha256: sum}
	}
	if in.Next() || in.Err() != nil {
		return nil, bad("it has more than one stanza")
	}
	return r, nil
}

// parseDate reads a date of the form RFC 2822 in UTC, as the archive writes
// it. Other zones are refused: their names are ambiguous.
func parseDate(text string) (time.Time, error) {
	for _, layout := range []string{"Mon, _2 Jan 2006 15:04:05 UTC", "Mon, _2 Jan 2006 15:04:05 GMT", "Mon, _2 Jan 2006 15:04:05 +0000"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date in UTC", text)
}

// index picks the Packages file of a component and architecture: the smallest
// form that weft reads.
func (r *release) index(name, component, arch string) (file string, want releaseFile, err error) {
	if !slices.Contains(r.architectures, arch) {
		return "", releaseFile{}, fault.New(fault.WrongSuite, name, "the suite has no architecture "+arch,
			"use one of "+strings.Join(r.architectures, ", "))
	}
	if !slices.Contains(r.components, component) {
		return "", releaseFile{}, fault.New(fault.WrongSuite, name, "the suite has no component "+component,
			"use one of "+strings.Join(r.components, ", "))
	}
	base := component + "/binary-" + arch + "/Packages"
	for _, ext := range []string{".xz", ".gz"} {
		if want, ok := r.files[base+ext]; ok {
			return base + ext, want, nil
		}
	}
	return "", releaseFile{}, fault.New(fault.Malformed, name, "it lists no "+base+".xz or .gz with a SHA-256", "use another mirror")
}

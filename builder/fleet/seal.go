package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"weft/builder/file"
	"weft/document"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// SealedSuffix is what the name of a sealed secrets file ends with, after that
// of the open one: a file of age (age-encryption.org/v1) in its armor, which is
// text and may be under version control.
const SealedSuffix = ".age"

// maxIdentity is how long a file with identities may be; SSH keys of RSA with
// 16384 bits have 13 KiB.
const maxIdentity = 1 << 20

// ParseRecipients reads whom secrets are sealed for: age1… of age-keygen,
// ssh-ed25519 and ssh-rsa as in authorized_keys; a text may hold several lines.
func ParseRecipients(texts []string) ([]age.Recipient, error) {
	var all []age.Recipient
	for line := range strings.Lines(strings.Join(texts, "\n")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseRecipient(line)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, errors.New("nobody to seal for: name a recipient, age1… or ssh-ed25519 …")
	}
	return all, nil
}

// parseRecipient reads one recipient. What is not one may be an identity,
// which is a secret, and is not repeated.
func parseRecipient(line string) (age.Recipient, error) {
	switch {
	case strings.HasPrefix(line, "ssh-"):
		r, err := agessh.ParseRecipient(line)
		if err != nil {
			return nil, fmt.Errorf("recipient %.16s…: %w", line, err)
		}
		return r, nil
	case strings.HasPrefix(line, "AGE-SECRET-KEY-"), strings.HasPrefix(line, "AGE-PLUGIN-"):
		return nil, errors.New("this is an identity, which opens; a recipient begins with age1 (age-keygen -y prints it)")
	case !strings.HasPrefix(line, "age1"):
		return nil, errors.New("a recipient begins with age1, ssh-ed25519 or ssh-rsa")
	}
	list, err := age.ParseRecipients(strings.NewReader(line))
	if err != nil {
		return nil, fmt.Errorf("recipient %s: %w", line, err)
	}
	return list[0], nil
}

// readIdentities reads a file of age-keygen, or a private SSH key.
func readIdentities(path string) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIdentity+1))
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	say := func(message, fix string) ([]age.Identity, error) {
		return nil, document.Problems{{File: path, Message: message, Fix: fix}}
	}
	if len(data) > maxIdentity {
		return say("the file is too large for identities", "name the right file")
	}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		one, err := agessh.ParseIdentity(data)
		var locked *ssh.PassphraseMissingError
		if errors.As(err, &locked) {
			return say("the SSH key is locked by a passphrase", "use a key without, or open the file with age: age -d -i KEY NAME.secrets.age")
		}
		if err != nil {
			return say("this is no SSH key that age can use", "use one of ed25519 or RSA, or a file of age-keygen")
		}
		return []age.Identity{one}, nil
	}
	// The error may hold a part of the key.
	list, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return say("this is no file of identities", "use the file that age-keygen -o FILE has made, or a private SSH key")
	}
	return list, nil
}

// Sealed is where the sealed secrets of a cluster are.
func (f *Fleet) Sealed() string { return f.SecretsFile() + SealedSuffix }

// Secrets reads the secrets of the cluster: the open file if there is one,
// else the sealed one, by the identity the fleet was read with; the zero value
// when there is neither.
func (f *Fleet) Secrets() (Secrets, error) {
	s, err := ReadSecrets(f.SecretsFile())
	if err != nil || s.Weft != "" {
		return s, err
	}
	if _, err := os.Stat(f.Sealed()); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	return Unseal(f.Sealed(), f.identity)
}

// Seal writes secrets to a file that only recipients can read.
func (s Secrets) Seal(path string, recipients []age.Recipient) error {
	data, err := s.text()
	if err != nil {
		return err
	}
	return file.Write(path, func(f *os.File) error {
		text := armor.NewWriter(f)
		w, err := age.Encrypt(text, recipients...)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return errors.Join(err, w.Close(), text.Close())
	})
}

// Unseal reads a sealed file by the identities in a file. Errors never hold
// what either says.
func Unseal(path, identity string) (Secrets, error) {
	say := func(message, fix string) (Secrets, error) {
		return Secrets{}, document.Problems{{File: path, Message: message, Fix: fix}}
	}
	if identity == "" {
		return say("the secrets are sealed", "name the file with your key: --identity FILE, or WEFT_AGE_IDENTITY=FILE")
	}
	identities, err := readIdentities(identity)
	if err != nil {
		return Secrets{}, err
	}
	sealed, err := document.ReadFile(path)
	if err != nil {
		return Secrets{}, fmt.Errorf("sealed secrets: %w", err)
	}
	in := io.Reader(bytes.NewReader(sealed))
	if bytes.HasPrefix(bytes.TrimSpace(sealed), []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	opened, err := age.Decrypt(in, identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return say("it is not sealed for the key in "+identity, "use another identity, or have it sealed for this one too")
	}
	if err != nil {
		return say("this is no file of age, or a damaged one", "put back the right file")
	}
	data, err := io.ReadAll(io.LimitReader(opened, document.MaxSize+1))
	if err != nil {
		return say("the file is damaged or cut short", "put back the right file")
	}
	if len(data) > document.MaxSize {
		return say("the file is too large for secrets", "name the right file")
	}
	s, err := parseSecrets(data)
	if err != nil {
		return say(err.Error(), "seal the right file")
	}
	return s, nil
}

// Erase overwrites a file of secrets and removes it. Flash memory and file
// systems that copy on write may keep the old blocks; nothing that a program
// can do reaches those.
func Erase(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, min(info.Size(), document.MaxSize)), 0)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	return os.Remove(path)
}

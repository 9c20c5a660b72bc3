package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"weft/init/keep"
	"weft/profiles"
	"weft/profiles/rancher"
)

// secretLine is a line of a node file that holds a key, or the token in the
// section kubernetes: the key alone, or in quotes, in block style.
var secretLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^(wireguardKey|psk| +token):[^\n]*$`) })

// movedLine takes its place, filled up with spaces.
const movedLine = "# the key is kept on the node now"

// keepSecrets moves what is secret in the node file to the data partition,
// where netd and K3s find it, and then erases it from the boot partition, which
// anybody can read who has the card. Without a lasting data partition it stays
// in both places: the node needs it again at its next boot.
func (s *system) keepSecrets() error {
	secrets := []struct{ key, value, file string }{
		{"wireguardKey", s.conf.WireGuardKey, filepath.Join(profiles.DefaultNetdPaths.State, profiles.WireGuardKeyFile)},
		{"psk", s.conf.PSK, profiles.DefaultPSKFile},
	}
	if s.profile.Kubernetes.On() {
		// The root has the folder only then.
		secrets = append(secrets, struct{ key, value, file string }{"kubernetes.token", s.conf.Kubernetes.Token, rancher.TokenFile})
	}
	some := false
	for _, secret := range secrets {
		if secret.value == "" {
			continue
		}
		some = true
		err := os.MkdirAll(filepath.Dir(secret.file), 0o700)
		if err == nil {
			err = keep.Write(secret.file, []byte(secret.value+"\n"), 0o600)
		}
		if err != nil {
			return fmt.Errorf("%s of the node file cannot be kept: %w", secret.key, err)
		}
	}
	if !some {
		return nil
	}
	s.state.Lock()
	lasting := s.stateDir != ""
	s.state.Unlock()
	if !lasting {
		return nil
	}
	if err := s.withBoot(true, func() error { return eraseSecret(filepath.Join(bootDir, profiles.NodeFile)) }); err != nil {
		return fmt.Errorf("what is secret is kept, but still in the node file too: %w; remove it there", err)
	}
	s.conf.WireGuardKey, s.conf.PSK, s.conf.Kubernetes.Token = "", "", ""
	return nil
}

// eraseSecret overwrites the secret in a node file where it stands, so that no
// free sector of the card goes on holding it. The length does not change, so
// pulling the plug leaves a sound file.
func eraseSecret(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, profiles.MaxNodeFile))
	if err != nil {
		return err
	}
	erased, err := withoutSecret(data)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(erased, 0); err != nil {
		return err
	}
	return f.Sync()
}

// withoutSecret is a node file of the same length without the keys.
func withoutSecret(data []byte) ([]byte, error) {
	erased := secretLine().ReplaceAllFunc(data, func(line []byte) []byte {
		blank := bytes.Repeat([]byte(" "), len(line))
		if nested, _, ok := bytes.Cut(line, []byte("token:")); ok && len(nested) > 0 {
			// An empty value: the section may hold nothing else.
			copy(blank, string(nested)+`token: ""`)
		} else if len(line) >= len(movedLine) {
			copy(blank, movedLine)
		}
		return blank
	})
	if conf, _, problems := profiles.ReadNode(profiles.NodeFile, erased); problems.Errors() != nil || conf.WireGuardKey != "" || conf.PSK != "" || conf.Kubernetes.Token != "" {
		return nil, errors.New("a key is not on a line of its own")
	}
	return erased, nil
}

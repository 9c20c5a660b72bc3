package ipsec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// MinPSK is how long a pre-shared key must be, in characters: flannel's
	// (pkg/backend/ipsec, minPasswordLength). 96 hexadecimal digits have 384
	// bits.
	MinPSK = 96
	// maxPSK bounds it; VICI could take 65535.
	maxPSK = 4096
)

const pskFix = "; fix: make one with `openssl rand -hex 48` and give it to all nodes, as psk in their node files"

// readPSK reads the pre-shared key. No error holds any of it.
func readPSK(file string) (string, error) {
	if file == "" {
		return "", errors.New("ipsec: no pre-shared key: network.backend.pskFile is not set" + pskFix)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("ipsec: pre-shared key: %w%s", err, pskFix)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("ipsec: pre-shared key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("ipsec: pre-shared key %s can be read by others (mode %#o); fix: chmod 600 %s", file, info.Mode().Perm(), file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPSK+1))
	if err != nil {
		return "", fmt.Errorf("ipsec: pre-shared key: %w", err)
	}
	data = bytes.TrimSpace(data)
	if len(data) < MinPSK || len(data) > maxPSK {
		return "", fmt.Errorf("ipsec: pre-shared key %s has %d characters; it needs %d to %d%s", file, len(data), MinPSK, maxPSK, pskFix)
	}
	return string(data), nil
}

package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A firmwarePair is UEFI firmware: the code, shared and read-only, and the
// template of the variables, of which every guest has its own copy.
type firmwarePair struct {
	code, vars string
}

// findFirmware returns the first pair of which both files exist.
func (a arch) findFirmware(exists func(string) bool) (firmwarePair, error) {
	var dirs []string
	for _, pair := range a.firmwareFiles {
		if exists(pair.code) && exists(pair.vars) {
			return pair, nil
		}
		if dir := filepath.Dir(pair.code); len(dirs) == 0 || dirs[len(dirs)-1] != dir {
			dirs = append(dirs, dir)
		}
	}
	return firmwarePair{}, &MissingError{
		What:  "UEFI firmware",
		Where: strings.Join(dirs, ", "),
		Fix:   fmt.Sprintf("install %s: make deps", a.firmwarePackage),
	}
}

func fileExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// variables returns the guest's own copy of the variables, made from the
// template unless dir has one from an earlier start. The copy appears whole
// or not at all.
func (p firmwarePair) variables(dir string) (string, error) {
	path := filepath.Join(dir, "uefi-vars.fd")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("UEFI variables: %w", err)
	}
	template, err := os.ReadFile(p.vars)
	if err != nil {
		return "", fmt.Errorf("UEFI variables: %w", err)
	}
	if err := os.WriteFile(path+".new", template, 0o600); err != nil {
		return "", fmt.Errorf("UEFI variables: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return "", fmt.Errorf("UEFI variables: %w", err)
	}
	return path, nil
}

//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// checks lists everything, in the order in which K3s would meet it.
func checks() []check {
	return slices.Concat(kernelChecks(), cgroupChecks(), mountChecks(), pathChecks(), sysctlChecks(), fileChecks(), processChecks(), networkChecks())
}

// text reads a file without the space around its content.
func text(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimSpace(string(data)), err
}

// equals wants a file to hold a value.
func equals(path, want string) func() error {
	return func() error {
		got, err := text(path)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", path, got, want)
		}
		return err
	}
}

// atLeast wants a file to hold a number.
func atLeast(path string, want int64) func() error {
	return func() error {
		got, err := text(path)
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(got, 10, 64)
		if err == nil && n < want {
			err = fmt.Errorf("%s is %d, want %d or more", path, n, want)
		}
		return err
	}
}

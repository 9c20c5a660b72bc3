package kmod

import (
	"slices"
	"testing"
)

func TestAliasesMatchAsModprobeMatches(t *testing.T) {
	var table aliasTable
	for alias, module := range map[string]string{
		"crypto-crc32c":         "crc32c_generic",
		"pci:v00001AF4d*sv*sd*": "virtio_pci",
		"platform:gpio-[a-c]":   "gpio",
		"acpi*:PNP0C0[ABC]:*":   "battery",
		"platform:x[":           "malformed",
		"net-pf-16-proto-12":    "nfnetlink",
		"char-major-10-2?4":     "misc",
	} {
		table.add(alias, module)
	}
	for name, want := range map[string][]string{
		"crypto-crc32c":                     {"crc32c_generic"},
		"crypto_crc32c":                     {"crc32c_generic"},
		"pci:v00001AF4d00001000sv0001sd001": {"virtio_pci"},
		"platform:gpio-b":                   {"gpio"},
		"platform:gpio--":                   nil,
		"acpi:PNP0C0A:":                     {"battery"},
		"platform:x[":                       nil,
		"net_pf_16_proto_12":                {"nfnetlink"},
		"char-major-10-234":                 {"misc"},
		"":                                  nil,
	} {
		if got := table.find(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestModuleNamesComeFromFileNames(t *testing.T) {
	for file, want := range map[string]string{
		"kernel/net/a-b.ko": "a_b", "a.ko.xz": "a", "a.ko.zst": "a", "x/a.b.ko.gz": "a.b",
		"a.o": "", ".ko": "", "kernel/.ko.xz": "", "a.ko.bz2": "", "modules.dep": "",
	} {
		got, ok := moduleName(file)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", file, got, ok)
		}
	}
}

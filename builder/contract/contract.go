// Package contract lays what a profile needs beside what a kernel and an image
// have: a table for people and programs.
//
// The comparison with the kernel is package kmod's; this package adds what is
// not the kernel's, and computes values only.
package contract

import (
	"fmt"
	"slices"
	"strings"

	"weft/builder/kmod"
	"weft/profiles"
)

// The kinds of needs.
const (
	Module  = "module"
	Symbol  = "kernel"
	Sysctl  = "sysctl"
	Program = "program"
	File    = "file"
	Device  = "device"
)

// A Row is one need and how it is met.
type Row struct {
	// Need is the name of the module, symbol, setting or file.
	Need string `json:"need"`
	// Kind is module, kernel, sysctl, program, file or device.
	Kind string `json:"kind"`
	// Met says whether it is there; Optional that it is not missed.
	Met      bool `json:"met"`
	Optional bool `json:"optional,omitempty"`
	// By says what it is met by, or what is wrong.
	By string `json:"by"`
	// Why says what stops working without it.
	Why string `json:"why"`
	// Path is the key of the profile that asks for it, of a device that of
	// the board.
	Path string `json:"path"`
	// Fix says what would bring it; empty when it is there.
	Fix string `json:"fix,omitempty"`
}

// Rows compares a contract with a kernel and with the payloads of the profile
// it comes from.
func Rows(k *kmod.Kernel, c profiles.Contract, p profiles.Profile) []Row {
	var rows []Row
	for _, f := range kmod.Check(k, c) {
		rows = append(rows, moduleRow(f))
	}
	for _, f := range kmod.CheckSymbols(k, c) {
		rows = append(rows, Row{Need: f.Need.Any[0], Kind: Symbol, Met: f.OK, By: f.Detail, Why: f.Need.Reason, Path: f.Need.Path, Fix: f.Fix})
	}
	for _, s := range c.Sysctls {
		rows = append(rows, Row{Need: s.Name, Kind: Sysctl, Met: true, By: "init sets " + s.Value, Why: s.Reason, Path: s.Path})
	}
	for _, f := range c.Files {
		rows = append(rows, fileRow(f, p, k.Arch))
	}
	return rows
}

// Unmet counts the needs that are missed.
func Unmet(rows []Row) int {
	n := 0
	for _, r := range rows {
		if !r.Met && !r.Optional {
			n++
		}
	}
	return n
}

// moduleRow says what a kernel has to say about a feature.
func moduleRow(f kmod.Finding) Row {
	r := Row{Need: f.Need.Name, Kind: Module, Optional: f.Need.Optional, Why: f.Need.Reason, Path: f.Need.Path, Fix: f.Fix}
	switch f.State {
	case kmod.Module:
		r.Met, r.By = true, "module"
	case kmod.BuiltIn:
		r.Met, r.By = true, f.Detail
	case kmod.Absent:
		r.By = f.Detail
	default:
		r.By = f.Lack
	}
	if r.Met && len(f.By) > 0 && !slices.Equal(f.By, []string{f.Need.Name}) {
		r.By += " " + strings.Join(f.By, ", ") + ", in its place"
	}
	return r
}

// fileRow says who brings a file.
func fileRow(f profiles.FileNeed, p profiles.Profile, arch string) Row {
	r := Row{Need: f.File, Kind: File, Met: true, Why: f.Reason, Path: f.Path}
	if f.Program {
		r.Kind = Program
	}
	switch f.By {
	case profiles.ByWeft:
		r.By = "weft"
	case profiles.ByPackage:
		r.By = "Debian package " + f.Name
	case profiles.ByDistribution:
		r.By = f.Name + " itself"
	case profiles.ByPayload:
		from, ok := payload(f, p, arch)
		r.Met, r.By = ok, from
		if !ok {
			r.Fix = NoProgram(f.Name)
		}
	}
	return r
}

// NoProgram says how a distribution's program gets into an image.
func NoProgram(distribution string) string {
	return fmt.Sprintf("download %s from its release page and name it in your profile: kubernetes: {payload: [{name: %s, path: ./%s}]}, or url: with sha256:", distribution, distribution, distribution)
}

// payload finds the payload that brings a program.
func payload(f profiles.FileNeed, p profiles.Profile, arch string) (from string, ok bool) {
	if f.Name == p.Kubernetes.Distribution {
		own, _, found := p.Kubernetes.Program(arch)
		if !found {
			return "no payload of the profile", false
		}
		return "payload " + own.FileName(), true
	}
	for _, s := range p.Services {
		if s.Name == f.Name && s.Program.Fits(arch) {
			return "payload " + s.Program.FileName(), true
		}
	}
	return "no payload of the profile for " + arch, false
}

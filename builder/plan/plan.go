// Package plan resolves a board and a profile into everything a build will
// do, before anything is fetched: a value to look at, to print and to compare.
//
// It does no I/O and reads no clock. What can be known wrong from the files
// alone has been refused before a plan exists; what needs the kernel package
// is checked by package builder/kmod.
package plan

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"weft/boards"
	"weft/document"
	"weft/profiles"
	"weft/profiles/rules"
)

// A Plan is a board and a profile, resolved.
type Plan struct {
	// Version is the weft that made the plan.
	Version string `yaml:"version"`
	// Board and Profile are the files with all defaults filled in.
	Board   boards.Board     `yaml:"board"`
	Profile profiles.Profile `yaml:"profile"`
	// Contract is what the profile needs of the kernel and of init.
	Contract profiles.Contract `yaml:"-"`
	// Kernel is the Debian package the kernel comes from; empty when the
	// board names a file or folder.
	Kernel string `yaml:"-"`
	// Packages are the further Debian packages of the board's suite.
	Packages []string `yaml:"packages"`
	// Userland are the packages of the suite whose programs the profile
	// needs; what they need in turn is found in the suite.
	Userland []profiles.PackageNeed `yaml:"-"`

	boardFile, profileFile *document.Document
	// read is the profile as the file has it.
	read profiles.Profile
}

// BootLoader is the Debian package of systemd-boot. One architecture's
// package holds the loader of that architecture only.
const BootLoader = "systemd-boot-efi"

// The values of boards.Disk.Loaders that the builder asks for by name.
const (
	UEFI        = boards.UEFI
	BIOS        = boards.BIOS
	RaspberryPi = boards.RaspberryPiLoader
)

// New resolves a board and a profile that were read from the two documents
// (nil for values that came from no file). Both must have passed their own
// checks.
func New(version string, b boards.Board, boardFile *document.Document, p profiles.Profile, profileFile *document.Document) Plan {
	read := p
	p = p.WithDefaults()
	plan := Plan{
		read:        read,
		Version:     version,
		Board:       b,
		Profile:     p,
		Contract:    profiles.ContractFor(p),
		Userland:    profiles.PackagesFor(p),
		Kernel:      b.Kernel.Package,
		boardFile:   boardFile,
		profileFile: profileFile,
	}
	if len(plan.Board.Components) == 0 {
		plan.Board.Components = []string{"main"}
	}
	if plan.Boots(UEFI) {
		plan.Packages = append(plan.Packages, BootLoader)
	}
	if b.RaspberryPi != nil {
		plan.Packages = append(plan.Packages, b.RaspberryPi.Package)
	}
	plan.Packages = append(plan.Packages, b.Firmware...)
	slices.Sort(plan.Packages)
	plan.Packages = slices.Compact(plan.Packages)
	return plan
}

// Boots reports whether the disk boots from a firmware interface.
func (p Plan) Boots(loader string) bool {
	return slices.Contains(p.Board.Disk.Loaders, loader)
}

// Name is the name of the image, without a suffix.
func (p Plan) Name() string {
	return p.Board.Name + "-" + p.Profile.Name
}

// BoardProblem makes an error that points at a key of the board file, and
// ProfileProblem one that points at a key of the profile file.
func (p Plan) BoardProblem(path, message string) document.Problem {
	return p.boardFile.Problem(path, message)
}

// ProfileProblem is described at [Plan.BoardProblem].
func (p Plan) ProfileProblem(path, message string) document.Problem {
	return p.profileFile.Problem(path, message)
}

// ProfileFolder is the folder of the file that says what is at a key of the
// profile, which may be one that the profile extends.
func (p Plan) ProfileFolder(path string) string {
	return filepath.Dir(p.profileFile.Position(path).File)
}

// Partitions are the partition GUIDs that the kernel command line names.
type Partitions struct {
	// Root is the slot's root, Boot the FAT partition, Data the ext4 one.
	Root, Boot, Data string
}

// Check applies the rules to the profile anew, with what is known of the
// kernel and of the image by now, and returns what was not known wrong from
// the files and the board alone. A plan whose profile came from no file breaks
// no rule.
func (p Plan) Check(facts rules.Facts) document.Problems {
	find := func(f rules.Facts) document.Problems {
		f.Arch = p.Board.Arch
		return rules.Profile(p.read, p.profileFile, nil, rules.Options{Facts: func(string) rules.Facts { return f }})
	}
	told := find(rules.Facts{})
	return slices.DeleteFunc(find(facts), func(q document.Problem) bool { return slices.Contains(told, q) })
}

// CommandLine is the kernel command line of a slot, "a" or "b".
func (p Plan) CommandLine(slot string, ids Partitions) string {
	return p.arguments(
		profiles.ArgRoot+"=PARTUUID="+ids.Root,
		profiles.ArgSlot+"="+slot,
		profiles.ArgBoot+"=PARTUUID="+ids.Boot,
		profiles.ArgData+"=PARTUUID="+ids.Data,
	)
}

// StageCommandLine is the kernel command line of the boot stage; of ids it
// takes Boot alone.
func (p Plan) StageCommandLine(ids Partitions) string {
	return p.arguments(profiles.ArgStage, profiles.ArgBoot+"=PARTUUID="+ids.Boot)
}

// arguments are those of the board behind others.
func (p Plan) arguments(args ...string) string {
	for _, console := range p.Board.Consoles {
		args = append(args, "console="+console)
	}
	args = append(args, p.Board.CommandLine...)
	args = append(args, p.Board.QEMU.CommandLine...)
	return strings.Join(args, " ")
}

// ID names the outcome of building the plan with given inputs: the SHA-256 of
// the plan and of the inputs' own digests, which are in an order the caller
// keeps. Equal ids mean equal images.
func (p Plan) ID(inputs ...string) (string, error) {
	// JSON of structs, slices and string maps is canonical: fields in order,
	// map keys sorted.
	data, err := json.Marshal(struct {
		Format, Version string
		Board           boards.Board
		Profile         profiles.Profile
		Contract        profiles.Contract
		Inputs          []string
	}{"weft image 1", p.Version, p.Board, p.Profile, p.Contract, inputs})
	if err != nil {
		return "", fmt.Errorf("plan %s: %w", p.Name(), err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data)), nil
}

package payload

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// machines are what programs of a Debian architecture look like.
var machines = map[string]struct {
	machine elf.Machine
	class   elf.Class
}{
	"amd64": {elf.EM_X86_64, elf.ELFCLASS64},
	"arm64": {elf.EM_AARCH64, elf.ELFCLASS64},
	"armhf": {elf.EM_ARM, elf.ELFCLASS32},
}

// A ProgramError says why a program cannot run on a node.
type ProgramError struct {
	// Reason says what is wrong, Fix what to do.
	Reason, Fix string
}

// Error is the reason and what to do.
func (e *ProgramError) Error() string { return e.Reason + "; fix: " + e.Fix }

// CheckProgram looks at a program before it goes into an image: it must be for
// the architecture, and what it loads must be there. has tells whether a file
// is in the image, by its path without a leading slash and with usr/ before
// lib, bin and sbin. What is wrong is a [ProgramError].
func CheckProgram(r io.ReaderAt, arch string, has func(path string) bool) error {
	want, known := machines[arch]
	if !known {
		return fmt.Errorf("architecture %s is not known", arch)
	}
	head := make([]byte, 64)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if e := notELF(head[:n]); e != nil {
		return e
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return &ProgramError{fmt.Sprintf("it is a damaged program: %v", err), "download it anew and compare its SHA-256"}
	}
	if f.Machine != want.machine || f.Class != want.class {
		return &ProgramError{fmt.Sprintf("it is a program for %s, and the board is %s", machineName(f), arch),
			fmt.Sprintf("name the one for %s; arch: tells several apart", arch)}
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return &ProgramError{fmt.Sprintf("it is no program but %s", f.Type), "name the program itself"}
	}
	return checkDynamic(f, has)
}

// notELF says what a file is that is no program.
func notELF(head []byte) error {
	is := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	unpack := "unpack it and name the program that is in it"
	switch {
	case is(elf.ELFMAG):
		return nil
	case is("\x1f\x8b"), is("\x28\xb5\x2f\xfd"), is("\xfd7zXZ"), is("BZh"), is("PK\x03\x04"):
		return &ProgramError{"it is a compressed archive and no program", unpack}
	case is("#!"):
		return &ProgramError{"it is a script, and the image has no shell", "name a static program"}
	case is("<!DOCTYPE"), is("<!doctype"), is("<html"), is("<HTML"):
		return &ProgramError{"it is a web page and no program", "download the file itself, not the page about it"}
	}
	return &ProgramError{"it is no ELF program", "name a static program for Linux"}
}

// machineName is the Debian architecture of a program, or what ELF calls it.
func machineName(f *elf.File) string {
	for arch, m := range machines {
		if f.Machine == m.machine && f.Class == m.class {
			return arch
		}
	}
	return f.Machine.String()
}

// checkDynamic wants everything that the dynamic linker would look for.
func checkDynamic(f *elf.File, has func(string) bool) error {
	var missing []string
	for _, s := range f.Progs {
		if s.Type != elf.PT_INTERP || s.Filesz > 256 {
			continue
		}
		name := make([]byte, s.Filesz)
		if _, err := s.ReadAt(name, 0); err != nil {
			return &ProgramError{"it is a damaged program: its interpreter cannot be read", "download it anew"}
		}
		interpreter := string(bytes.TrimRight(name, "\x00"))
		if !has(mergedUsr(interpreter)) {
			missing = append(missing, interpreter)
		}
	}
	libraries, err := f.ImportedLibraries()
	if err != nil && len(f.Progs) > 0 && slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_DYNAMIC }) {
		return &ProgramError{fmt.Sprintf("it is a damaged program: %v", err), "download it anew"}
	}
	for _, library := range libraries {
		there := slices.ContainsFunc([]string{"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib/arm-linux-gnueabihf", "usr/lib"},
			func(dir string) bool { return has(path.Join(dir, library)) })
		if !there {
			missing = append(missing, library)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &ProgramError{"it is not static: it loads " + strings.Join(missing, ", ") + ", which the image does not have",
		"take a static build; Go programs become one by CGO_ENABLED=0, others by linking with -static or musl"}
}

// mergedUsr is a path as it is in an image, where /lib and /bin are in usr.
func mergedUsr(name string) string {
	name = strings.TrimPrefix(path.Clean(name), "/")
	for _, dir := range []string{"lib/", "lib64/", "bin/", "sbin/"} {
		if strings.HasPrefix(name, dir) {
			return "usr/" + name
		}
	}
	return name
}

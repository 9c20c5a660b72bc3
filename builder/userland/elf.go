package userland

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"weft/builder/apt/deb"
)

// A machine is what programs of an architecture look like.
type machine struct {
	elf elf.Machine
	// triplet is the name of its folders of libraries (Debian multiarch).
	triplet string
}

// machines are the architectures, by Debian's names.
var machines = map[string]machine{
	"amd64": {elf.EM_X86_64, "x86_64-linux-gnu"},
	"arm64": {elf.EM_AARCH64, "aarch64-linux-gnu"},
}

// maxProgram bounds a program or library, in bytes; libcrypto has 6 MB.
const maxProgram = 128 << 20

// A program is what ELF says of a program or library.
type program struct {
	interpreter string
	needs       []string
	search      []string // DT_RUNPATH or DT_RPATH
}

// pickLibraries picks the interpreters of all programs and the libraries that
// programs and libraries name. Programs come first: what is loaded for them
// is there for their plugins, which may name it without saying where it is.
func (p *picker) pickLibraries() {
	var programs, plugins []string
	for _, name := range p.queue {
		if prog, ok := p.readELF(name); ok && prog.interpreter != "" {
			programs = append(programs, name)
		} else if ok {
			plugins = append(plugins, name)
		}
	}
	for _, group := range [][]string{programs, plugins} {
		// What is picked on the way is added at the end.
		for p.queue = group; len(p.queue) > 0; p.queue = p.queue[1:] {
			p.pickNeeds(p.queue[0])
		}
	}
}

// pickNeeds picks what a program or library names.
func (p *picker) pickNeeds(name string) {
	prog, ok := p.readELF(name)
	if !ok {
		return
	}
	if prog.interpreter != "" {
		p.pick(deb.MergedUsr(strings.TrimPrefix(prog.interpreter, "/")), name)
	}
	for _, library := range prog.needs {
		p.pickLibrary(name, library, prog.search)
	}
}

// pickLibrary picks a library as the dynamic linker would find it (ld.so(8)):
// one of that name that is loaded already, else in the folders that the file
// names, else in the usual ones.
func (p *picker) pickLibrary(by, library string, search []string) {
	if p.loaded[library] {
		return
	}
	usual := []string{"usr/lib/" + p.machine.triplet, "usr/lib"}
	for _, dir := range append(slices.Clone(search), usual...) {
		dir = strings.NewReplacer("$ORIGIN", "/"+path.Dir(by), "${ORIGIN}", "/"+path.Dir(by)).Replace(dir)
		name := deb.MergedUsr(strings.TrimPrefix(path.Clean(dir), "/") + "/" + library)
		if info, err := fs.Stat(p.all, name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		p.loaded[library] = true
		p.pick(name, by)
		return
	}
	p.fail("library "+library, by, "is in none of the packages")
}

// readELF reads what a program or library needs; false is for other files.
func (p *picker) readELF(name string) (program, bool) {
	if prog, read := p.programs[name]; read {
		return prog, true
	}
	data, err := p.read(name)
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("userland: %s: %w", name, err))
		return program{}, false
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return program{}, p.checkScript(name, data)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("userland: %s is no sound ELF file: %w", name, err))
		return program{}, false
	}
	if f.Machine != p.machine.elf {
		p.fail("machine "+f.Machine.String(), name, "is not that of the board, "+p.machine.elf.String())
		return program{}, false
	}
	prog, err := parse(f)
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("userland: %s: %w", name, err))
		return program{}, false
	}
	p.programs[name] = prog
	return prog, true
}

// checkScript refuses scripts whose interpreter is not there. It returns
// false: a script has no libraries.
func (p *picker) checkScript(name string, data []byte) bool {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	script, is := bytes.CutPrefix(line, []byte("#!"))
	if words := strings.Fields(string(script)); is && len(words) > 0 {
		to := deb.MergedUsr(strings.TrimPrefix(words[0], "/"))
		if _, there := p.files[to]; !there {
			p.fail("interpreter "+words[0], name, "is not in the image: scripts do not run there")
		}
	}
	return false
}

func (p *picker) read(name string) ([]byte, error) {
	info, err := fs.Stat(p.all, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxProgram {
		return nil, fmt.Errorf("%d bytes are more than %d", info.Size(), maxProgram)
	}
	return fs.ReadFile(p.all, name)
}

// parse reads the interpreter and the dynamic section.
func parse(f *elf.File) (program, error) {
	var prog program
	for _, s := range f.Progs {
		if s.Type != elf.PT_INTERP {
			continue
		}
		const most = 256
		if s.Filesz > most {
			return prog, errors.New("the name of its interpreter is too long")
		}
		name := make([]byte, s.Filesz)
		if _, err := s.ReadAt(name, 0); err != nil {
			return prog, fmt.Errorf("interpreter: %w", err)
		}
		prog.interpreter = string(bytes.TrimRight(name, "\x00"))
	}
	var err error
	if prog.needs, err = f.ImportedLibraries(); err != nil {
		return prog, fmt.Errorf("libraries: %w", err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		dirs, err := f.DynString(tag)
		if err != nil {
			return prog, fmt.Errorf("search path: %w", err)
		}
		for _, d := range dirs {
			prog.search = append(prog.search, strings.Split(d, ":")...)
		}
	}
	return prog, nil
}

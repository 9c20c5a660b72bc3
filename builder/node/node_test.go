package node

import (
	"bytes"
	"debug/elf"
	"errors"
	"testing"
)

func TestProgramsAreStaticAndOfTheirArchitecture(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		for _, name := range []string{"init", "netd"} {
			data, err := Program(arch, name)
			if err != nil {
				t.Error(err)
				continue
			}
			f, err := elf.NewFile(bytes.NewReader(data))
			if err != nil || f.Machine != machine {
				t.Errorf("%s for %s: %v, %v", name, arch, f.Machine, err)
				continue
			}
			// A program with an interpreter needs a loader that no node has.
			if f.Section(".interp") != nil {
				t.Errorf("%s for %s is not static", name, arch)
			}
		}
	}
}

func TestWhatIsNotEmbeddedIsSaid(t *testing.T) {
	for _, c := range [][2]string{{"riscv64", "init"}, {"amd64", "sh"}, {"..", "node.go"}, {"amd64", "../../node.go"}} {
		if data, err := Program(c[0], c[1]); !errors.Is(err, ErrNotEmbedded) || data != nil {
			t.Errorf("%q: %d bytes, %v", c, len(data), err)
		}
	}
}

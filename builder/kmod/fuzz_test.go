package kmod

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func FuzzModule(f *testing.F) {
	for _, suffix := range suffixes {
		f.Add(suffix, pack(f, "m"+suffix, koFile("name=m", "depends=a,b", "vermagic="+release+" ")))
	}
	f.Fuzz(func(t *testing.T, suffix string, data []byte) {
		raw, err := decompress(data, suffix)
		if err != nil {
			return
		}
		if section, err := elfSection(raw, "amd64", ".modinfo"); err == nil && len(section) > len(raw) {
			t.Errorf("section of %d bytes in a file of %d", len(section), len(raw))
		}
	})
}

func FuzzELF(f *testing.F) {
	f.Add(koFile("name=m"))
	f.Add(elfFile(183, []byte("a=b\x00")))
	f.Fuzz(func(t *testing.T, data []byte) {
		for arch := range machines {
			_, _ = elfSection(data, arch, ".modinfo")
		}
	})
}

func FuzzModinfo(f *testing.F) {
	f.Add([]byte("name=m\x00depends=a,b\x00softdep=pre: a post: b\x00alias=x*\x00vermagic=1 2\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := parseModinfo(data)
		if err != nil {
			return
		}
		for _, text := range [][]string{parsed.aliases, parsed.softdeps, parsed.depends, parsed.firmware, parsed.pre, parsed.post, parsed.weak} {
			for _, s := range text {
				if strings.ContainsAny(s, "\n\x00") {
					t.Errorf("%q would break a line", s)
				}
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("# a\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x y\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := parseConfig(data)
		if err == nil && !config.Known() {
			t.Error("accepted and unknown")
		}
	})
}

func FuzzBuiltinModinfo(f *testing.F) {
	f.Add([]byte("kernel/fs/ext4/ext4.ko\n"), []byte("ext4.alias=fs-ext4\x00ext4.softdep=pre: crc32c\x00"))
	f.Fuzz(func(t *testing.T, list, modinfo []byte) {
		found, err := parseBuiltin(list)
		if err != nil {
			return
		}
		if found.parseModinfo(modinfo) == nil {
			found.aliases.find("fs-ext4")
		}
	})
}

func FuzzImage(f *testing.F) {
	f.Add(smallBzImage(release))
	f.Add(gzipped(smallBzImage(release)))
	small := make([]byte, 256)
	copy(small[56:], "ARM\x64")
	copy(small[100:], "Linux version 6.1.0 (a@b)")
	f.Add(small)
	f.Fuzz(func(t *testing.T, data []byte) {
		image, err := parseImage(bytes.NewReader(data))
		if err == nil && checkRelease(image.release) != nil {
			t.Errorf("release %q accepted", image.release)
		}
	})
}

// smallBzImage is a setup area with the version string as early as it can be:
// the fuzzer works byte by byte.
func smallBzImage(release string) []byte {
	image := bzImage(release)[:0x400]
	binary.LittleEndian.PutUint16(image[offKernelVersion:], 0x100)
	copy(image[0x300:], release+" (a@b)\x00")
	return image
}

func FuzzIKConfig(f *testing.F) {
	f.Add([]byte(ikconfigMark + string(gzipped([]byte("CONFIG_A=y\n")))))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ikconfig(bytes.NewReader(data))
	})
}

package kmod

import (
	"bytes"
	"fmt"
	"strings"
)

// info is what a module says about itself, as far as it matters here. Names
// are normalised, aliases and firmware as written.
type info struct {
	// depends are the modules whose symbols it uses.
	depends []string
	// pre and post are modules it wants loaded before and after it, and weak
	// those it asks the kernel for when it needs them; all of them by name or
	// by alias, none of them a must.
	pre, post, weak []string
	// softdeps are the values that pre and post came from.
	softdeps []string
	aliases  []string
	firmware []string
	// release is the first word of vermagic, and name what the module calls
	// itself; built-in modules have neither.
	release string
	name    string
}

// maxModinfo bounds a .modinfo section. The largest of Debian's is 0.1 MB.
const maxModinfo = 4 << 20

// parseModinfo reads a .modinfo section: key=value strings that end in NUL,
// with more NULs between them for alignment (include/linux/moduleparam.h,
// MODULE_INFO).
func parseModinfo(section []byte) (*info, error) {
	if len(section) > maxModinfo {
		return nil, fmt.Errorf(".modinfo of %d bytes, the limit is %d", len(section), maxModinfo)
	}
	parsed := &info{}
	for entry := range bytes.SplitSeq(section, []byte{0}) {
		if len(entry) == 0 {
			continue
		}
		key, value, ok := strings.Cut(string(entry), "=")
		if !ok {
			return nil, fmt.Errorf(".modinfo: %.40q is not key=value", entry)
		}
		if err := parsed.set(key, value); err != nil {
			return nil, fmt.Errorf(".modinfo: %w", err)
		}
	}
	return parsed, nil
}

// set takes in one key. Keys that do not matter here, such as parm and
// license, are passed over.
func (i *info) set(key, value string) error {
	switch key {
	case "name", "depends", "softdep", "weakdep", "alias", "firmware", "vermagic":
		if err := checkText(key, value); err != nil {
			return err
		}
	}
	switch key {
	case "name":
		i.name = normalise(value)
	case "depends":
		for name := range strings.SplitSeq(value, ",") {
			if name != "" {
				i.depends = append(i.depends, normalise(name))
			}
		}
	case "softdep":
		i.softdeps = append(i.softdeps, value)
		i.softdep(value)
	case "weakdep":
		for name := range strings.FieldsSeq(value) {
			i.weak = append(i.weak, normalise(name))
		}
	case "alias":
		// modules.alias has its fields between blanks, so nobody can ask for
		// an alias with blanks in it. Some sound cards of Debian's arm64
		// kernels have one: "mt8192_mt6359 soc card".
		if value != "" && !strings.Contains(value, " ") {
			i.aliases = append(i.aliases, value)
		}
	case "firmware":
		i.firmware = append(i.firmware, value)
	case "vermagic":
		i.release, _, _ = strings.Cut(value, " ")
	}
	return nil
}

// softdep reads "pre: a b post: c". Words before the first of the two marks
// say nothing, as for libkmod (libkmod-config.c,
// softdep_parse).
func (i *info) softdep(value string) {
	list := new([]string)
	for word := range strings.FieldsSeq(value) {
		switch word {
		case "pre:":
			list = &i.pre
		case "post:":
			list = &i.post
		default:
			*list = append(*list, normalise(word))
		}
	}
}

// checkText refuses control characters: they would end up in the text files
// made for depmod's readers, and no module has any in these places.
func checkText(key, value string) error {
	for _, c := range []byte(value) {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("%s %.40q has control characters", key, value)
		}
	}
	return nil
}

package kmod

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestModinfoIsReadAsModulesWriteIt(t *testing.T) {
	got, err := parseModinfo([]byte("\x00\x00license=GPL\x00parm=x:a=b\nc\x00name=foo-bar\x00depends=a-b,c\x00alias=x-y\x00alias=\x00alias=my soc card\x00" +
		"softdep=ignored pre: crc32c d-e post: f\x00softdep=post: g\x00weakdep=h i-j\x00firmware=a/b.bin\x00vermagic=6.1 SMP \x00"))
	if err != nil {
		t.Fatal(err)
	}
	want := &info{
		name: "foo_bar", depends: []string{"a_b", "c"}, aliases: []string{"x-y"},
		pre: []string{"crc32c", "d_e"}, post: []string{"f", "g"}, weak: []string{"h", "i_j"},
		softdeps: []string{"ignored pre: crc32c d-e post: f", "post: g"},
		firmware: []string{"a/b.bin"}, release: "6.1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestModinfoThatWouldBreakFilesIsRefused(t *testing.T) {
	for name, section := range map[string]string{
		"no key":               "just text\x00",
		"line feed in alias":   "alias=a\nalias b\x00",
		"line feed in dep":     "depends=a\nb\x00",
		"tab in softdep":       "softdep=pre:\ta\x00",
		"escape in firmware":   "firmware=\x1b[2J\x00",
		"delete in name":       "name=a\x7f\x00",
		"too long":             strings.Repeat("a=b\x00", maxModinfo/4+1),
		"line feed in weakdep": "weakdep=a\nb\x00",
	} {
		if _, err := parseModinfo([]byte(section)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDamagedModulesAreRefusedByName(t *testing.T) {
	le := binary.LittleEndian
	good := func() []byte { return koFile("vermagic=" + release + " ") }
	cases := []struct {
		name string
		file string
		data []byte
		want string
	}{
		{"not ELF", "m.ko", []byte("hello"), "not an ELF"},
		{"32-bit", "m.ko", edit(good(), func(b []byte) { b[4] = 1 }), "64-bit"},
		{"another architecture", "m.ko", elfFile(183, []byte("vermagic="+release+" \x00")), "machine 183"},
		{"no .modinfo", "m.ko", []byte(strings.Replace(string(good()), ".modinfo", ".modinfx", 1)), "no section .modinfo"},
		{"headers outside", "m.ko", edit(good(), func(b []byte) { le.PutUint64(b[offShOff:], 1<<63) }), "outside"},
		{"headers of another size", "m.ko", edit(good(), func(b []byte) { le.PutUint16(b[offShSize:], 40) }), "40 bytes"},
		{"too many headers", "m.ko", edit(good(), func(b []byte) { le.PutUint16(b[offShNum:], 60000) }), "60000 section headers"},
		{"names in no section", "m.ko", edit(good(), func(b []byte) { le.PutUint16(b[offShStr:], 9) }), "section 9 of 3"},
		{"section outside", "m.ko", edit(good(), func(b []byte) { le.PutUint64(b[len(b)-128+24:], 1<<40) }), "outside"},
		{"section longer than the file", "m.ko", edit(good(), func(b []byte) { le.PutUint64(b[len(b)-128+32:], 1<<63) }), "outside"},
		{"section without contents", "m.ko", edit(good(), func(b []byte) { le.PutUint32(b[len(b)-128+4:], shtNoBits) }), "without contents"},
		{"xz cut off", "m.ko.xz", pack(t, "m.ko.xz", good())[:60], "xz"},
		{"xz with a flipped bit", "m.ko.xz", edit(pack(t, "m.ko.xz", good()), func(b []byte) { b[40] ^= 1 }), "xz"},
		{"zstd that is not", "m.ko.zst", good(), "zstd"},
		{"gzip cut off", "m.ko.gz", pack(t, "m.ko.gz", good())[:60], "gzip"},
		{"built for another kernel", "m.ko", koFile("vermagic=6.1.0 SMP "), `"6.1.0"`},
		{"built for no kernel", "m.ko", koFile("license=GPL"), `""`},
		{"of another name", "m.ko", koFile("name=other", "vermagic="+release+" "), "calls itself other"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files := newKernel()
			files.put(files.dir+"/kernel/"+c.file, c.data)
			_, err := files.open(t).Closure("m")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "kernel/"+c.file) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Files of very many sections say so in the first section header.
func TestELFWithExtendedNumberingIsRead(t *testing.T) {
	le := binary.LittleEndian
	data := edit(koFile("a=b"), func(b []byte) {
		le.PutUint16(b[offShNum:], 0)
		le.PutUint16(b[offShStr:], shnXIndex)
		first := b[len(b)-192:]
		le.PutUint64(first[32:], 3)
		le.PutUint32(first[40:], 2)
	})
	section, err := elfSection(data, "amd64", ".modinfo")
	if err != nil || string(section) != "a=b\x00" {
		t.Errorf("%q, %v", section, err)
	}
}

func TestAllCompressionsGiveTheSameModule(t *testing.T) {
	plain := koFile("vermagic="+release+" ", "description="+strings.Repeat("x", 4096))
	for _, suffix := range suffixes {
		files := newKernel()
		files.put(files.dir+"/kernel/m"+suffix, pack(t, "m"+suffix, plain))
		k := files.open(t)
		set, err := k.Closure("m")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := k.Raw(set.Members()[0])
		if err != nil || !slices.Equal(raw, plain) {
			t.Errorf("%s: %d bytes, %v", suffix, len(raw), err)
		}
	}
}

func edit(data []byte, change func([]byte)) []byte {
	data = slices.Clone(data)
	change(data)
	return data
}

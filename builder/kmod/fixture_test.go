package kmod

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const release = "6.12.47-v8"

// kernelFiles is a kernel package in the making, release [release], of the
// layout of Linux 6.12, for amd64.
type kernelFiles struct {
	fstest.MapFS
	dir string
}

// newKernel makes a package without modules.
func newKernel() kernelFiles {
	k := kernelFiles{MapFS: fstest.MapFS{}, dir: "usr/lib/modules/" + release}
	k.put("boot/vmlinuz-"+release, bzImage(release))
	k.put("boot/config-"+release, []byte("CONFIG_NET=y\n# CONFIG_VXLAN is not set\n"))
	k.put(k.dir+"/modules.builtin", nil)
	return k
}

func (k kernelFiles) put(name string, data []byte) {
	k.MapFS[name] = &fstest.MapFile{Data: data, Mode: 0o644}
}

// module adds a module file; lines are of its .modinfo.
func (k kernelFiles) module(t testing.TB, file string, lines ...string) {
	t.Helper()
	plain := koFile(append(lines, "vermagic="+release+" SMP preempt mod_unload modversions ")...)
	k.put(k.dir+"/"+file, pack(t, file, plain))
}

// builtin sets what is built in: paths, and the strings of
// modules.builtin.modinfo.
func (k kernelFiles) builtin(paths []string, modinfo ...string) {
	k.put(k.dir+"/modules.builtin", []byte(strings.Join(paths, "\n")+"\n"))
	k.put(k.dir+"/modules.builtin.modinfo", []byte(strings.Join(modinfo, "\x00")+"\x00"))
}

func (k kernelFiles) config(text string) {
	k.put("boot/config-"+release, []byte(text))
}

// moved returns the package with one path prefix replaced by another.
func (k kernelFiles) moved(from, to string) kernelFiles {
	m := kernelFiles{MapFS: fstest.MapFS{}, dir: k.dir}
	for name, file := range k.MapFS {
		if rest, ok := strings.CutPrefix(name, from); ok {
			name = to + rest
		}
		m.MapFS[name] = file
	}
	return m
}

func (k kernelFiles) open(t testing.TB, options ...Option) *Kernel {
	t.Helper()
	opened, err := Open(k.MapFS, options...)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// vxlanKernel is a small kernel with the shapes that real ones have: a
// dependency, a softdep by alias of two providers, a name written both ways.
func vxlanKernel(t testing.TB) kernelFiles {
	k := newKernel()
	k.config("CONFIG_VXLAN=m\nCONFIG_BRIDGE=m\nCONFIG_WIREGUARD=y\nCONFIG_BRIDGE_NETFILTER=m\nCONFIG_IPV6=y\n")
	k.module(t, "kernel/drivers/net/vxlan/vxlan.ko.xz",
		"name=vxlan", "depends=udp_tunnel,ip6_udp_tunnel", "alias=rtnl-link-vxlan")
	k.module(t, "kernel/net/ipv4/udp_tunnel.ko.zst", "name=udp_tunnel", "depends=")
	k.module(t, "kernel/net/ipv6/ip6_udp_tunnel.ko.gz", "name=ip6_udp_tunnel", "depends=udp-tunnel")
	k.module(t, "kernel/net/bridge/br_netfilter.ko", "name=br_netfilter", "depends=bridge")
	k.module(t, "kernel/net/bridge/bridge.ko", "name=bridge", "depends=", "softdep=pre: crc32c post: bridge-extra missing-one")
	k.module(t, "kernel/net/bridge/bridge-extra.ko", "name=bridge_extra", "depends=")
	k.module(t, "kernel/crypto/crc32c_generic.ko", "name=crc32c_generic", "depends=", "alias=crc32c", "alias=crypto-crc32c")
	k.module(t, "kernel/arch/x86/crypto/crc32c-intel.ko", "name=crc32c_intel", "depends=", "alias=crypto-crc32c", "alias=crc32c", "alias=cpu:type:x86,ven*fam*mod*:feature:*0094*")
	k.builtin([]string{"kernel/drivers/net/wireguard/wireguard.ko", "kernel/net/ipv6/ipv6.ko"},
		"wireguard.alias=net-pf-16-proto-16-family-wireguard", "wireguard.firmware=wg/one.bin", "ipv6.license=GPL")
	return k
}

// koFile makes the least ELF file that holds a .modinfo section, for amd64.
func koFile(lines ...string) []byte {
	var modinfo bytes.Buffer
	for _, line := range lines {
		modinfo.WriteString(line + "\x00")
	}
	return elfFile(62, modinfo.Bytes())
}

// elfFile makes an ELF64 file of three sections: the empty one, .modinfo and
// the names.
func elfFile(machine uint16, modinfo []byte) []byte {
	names := "\x00.modinfo\x00.shstrtab\x00"
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(head[16:], 1) // ET_REL
	le.PutUint16(head[offMachine:], machine)
	le.PutUint64(head[offShOff:], uint64(64+len(modinfo)+len(names)))
	le.PutUint16(head[52:], 64) // e_ehsize
	le.PutUint16(head[offShSize:], 64)
	le.PutUint16(head[offShNum:], 3)
	le.PutUint16(head[offShStr:], 2)
	section := func(name, kind uint32, offset, size int) []byte {
		s := make([]byte, 64)
		le.PutUint32(s, name)
		le.PutUint32(s[4:], kind)
		le.PutUint64(s[24:], uint64(offset))
		le.PutUint64(s[32:], uint64(size))
		return s
	}
	return bytes.Join([][]byte{
		head, modinfo, []byte(names),
		section(0, 0, 0, 0),
		section(1, 1, 64, len(modinfo)),
		section(10, 3, 64+len(modinfo), len(names)),
	}, nil)
}

// pack compresses a module as its file name says.
func pack(t testing.TB, file string, plain []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	var err error
	switch _, suffix := splitSuffix(file); suffix {
	case ".ko.xz":
		var w *xz.Writer
		if w, err = (xz.WriterConfig{DictCap: 1 << 20, CheckSum: xz.CRC32}).NewWriter(&packed); err == nil {
			w.Write(plain)
			err = w.Close()
		}
	case ".ko.zst":
		var w *zstd.Encoder
		if w, err = zstd.NewWriter(&packed); err == nil {
			w.Write(plain)
			err = w.Close()
		}
	case ".ko.gz":
		w := gzip.NewWriter(&packed)
		w.Write(plain)
		err = w.Close()
	default:
		return plain
	}
	if err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// bzImage makes the setup area of an x86 kernel.
func bzImage(release string) []byte {
	const at = 0x1000
	image := make([]byte, 0x8000)
	le := binary.LittleEndian
	image[offSetupSects] = 0x27
	le.PutUint16(image[0x1fe:], 0xaa55)
	copy(image[offHeader:], "HdrS")
	le.PutUint16(image[offVersion:], 0x20f)
	le.PutUint16(image[offKernelVersion:], at-0x200)
	image[offXLoadFlags] = 1
	copy(image[at:], fmt.Sprintf("%s (builder@example.org) #1 SMP\x00", release))
	return image
}

// arm64Image makes an arm64 kernel with its banner after more than one piece
// of a search, and a decoy before it.
func arm64Image(release string, rest ...[]byte) []byte {
	image := make([]byte, 3<<20)
	copy(image, "MZ")
	copy(image[56:], "ARM\x64")
	copy(image[4096:], "Linux version %s (%s)")
	copy(image[2<<20-7:], "Linux version "+release+" (builder@example.org) #1 SMP\n\x00")
	return append(image, bytes.Join(rest, nil)...)
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// memory is a cache that counts.
type memory struct {
	mu           sync.Mutex
	values       map[string][]byte
	hits, misses int
}

func (m *memory) Get(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[key]
	if ok {
		m.hits++
	} else {
		m.misses++
	}
	return value, ok
}

func (m *memory) Put(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = map[string][]byte{}
	}
	m.values[key] = value
}

func (m *memory) reset() { m.hits, m.misses = 0, 0 }

// with returns the package with one file replaced.
func (k kernelFiles) with(name string, data []byte) kernelFiles {
	c := kernelFiles{MapFS: maps.Clone(k.MapFS), dir: k.dir}
	c.put(name, data)
	return c
}

// without returns the package without one file.
func (k kernelFiles) without(name string) kernelFiles {
	c := kernelFiles{MapFS: maps.Clone(k.MapFS), dir: k.dir}
	delete(c.MapFS, name)
	return c
}

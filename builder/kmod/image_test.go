package kmod

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestDamagedBzImagesAreRefused(t *testing.T) {
	cases := []struct {
		name   string
		damage func(image []byte) []byte
		want   string
	}{
		{"32-bit", func(b []byte) []byte { b[offXLoadFlags] = 0; return b }, "64-bit"},
		{"old protocol", func(b []byte) []byte { binary.LittleEndian.PutUint16(b[offVersion:], 0x204); return b }, "protocol 2.04"},
		{"no version", func(b []byte) []byte { binary.LittleEndian.PutUint16(b[offKernelVersion:], 0); return b }, "kernel_version is 0"},
		{"version outside of the setup area", func(b []byte) []byte { binary.LittleEndian.PutUint16(b[offKernelVersion:], 0xffff); return b }, "outside"},
		{"version cut off", func(b []byte) []byte { return bytes.TrimRight(b[:0x1004], "\x00") }, "does not end"},
		{"release with a slash", func(b []byte) []byte { copy(b[0x1000:], "../etc"); return b }, "not allowed"},
		{"setup of four sectors", func(b []byte) []byte { b[offSetupSects] = 0; return b }, "outside"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseImage(bytes.NewReader(c.damage(bzImage(release))))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// The banner may lie across two pieces of a search, wherever they meet.
func TestBannerIsFoundAcrossPieces(t *testing.T) {
	for _, at := range []int{100, 1<<20 - 200, 1<<20 - 130, 1<<20 - 20, 1<<20 - 1, 1 << 20, 2<<20 - 64} {
		image := make([]byte, 3<<20)
		copy(image[56:], "ARM\x64")
		copy(image[at:], "Linux version 7.2.12-arm64 (x@y)")
		got, err := parseImage(bytes.NewReader(image))
		if err != nil || got.release != "7.2.12-arm64" {
			t.Errorf("banner at %d: %q, %v", at, got.release, err)
		}
	}
}

func TestConfigurationInsideAnArm64KernelIsFound(t *testing.T) {
	config := gzipped([]byte("CONFIG_WIREGUARD=y\n# CONFIG_VXLAN is not set\n"))
	files := newKernel().without("boot/config-" + release)
	files.put("boot/vmlinuz-"+release, arm64Image(release, []byte("IKCFG_ST code"), []byte("IKCFG_ST"), config, []byte("IKCFG_ED and more")))
	k := files.open(t)
	if got := k.Config.State("CONFIG_VXLAN"); got != "CONFIG_VXLAN is not set" {
		t.Errorf("got %q", got)
	}
}

func TestKernelWithoutConfigurationSaysSo(t *testing.T) {
	k := newKernel().without("boot/config-" + release).open(t)
	if k.Config.Known() {
		t.Error("known")
	}
	if got := k.Config.State("CONFIG_VXLAN"); !strings.Contains(got, "no configuration") {
		t.Errorf("got %q", got)
	}
}

package cmdline

import "testing"

func TestArguments(t *testing.T) {
	a := Parse(` root=PARTUUID=AB-01 quiet  x="two words" "y=quoted whole" weft.slot=a root=PARTUUID=CD-02 -- root=for-init` + "\n")
	for key, want := range map[string]string{
		"root": "PARTUUID=CD-02", "quiet": "", "x": "two words", "y": "quoted whole", "weft.slot": "a",
	} {
		if got, ok := a.Get(key); !ok || got != want {
			t.Errorf("%s = %q, %v; want %q", key, got, ok, want)
		}
	}
	if _, ok := a.Get("none"); ok {
		t.Error("an argument that is not there was found")
	}
}

func TestPartUUID(t *testing.T) {
	for line, want := range map[string]string{
		"root=PARTUUID=ABCD-ef": "abcd-ef",
		"root=/dev/vda1":        "",
		"root=PARTUUID=":        "",
		"root":                  "",
		"":                      "",
	} {
		got, ok := Parse(line).PartUUID("root")
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", line, got, ok, want)
		}
	}
}

func TestModuleOptions(t *testing.T) {
	a := Parse("virtio-blk.num_request_queues=2 virtio_blk.poll_queues=1 loop.max_loop=8 nf_conntrack.on quiet")
	for module, want := range map[string]string{
		"virtio_blk":   "num_request_queues=2 poll_queues=1",
		"virtio-blk":   "num_request_queues=2 poll_queues=1",
		"nf_conntrack": "on",
		"vxlan":        "",
	} {
		if got := a.ModuleOptions(module); got != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`a=b "c d"=e -- f`)
	f.Add(`"`)
	f.Add("\x00= =")
	f.Fuzz(func(t *testing.T, line string) {
		for _, arg := range Parse(line) {
			if len(arg.Key)+len(arg.Value) > len(line) {
				t.Errorf("%q gave %q", line, arg)
			}
		}
	})
}

package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWantedIsComparedWithActual(t *testing.T) {
	have := map[string]string{
		"net.ipv4.ip_forward":            "1\n",
		"net.ipv4.ip_local_port_range":   "1024\t65000\n",
		"net.ipv6.conf.eth0.accept_ra":   "0\n",
		"net.ipv4.conf.eth0/5.rp_filter": "2\n",
		"kernel.panic":                   "10",
	}
	read := func(name string) (string, error) {
		if name == "net.ipv4.route.flush" {
			return "", fs.ErrPermission
		}
		if name == "vm.odd" {
			return "", errors.New("input/output error")
		}
		v, ok := have[name]
		if !ok {
			return "", fs.ErrNotExist
		}
		return v, nil
	}
	present := func(device string) bool { return strings.HasPrefix(device, "eth0") }
	for _, c := range []struct {
		s         Setting
		ok, waits bool
		have, why string
	}{
		{Setting{"net.ipv4.ip_forward", "1", "routes"}, true, false, "1", ""},
		{Setting{"net.ipv4.ip_local_port_range", "1024 65000", "ports"}, true, false, "1024\t65000", ""},
		{Setting{"net.ipv6.conf.eth0.accept_ra", "2", "the default route goes"}, false, false, "0", "something has changed it: the default route goes"},
		{Setting{"net.ipv4.conf.eth0/5.rp_filter", "2", ""}, true, false, "2", ""},
		{Setting{"net.ipv4.conf.wlan0.rp_filter", "2", ""}, true, true, "", "device wlan0 is not there"},
		{Setting{"net.netfilter.nf_conntrack_max", "9", "many pods"}, false, false, "", "no such setting"},
		{Setting{"net.ipv4.route.flush", "1", ""}, true, false, "", "cannot be read back"},
		{Setting{"vm.odd", "1", ""}, false, false, "", "input/output error"},
	} {
		got := Check([]Setting{c.s}, read, present)
		if len(got) != 1 || got[0].Name != c.s.Name || got[0].OK != c.ok || got[0].Waits != c.waits || got[0].Have != c.have ||
			!strings.Contains(got[0].Why, c.why) || c.why == "" && got[0].Why != "" {
			t.Errorf("%s: %+v", c.s.Name, got)
		}
	}
}

func TestTheLastOfTwoEntriesCounts(t *testing.T) {
	list := []Setting{{"kernel.panic", "10", ""}, {"vm.swappiness", "1", ""}, {"kernel.panic", "20", ""}}
	got := Check(list, func(string) (string, error) { return "20", nil }, func(string) bool { return true })
	if len(got) != 2 || got[0].Name != "vm.swappiness" || got[1].Want != "20" || !got[1].OK {
		t.Errorf("%+v", got)
	}
	if wrong := Wrong(got); len(wrong) != 1 || wrong[0].Name != "vm.swappiness" {
		t.Errorf("wrong: %+v", wrong)
	}
}

func TestSettingsOfDevices(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.conf.eth0.rp_filter":          "eth0",
		"net.ipv6.conf.eth0/100.accept_ra":      "eth0.100",
		"net.ipv4.neigh.wg0.gc_stale_time":      "wg0",
		"net.ipv4.conf.all.rp_filter":           "",
		"net.ipv6.conf.default.accept_ra":       "",
		"net.ipv4.neigh.default.gc_thresh1":     "",
		"net.ipv4.ip_forward":                   "",
		"net.bridge.bridge-nf-call-iptables":    "",
		"net.ipv4.conf..rp_filter":              "",
		"net.ipv4.conf.eth0.a.b":                "",
		"net.netfilter.conf.eth0.something":     "",
		"net.ipv4.tcp.eth0.something_different": "",
	} {
		if got, ok := Device(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, ok, want)
		}
	}
	list := []Setting{
		{"net.ipv4.conf.eth1.rp_filter", "0", ""}, {"kernel.panic", "10", ""}, {"net.ipv4.conf.eth0.rp_filter", "2", ""},
		{"net.ipv6.conf.eth0.addr_gen_mode", "1", ""},
	}
	if got := names(For(list, "eth0")); !slices.Equal(got, []string{"net.ipv4.conf.eth0.rp_filter=2", "eth0.addr_gen_mode=1"}) {
		t.Errorf("of eth0: %q", got)
	}
	if got := names(Possible(list, func(d string) bool { return d == "eth1" })); !slices.Equal(got, []string{"net.ipv4.conf.eth1.rp_filter=0", "kernel.panic=10"}) {
		t.Errorf("possible without eth0: %q", got)
	}
}

func TestValuesAreReadBack(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "net/ipv4/conf/eth0.5"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "net/ipv4/conf/eth0.5/rp_filter"), []byte("2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(root, "net.ipv4.conf.eth0/5.rp_filter"); got != "2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Read(root, "net.ipv4.nosuch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := Read(root, "../escape"); err == nil {
		t.Error("a name that leaves the folder is read")
	}
}

// The settings of a name are found again by the path, whatever the name.
func FuzzDevice(f *testing.F) {
	for _, seed := range []string{"net.ipv4.conf.eth0.rp_filter", "net.ipv6.conf.eth0/1.accept_ra", "....", "net.ipv4.conf..."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		device, ok := Device(name)
		if !ok {
			return
		}
		path, err := Path("/proc/sys", name)
		if err == nil && filepath.Base(filepath.Dir(path)) != device {
			t.Errorf("%q belongs to %q but lies in %s", name, device, path)
		}
	})
}

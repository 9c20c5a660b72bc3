package sysctl

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/profiles"
)

// contract is the order a profile with both families asks for.
var contract = []profiles.SysctlNeed{
	{Name: "net.ipv6.conf.default.accept_ra", Value: "0", Reason: "pods"},
	{Name: "net.ipv4.ip_forward", Value: "1", Reason: "routes"},
	{Name: "net.ipv6.conf.default.forwarding", Value: "1", Reason: "routes"},
	{Name: "net.ipv6.conf.all.forwarding", Value: "1", Reason: "routes"},
	{Name: "vm.panic_on_oom", Value: "0", Reason: "kubelet"},
}

// names lists settings as NAME=VALUE without the common prefix.
func names(list []Setting) []string {
	var all []string
	for _, s := range list {
		all = append(all, strings.TrimPrefix(s.Name, "net.ipv6.conf.")+"="+s.Value)
	}
	return all
}

func TestOrder(t *testing.T) {
	for name, c := range map[string]struct {
		needs   []profiles.SysctlNeed
		uplinks []Uplink
		ipv6    bool
		want    []string
	}{
		"uplinks, then none by default, then forwarding": {
			contract, []Uplink{{"eth0", true}, {"eth1", false}}, true,
			[]string{"eth0.accept_ra=2", "eth1.accept_ra=0", "default.accept_ra=0", "net.ipv4.ip_forward=1",
				"default.forwarding=1", "all.forwarding=1", "vm.panic_on_oom=0"},
		},
		"a VLAN's dot is not a separator": {
			nil, []Uplink{{"eth0.100", true}}, true,
			[]string{"eth0/100.accept_ra=2", "default.accept_ra=0"},
		},
		"the profile's own word on an uplink counts": {
			[]profiles.SysctlNeed{{Name: "net.ipv6.conf.eth0.accept_ra", Value: "1"}, {Name: "net.ipv6.conf.wan.accept_ra", Value: "2"}},
			[]Uplink{{"eth0", true}}, true,
			[]string{"eth0.accept_ra=1", "default.accept_ra=0", "wan.accept_ra=2"},
		},
		"a kernel without IPv6 is not asked for it": {
			contract, []Uplink{{"eth0", true}}, false,
			[]string{"net.ipv4.ip_forward=1", "vm.panic_on_oom=0"},
		},
		"no uplink yet": {
			contract[:1], nil, true,
			[]string{"default.accept_ra=0"},
		},
	} {
		if got := names(Plan(c.needs, c.uplinks, c.ipv6)); !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, c.want)
		}
	}
}

// TestAdvertisementsAlwaysBeforeForwarding is the rule itself: whatever order
// a contract has, no device may forward before it is told about routers.
func TestAdvertisementsAlwaysBeforeForwarding(t *testing.T) {
	reversed := slices.Clone(contract)
	slices.Reverse(reversed)
	list := Plan(reversed, []Uplink{{"eth0", true}}, true)
	last := -1
	for i, s := range list {
		switch {
		case strings.HasSuffix(s.Name, ".accept_ra"):
			if last >= 0 {
				t.Errorf("%s comes after %s", s.Name, list[last].Name)
			}
		case strings.Contains(s.Name, "forward"):
			last = i
		}
	}
}

func TestPaths(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":                  "/p/net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/100.forwarding":    "/p/net/ipv4/conf/eth0.100/forwarding",
		"net.bridge.bridge-nf-call-ip6tables":  "/p/net/bridge/bridge-nf-call-ip6tables",
		"":                                     "",
		"kernel.//.//.etc.passwd":              "",
		"/etc/passwd":                          "/p/.etc.passwd",
		"a..b":                                 "",
		".a":                                   "",
		"kernel.hostname.":                     "",
		"net.ipv6.conf.//.//.//.//.etc.shadow": "",
	} {
		got, err := Path("/p", name)
		if got != want || (want == "") != errors.Is(err, ErrName) {
			t.Errorf("Path(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestWriteAllGoesOnAndNamesWhatFailed(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "vm"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"vm/a", "vm/b"} {
		if err := os.WriteFile(filepath.Join(root, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "vm/dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	errs := WriteAll(root, []Setting{
		{"vm.a", "1", "ra"}, {"vm.none", "1", "pods need it"}, {"vm.dir", "1", "dirs"}, {"..", "1", ""}, {"vm.b", "2", "rb"},
	})
	if len(errs) != 3 {
		t.Fatalf("errors %v", errs)
	}
	for i, want := range []string{"vm.none=1: this kernel has no such setting", "vm.dir=1: refused", "not a kernel setting"} {
		if !strings.Contains(errs[i].Error(), want) {
			t.Errorf("error %q, want %q in it", errs[i], want)
		}
	}
	if !strings.Contains(errs[0].Error(), "pods need it") {
		t.Errorf("no reason in %q", errs[0])
	}
	for f, want := range map[string]string{"vm/a": "1\n", "vm/b": "2\n"} {
		if got, _ := os.ReadFile(filepath.Join(root, f)); string(got) != want {
			t.Errorf("%s holds %q", f, got)
		}
	}
}

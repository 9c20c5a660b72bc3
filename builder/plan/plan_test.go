package plan_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft/boards"
	"weft/builder/buildtest"
	"weft/builder/plan"
	"weft/profiles"
)

// find returns the value at a path.
func find(t *testing.T, p plan.Plan, path string) plan.Value {
	t.Helper()
	values := p.Values()
	i := slices.IndexFunc(values, func(v plan.Value) bool { return v.Path == path })
	if i < 0 {
		t.Fatalf("the plan has no value %s", path)
	}
	return values[i]
}

// write makes a file.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const mine = `weft: profile/v1
name: mine
description: a profile of a test
network:
  pods: [10.1.0.0/16,
    "fd00:1::/48"]
  backend: {type: vxlan, directRouting: true}
sysctls:
  vm.swappiness: 10
  kernel.panic: "5"
modules: [wireguard]
`

func TestEveryValueKnowsItsOrigin(t *testing.T) {
	file := write(t, "mine.yaml", mine)
	p := buildtest.Plan(t, "x86-64", file)
	for path, want := range map[string]plan.Value{
		"profile.name":                          {Value: "mine", Origin: file + ":2:7"},
		"profile.network.pods[1]":               {Value: "fd00:1::/48", Origin: file + ":6:5"},
		"profile.network.backend.directRouting": {Value: "true", Origin: file + ":7:41"},
		"profile.sysctls[vm.swappiness]":        {Value: "10", Origin: file + ":9:18"},
		"profile.sysctls[kernel.panic]":         {Value: "5", Origin: file + ":10:17"},
		"profile.modules[0]":                    {Value: "wireguard", Origin: file + ":11:11"},
		"profile.network.backend.vni":           {Value: "1", Origin: "default"},
		"profile.network.subnetLength.ipv6":     {Value: "64", Origin: "default"},
		"profile.hostname.dhcp":                 {Value: "true", Origin: "default"},
		"board.components[1]":                   {Value: "non-free-firmware", Origin: "boards/x86-64.yaml:10:20"},
		"packages[0]":                           {Value: "firmware-bnx2", Origin: "derived"},
		"contract.sysctls[vm.swappiness]":       {Value: "10", Origin: "derived from profile.sysctls[vm.swappiness]", Reason: "the profile asks for it"},
	} {
		got := find(t, p, path)
		if want.Path = path; got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestInheritedValuesKnowTheirOriginAndSecretsAreNotShown(t *testing.T) {
	file := write(t, "mine.yaml", "weft: profile/v1\nname: mine\nextends: vxlan\nkubernetes:\n  distribution: k3s\n  config: {token: SECRET, kubelet-arg: [max-pods=200]}\n")
	p := buildtest.Plan(t, "x86-64", file)
	for path, want := range map[string][2]string{
		"profile.name":                             {"mine", file + ":2:7"},
		"profile.kubernetes.config.token":          {"(not shown)", file + ":6:19"},
		"profile.kubernetes.config.kubelet-arg[0]": {"max-pods=200", file + ":6:41"},
	} {
		if got := find(t, p, path); got.Value != want[0] || got.Origin != want[1] {
			t.Errorf("got %+v, want %v", got, want)
		}
	}
	if got := find(t, p, "profile.network.pods[0]"); !strings.HasPrefix(got.Origin, "profiles/vxlan.yaml:") {
		t.Errorf("got %+v", got)
	}
	for _, v := range p.Values() {
		if strings.Contains(v.Value, "SECRET") {
			t.Errorf("%+v", v)
		}
	}
}

func TestValuesAreInTheOrderOfTheFiles(t *testing.T) {
	p := buildtest.Plan(t, "x86-64-cloud", write(t, "mine.yaml", mine))
	values := p.Values()
	if !reflect.DeepEqual(values, p.Values()) {
		t.Error("two lists of one plan differ")
	}
	var paths []string
	for _, v := range values {
		if slices.Contains(paths, v.Path) {
			t.Errorf("%s is there twice", v.Path)
		}
		if v.Origin == "" || strings.Contains(v.Value, "0x") {
			t.Errorf("%+v", v)
		}
		paths = append(paths, v.Path)
	}
	last := -1
	for _, prefix := range []string{"board.weft", "board.disk.table", "profile.weft", "profile.network.pods[0]", "packages[0]", "contract.modules[0]"} {
		at := slices.Index(paths, prefix)
		if at <= last {
			t.Errorf("%s is at %d, after %d", prefix, at, last)
		}
		last = at
	}
}

func TestCommandLineNamesPartitionsAndConsolesInOrder(t *testing.T) {
	p := plan.Plan{Board: boards.Board{
		Consoles:    []string{"tty0", "ttyS0,115200"},
		CommandLine: []string{"panic=10"},
		QEMU:        boards.QEMU{CommandLine: []string{"no_timer_check"}},
	}}
	got := p.CommandLine("b", plan.Partitions{Root: "1", Boot: "2", Data: "3"})
	want := "root=PARTUUID=1 weft.slot=b weft.boot=PARTUUID=2 weft.data=PARTUUID=3" +
		" console=tty0 console=ttyS0,115200 panic=10 no_timer_check"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// id is the id of a plan with inputs.
func id(t *testing.T, p plan.Plan, inputs ...string) string {
	t.Helper()
	text, err := p.ID(inputs...)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) != 64 {
		t.Errorf("id %q", text)
	}
	return text
}

func TestIDIsStableAndTellsPlansApart(t *testing.T) {
	shipped := func() plan.Plan { return buildtest.Plan(t, "x86-64-cloud", "vxlan") }
	base := id(t, shipped(), "a", "b")
	if again := id(t, shipped(), "a", "b"); again != base {
		t.Errorf("two plans of the same files have ids %s and %s", base, again)
	}
	// Where a file lies and how it is laid out is not part of the image.
	b, d, _, err := boards.Find("x86-64-cloud")
	if err != nil {
		t.Fatal(err)
	}
	text, err := shipped().Profile.YAML()
	if err != nil {
		t.Fatal(err)
	}
	profile, file, problems := profiles.Read("elsewhere.yaml", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if moved := id(t, plan.New(buildtest.Version, b, d, profile, file), "a", "b"); moved != base {
		t.Error("the same profile in another file has another id")
	}
	seen := map[string]string{base: "the base"}
	for name, change := range map[string]func(*plan.Plan){
		"version":    func(p *plan.Plan) { p.Version = "other" },
		"a console":  func(p *plan.Plan) { p.Board.Consoles = p.Board.Consoles[:1] },
		"slot size":  func(p *plan.Plan) { p.Board.Disk.Slot++ },
		"MTU":        func(p *plan.Plan) { p.Profile.Network.Backend.MTU = 1400 },
		"a contract": func(p *plan.Plan) { p.Contract.Sysctls = p.Contract.Sysctls[1:] },
	} {
		p := shipped()
		change(&p)
		got := id(t, p, "a", "b")
		if other, ok := seen[got]; ok {
			t.Errorf("%s: the id is that of %s", name, other)
		}
		seen[got] = name
	}
	for _, inputs := range [][]string{{"b", "a"}, {"a"}, {"a b"}, nil} {
		got := id(t, shipped(), inputs...)
		if other, ok := seen[got]; ok {
			t.Errorf("inputs %q: the id is that of %s", inputs, other)
		}
		seen[got] = strings.Join(inputs, "+")
	}
}

func TestPackagesFollowFromTheBoard(t *testing.T) {
	b := boards.Board{Disk: boards.Disk{Loaders: []string{plan.BIOS}}, Firmware: []string{"firmware-b", "firmware-a", "firmware-b"}}
	p := plan.New("1", b, nil, profiles.Profile{}, nil)
	if !slices.Equal(p.Packages, []string{"firmware-a", "firmware-b"}) || p.Boots(plan.UEFI) {
		t.Errorf("for BIOS alone: %q", p.Packages)
	}
	b.Disk.Loaders = []string{plan.UEFI}
	p = plan.New("1", b, nil, profiles.Profile{}, nil)
	if !slices.Equal(p.Packages, []string{"firmware-a", "firmware-b", "systemd-boot-efi"}) || p.Boots(plan.BIOS) {
		t.Errorf("for UEFI: %q", p.Packages)
	}
	if !slices.Equal(p.Board.Components, []string{"main"}) {
		t.Errorf("components: %q", p.Board.Components)
	}
}

// A plan whose board and profile came from no file still has problems that
// can be printed.
func TestProblemsWithoutAFile(t *testing.T) {
	p := plan.New("1", boards.Board{}, nil, profiles.Profile{}, nil)
	for _, problem := range []error{p.BoardProblem("kernel", "no kernel"), p.ProfileProblem("network", "no network")} {
		if !strings.Contains(problem.Error(), ": no ") && !strings.HasPrefix(problem.Error(), "no ") {
			t.Errorf("printed as %q", problem)
		}
	}
	for _, v := range p.Values() {
		if v.Origin != "default" && !strings.HasPrefix(v.Origin, "derived") {
			t.Errorf("%+v", v)
		}
	}
}

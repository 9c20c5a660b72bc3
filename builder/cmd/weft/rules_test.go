package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A faulty file is one of profiles/testdata/bad, with what its first lines say
// that it breaks where.
type faulty struct {
	file   string
	expect []string // RULE at FILE:LINE:COLUMN
	// facts are the other comments, about hardware or an image that no file
	// says.
	facts map[string]string
}

// faultyFiles copies the files with faults into a folder, with secrets that
// are their owner's alone, and reads their first lines.
func faultyFiles(t *testing.T, kind string) []faulty {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../../profiles/testdata")); err != nil {
		t.Fatal(err)
	}
	secrets := write(t, filepath.Join(dir, "bad", "clusters"), "secrets.yaml", "token: secret\n")
	if err := os.Chmod(secrets, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "bad", kind, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []faulty
	for _, file := range files {
		if file == secrets {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f := faulty{file: file, facts: map[string]string{}}
		for line := range strings.Lines(string(data)) {
			comment, is := strings.CutPrefix(strings.TrimSpace(line), "# ")
			if !is {
				break
			}
			key, value, _ := strings.Cut(comment, ": ")
			switch {
			case key == "expect":
				rule, place, _ := strings.Cut(value, " at ")
				if strings.Count(place, ":") == 1 {
					place = filepath.Base(file) + ":" + place
				}
				f.expect = append(f.expect, rule+" at "+filepath.Join(filepath.Dir(file), place))
			case slices.Contains([]string{"kernel", "lacks", "arch", "programs", "users", "hosts"}, key):
				f.facts[key] = value
			}
		}
		slices.Sort(f.expect)
		all = append(all, f)
	}
	if len(all) < 50 {
		t.Fatalf("only %d files of kind %s", len(all), kind)
	}
	return all
}

// checked are the findings of weft check, as faulty files say them, and
// whether one of them is an error.
func checked(t *testing.T, args ...string) (found []string, bad bool) {
	t.Helper()
	o := weft(t, append([]string{"check", "--json"}, args...)...)
	for _, f := range parse[[]finding](t, o) {
		found = append(found, fmt.Sprintf("%s at %s:%d:%d", f.Rule, f.File, f.Line, f.Column))
		bad = bad || f.Level == "error"
	}
	if (o.code == exitInput) != bad || !bad && o.code != exitOK {
		t.Errorf("exit code %d for %q", o.code, found)
	}
	slices.Sort(found)
	return found, bad
}

func TestCheckFindsEveryFault(t *testing.T) {
	for _, kind := range []string{"profiles", "clusters"} {
		for _, f := range faultyFiles(t, kind) {
			if len(f.facts) > 0 {
				continue
			}
			t.Run(kind+"/"+filepath.Base(f.file), func(t *testing.T) {
				if found, _ := checked(t, f.file); !slices.Equal(found, f.expect) {
					t.Errorf("found %q, want %q", found, f.expect)
				}
			})
		}
	}
}

// TestBuildAndPlanFindWhatCheckFinds holds all verbs to the same rules: a
// profile with an error is not built, and warnings are printed.
func TestBuildAndPlanFindWhatCheckFinds(t *testing.T) {
	for _, f := range faultyFiles(t, "profiles") {
		if len(f.facts) > 0 {
			continue
		}
		t.Run(filepath.Base(f.file), func(t *testing.T) {
			_, bad := checked(t, f.file)
			dir := t.TempDir()
			verbs := [][]string{{"plan"}}
			if bad {
				verbs = append(verbs, []string{"build", "--out", dir}, []string{"contract"})
			}
			for _, verb := range verbs {
				o := weft(t, append(verb, "--profile", f.file)...)
				if want := map[bool]int{true: exitInput, false: exitOK}[bad]; o.code != want {
					t.Errorf("%s: exit code %d, want %d\n%s", verb[0], o.code, want, o.err)
				}
				for _, e := range f.expect {
					rule, place, _ := strings.Cut(e, " at ")
					if !o.tells(rule, place) {
						t.Errorf("%s does not say %s:\n%s", verb[0], e, o.err)
					}
				}
			}
			noImage(t, dir)
		})
	}
	for _, f := range faultyFiles(t, "clusters") {
		if _, bad := checked(t, f.file); !bad {
			continue
		}
		t.Run(filepath.Base(f.file), func(t *testing.T) {
			dir := t.TempDir()
			for _, verb := range [][]string{{"build", "--out", dir}, {"run"}} {
				o := weft(t, append(verb, f.file)...)
				if o.code != exitInput {
					t.Errorf("%s: exit code %d\n%s", verb[0], o.code, o.err)
				}
				for _, e := range f.expect {
					if rule, place, _ := strings.Cut(e, " at "); !o.tells(rule, place) {
						t.Errorf("%s does not say %s:\n%s", verb[0], e, o.err)
					}
				}
			}
			noImage(t, dir)
		})
	}
}

// tells tells whether a line of the error output says that a rule is broken at
// a place.
func (o outcome) tells(rule, place string) bool {
	return slices.ContainsFunc(strings.Split(o.err, "\n"), func(line string) bool {
		return strings.HasPrefix(line, place+": ") && strings.HasSuffix(line, "["+rule+"]")
	})
}

// oldKernel makes a kernel for amd64 of any release with nothing but a
// configuration, and returns a board that has it.
func oldKernel(t *testing.T, dir, release, config string) string {
	t.Helper()
	// The header of a kernel image (Linux, Documentation/arch/x86/boot.rst).
	const banner = 0x1000
	image := make([]byte, 0x8000)
	image[0x1f1] = 0x27
	binary.LittleEndian.PutUint16(image[0x1fe:], 0xaa55)
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(image[0x206:], 0x20f)
	binary.LittleEndian.PutUint16(image[0x20e:], banner-0x200)
	image[0x236] = 1
	copy(image[banner:], release+" (builder@example.org) #1 SMP\x00")
	if err := os.MkdirAll(filepath.Join(dir, "kernel/usr/lib/modules", release), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "kernel/vmlinuz", string(image))
	write(t, dir, "kernel/config", config)
	write(t, dir, "kernel/usr/lib/modules/"+release+"/modules.builtin", "")
	text, err := os.ReadFile("../../../boards/" + defaultBoard + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return kernelKit{T: t, board: string(text)}.boardFile(dir, "dir: kernel")
}

// wholeConfig is a configuration with all that rules ask for.
const wholeConfig = "CONFIG_VXLAN=m\nCONFIG_NET_UDP_TUNNEL=m\nCONFIG_WIREGUARD=m\nCONFIG_XFRM_USER=m\nCONFIG_INET_ESP=m\n"

// TestTheKernelOfTheBoardIsCheckedToo checks the files whose fault lies in the
// kernel against kernels that have it.
func TestTheKernelOfTheBoardIsCheckedToo(t *testing.T) {
	count := 0
	for _, f := range faultyFiles(t, "profiles") {
		if f.facts["kernel"] == "" && f.facts["lacks"] == "" {
			continue
		}
		count++
		t.Run(filepath.Base(f.file), func(t *testing.T) {
			release, config := f.facts["kernel"], wholeConfig
			if release == "" {
				release = "6.12.0"
			}
			for _, symbol := range strings.Fields(f.facts["lacks"]) {
				config = strings.Replace(config, symbol+"=m\n", "# "+symbol+" is not set\n", 1)
			}
			dir := t.TempDir()
			board := oldKernel(t, dir, release, config)
			packages := filepath.Join(dir, "none.lock")
			found, _ := checked(t, "--board", board, "--packages", packages, f.file)
			if !slices.Equal(found, f.expect) {
				t.Errorf("found %q, want %q", found, f.expect)
			}
		})
	}
	if count < 5 {
		t.Errorf("only %d files are about the kernel", count)
	}
}

func TestBuildRefusesAKernelThatIsTooOld(t *testing.T) {
	dir := t.TempDir()
	board := oldKernel(t, dir, "5.4.0", wholeConfig)
	profile := write(t, dir, "net.yaml", "weft: profile/v1\nname: net\nnetwork:\n  pods: [10.42.0.0/16]\n  backend: {type: wireguard}\n")
	o := weft(t, "build", "--board", board, "--profile", profile, "--out", dir)
	o.want(t, exitInput, profile+":5:19: kernel 5.4.0 has no WireGuard", "[G11]", "fix: use a newer kernel")
	noImage(t, dir)
	// An override with its reason lets it be tried.
	write(t, dir, "net.yaml", "weft: profile/v1\nname: net\nnetwork:\n  pods: [10.42.0.0/16]\n  backend: {type: wireguard}\n"+
		"overrides:\n  - {rule: G11, reason: the module is a backport}\n")
	if o := weft(t, "build", "--board", board, "--profile", profile, "--out", dir); strings.Contains(o.err, "G11") {
		t.Errorf("what is overridden is told:\n%s", o.err)
	}
	// Warnings are printed, whatever comes of the build.
	write(t, dir, "net.yaml", "weft: profile/v1\nname: net\nnetwork:\n  pods: [10.42.0.0/16]\n  backend: {type: vxlan}\n")
	weft(t, "build", "--board", board, "--profile", profile, "--out", dir).
		want(t, exitInput, profile+":5:19: warning: kernel 5.4.0 can send VXLAN packets with wrong checksums   [G11]", "[D4]")
}

func TestTheKernelsOfAClusterAreChecked(t *testing.T) {
	dir := t.TempDir()
	oldKernel(t, dir, "5.4.0", wholeConfig)
	packages := filepath.Join(dir, "weft.lock")
	write(t, dir, "p.yaml", k3sProfile+"  server: {flannel-backend: wireguard-native}\n")
	if err := os.Chmod(write(t, dir, "s.yaml", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	file := write(t, dir, "home.yaml", strings.Replace(goodCluster, "secrets:", "board: ./mine.yaml\nsecrets:", 1))
	weft(t, "check", file).want(t, exitOK)
	weft(t, "check", "--board", defaultBoard, "--packages", packages, file).
		want(t, exitInput, filepath.Join(dir, "p.yaml")+":8:29: kernel 5.4.0 has no WireGuard   [G11]")
}

func TestWhatIsNotInTheCacheIsNotCheckedOffline(t *testing.T) {
	t.Setenv("WEFT_CACHE", t.TempDir())
	dir := t.TempDir()
	profile := write(t, dir, "p.yaml", k3sProfile)
	o := weft(t, "check", "--offline", "--board", defaultBoard, "--packages", filepath.Join(dir, "none"), profile)
	o.want(t, exitOK, "note: the packages for board "+defaultBoard+" are not in the cache", "p.yaml: good")
}

func TestSecretsOfAClusterAreItsOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "home.yaml", goodCluster)
	write(t, dir, "p.yaml", k3sProfile)
	at := lineOf(t, file, "s.yaml")
	weft(t, "check", file).want(t, exitInput, at+" there is no file s.yaml   [A14]", "fix: make it: weft cluster keys "+file)
	secrets := write(t, dir, "s.yaml", "token: verysecret\n")
	o := weft(t, "check", file)
	o.want(t, exitInput, at+" s.yaml has mode 0644", "[H7]", "fix: chmod 600 "+secrets)
	if strings.Contains(o.out+o.err, "verysecret") {
		t.Error("the secret is printed")
	}
	if err := os.Chmod(secrets, 0o600); err != nil {
		t.Fatal(err)
	}
	weft(t, "check", file).want(t, exitOK, "home.yaml: good")
	if err := os.Remove(secrets); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	weft(t, "check", file).want(t, exitInput, at+" s.yaml is no plain file   [A14]")
}

func TestTheLockOfAClusterIsWrittenOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "home.yaml", goodCluster)
	write(t, dir, "p.yaml", k3sProfile)
	lock := filepath.Join(dir, "home.lock")
	weft(t, "check", "--lock", file).want(t, exitInput) // no secrets yet
	if _, err := os.Stat(lock); err == nil {
		t.Error("a cluster with a fault is locked")
	}
	if err := os.Chmod(write(t, dir, "s.yaml", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	weft(t, "check", "--lock", file).want(t, exitOK)
	weft(t, "check", lock).want(t, exitOK)
	first, err := os.ReadFile(lock)
	if err != nil || !strings.Contains(string(first), "10.42.0.0/16") || !strings.Contains(string(first), "10.43.0.0/16") {
		t.Fatalf("%s, %v", first, err)
	}
	write(t, dir, "p.yaml", strings.Replace(k3sProfile, "10.42.0.0/16", "10.44.0.0/16", 1))
	weft(t, "check", "--lock", file).want(t, exitInput, "[B12]")
	// Another id is another cluster.
	write(t, dir, "home.yaml", strings.Replace(goodCluster, "name: home\n", "name: home\nid: 6ba7b810-9dad-41d1-80b4-00c04fd430c8\n", 1))
	weft(t, "check", "--lock", file).want(t, exitOK)
	if data, _ := os.ReadFile(lock); !strings.Contains(string(data), "10.44.0.0/16") {
		t.Errorf("%s", data)
	}
}

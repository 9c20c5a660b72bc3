package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"weft/builder/image"
	"weft/builder/inspect"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, "testdata", name, text)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the output is not that of %s (go test -update writes it anew):\n%s", path, text)
	}
}

func TestPlanOfTheDefaults(t *testing.T) {
	o := weft(t, "plan")
	o.want(t, exitOK)
	// Lines and columns change with every comment; only the files count here.
	golden(t, "plan.txt", regexp.MustCompile(`(\.yaml):\d+:\d+`).ReplaceAllString(o.out, "$1"))
	values := parse[[]plan.Value](t, weft(t, "plan", "--json"))
	for _, v := range values {
		for _, text := range []string{v.Path + " = " + v.Value, v.Origin, v.Reason} {
			if !strings.Contains(o.out, text) {
				t.Errorf("only the JSON has %q", text)
			}
		}
	}
}

func TestWarningsDoNotStopAPlan(t *testing.T) {
	file := write(t, t.TempDir(), "w.yaml", "weft: profile/v1\nname: w\ndescription: x\nnetwork:\n  pods: [10.244.0.0/16]\n  services: [10.96.0.0/16]\n  backend: {type: vxlan, port: 4789}\n")
	o := weft(t, "plan", "--profile", file)
	o.want(t, exitOK, "profile.network.backend.port = 4789")
	check := weft(t, "check", file)
	check.want(t, exitOK)
	if o.err != check.err {
		t.Errorf("plan and check warn differently:\n%s\n%s", o.err, check.err)
	}
}

// good and bad are files for weft check; each bad one breaks two rules.
const (
	goodNode   = "weft: node/v1\nhostname: node-1\n"
	badNode    = "weft: node/v1\nhostnam: x\naddresses: [10.0.0.300]\n"
	badProfile = "weft: profile/v1\nname: Bad Name\ndescription: x\nnetwork:\n  pods: [10.244.0.1/16]\n  backend: {type: vxlan}\n"
	badSyntax  = "weft: board/v1\nname: [x\n"
)

func TestCheckReportsAllFilesAtOnce(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good.yaml", goodNode)
	node := write(t, dir, "node.yaml", badNode)
	profile := write(t, dir, "profile.yaml", badProfile)
	board := write(t, dir, "board.yaml", badSyntax)
	o := weft(t, "check", good, node, profile, board)
	o.want(t, exitInput, good+": good\n", node+":2:1: ", `did you mean hostname?`, node+":3:13: ",
		profile+":2:7: ", profile+":5:10: ", board+":", "\nfix: ")
	if strings.Contains(o.out, node) {
		t.Errorf("a bad file is called good:\n%s", o.out)
	}
	found := parse[[]finding](t, weft(t, "check", "--json", good, node, profile, board))
	files := map[string]int{}
	for _, f := range found {
		files[f.File]++
		if f.Line == 0 || f.Column == 0 || f.Message == "" || f.Level != "error" && f.Level != "warning" {
			t.Errorf("finding: %+v", f)
		}
	}
	if files[good] != 0 || files[node] < 2 || files[profile] < 2 || files[board] < 1 {
		t.Errorf("findings by file: %v", files)
	}
	weft(t, "check", "--json", node).want(t, exitInput)
	if list := weft(t, "check", "--json", good); list.code != exitOK || list.out != "[]\n" {
		t.Errorf("a good file as JSON: %+v", list)
	}
}

func TestEachKindOfFileIsKnownByItsKey(t *testing.T) {
	for name, text := range map[string]string{
		"a lock":             noPackages,
		"a node":             goodNode,
		"a key in quotes":    strings.Replace(goodNode, "node/v1", `"node/v1"`, 1),
		"a key with remarks": "# about\n---\n" + strings.Replace(goodNode, "node/v1", "node/v1 # the node", 1),
		"Windows line ends":  strings.ReplaceAll(goodNode, "\n", "\r\n"),
	} {
		if o := weft(t, "check", write(t, t.TempDir(), "file.yaml", text)); o.code != exitOK {
			t.Errorf("%s: %s", name, o.err)
		}
	}
	for text, want := range map[string]string{
		strings.Replace(noPackages, "17", "x", 1): ":2:8: ",
		"weft: bord/v1\nname: x\n":                ":1:7: ",
		"":                                        "the file is empty",
	} {
		weft(t, "check", write(t, t.TempDir(), "file.yaml", text)).want(t, exitInput, want)
	}
}

func TestAMissingFileDoesNotHideTheOthers(t *testing.T) {
	bad := write(t, t.TempDir(), "bad.yaml", badNode)
	weft(t, "check", bad, "none.yaml").want(t, exitInput, bad+":2:1: ", "none.yaml: no such file or directory")
	weft(t, "check", "none.yaml", bad).want(t, exitInput, bad+":2:1: ", "none.yaml: no such file or directory")
}

func TestShippedFilesAreGood(t *testing.T) {
	files, err := filepath.Glob("../../../[bp]*/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%q, %v", files, err)
	}
	o := weft(t, append([]string{"check"}, files...)...)
	o.want(t, exitOK)
	if strings.Count(o.out, ": good\n") != len(files) || o.err != "" {
		t.Errorf("%s%s", o.out, o.err)
	}
	var profile document.Problems
	if _, _, profile, err = profiles.Find(defaultProfile); err != nil || len(profile) > 0 {
		t.Errorf("%v %v", profile, err)
	}
}

func TestBuildAndInspect(t *testing.T) {
	out := filepath.Join(t.TempDir(), "new", "out")
	o := weft(t, "build", "--out", out, "--zstd")
	img := filepath.Join(out, "x86-64-cloud-vxlan.img")
	o.want(t, exitOK, img, "built in", "boot it: weft run "+img, "sha256 ")
	result := parse[image.Result](t, weft(t, "build", "--out", out, "--json"))
	if result.Path != img || !strings.Contains(o.out, result.SHA256) {
		t.Errorf("%+v is not what was built before:\n%s", result, o.out)
	}
	unpacked, err := exec.CommandContext(t.Context(), "zstd", "-q", "-d", "-c", img+".zst").Output()
	if err != nil {
		t.Fatalf("zstd: %v (install zstd: make deps)", err)
	}
	if plain, err := os.ReadFile(img); err != nil || !bytes.Equal(plain, unpacked) {
		t.Errorf("the compressed image is another one: %v", err)
	}
	t.Run("inspect", func(t *testing.T) { inspected(t, img, result) })
	t.Run("inspect what is damaged", func(t *testing.T) { damaged(t, img) })
	t.Run("everything is in the cache", func(t *testing.T) {
		weft(t, "build", "--out", out, "--mirror", "http://127.0.0.1:1/").want(t, exitOK)
	})
	t.Run("download only", func(t *testing.T) {
		only := filepath.Join(t.TempDir(), "o")
		weft(t, "build", "--download-only", "--out", only).want(t, exitOK)
		noImage(t, only)
	})
	t.Run("a date of one's own", func(t *testing.T) {
		t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
		dated := parse[image.Result](t, weft(t, "build", "--out", out, "--json"))
		if dated.SHA256 == result.SHA256 || dated.ID == result.ID {
			t.Error("SOURCE_DATE_EPOCH changes nothing")
		}
		weft(t, "inspect", img).want(t, exitOK, "time 2023-11-14T22:13:20Z")
	})
}

func inspected(t *testing.T, img string, result image.Result) {
	o := weft(t, "inspect", img)
	o.want(t, exitOK, "vxlan on x86-64-cloud (amd64)", "weft-root-a", "node file: none", "data: ext4")
	narrow(t, o.out)
	report := parse[inspect.Report](t, weft(t, "inspect", "--json", img))
	if report.System.ID != result.ID || len(report.Faults) != 0 {
		t.Errorf("report: %+v", report)
	}
	weft(t, "inspect", "--files", img).want(t, exitOK, "/usr/sbin/netd", "/EFI/BOOT/BOOTX64.EFI")
	lists := parse[map[string][]inspect.File](t, weft(t, "inspect", "--files", "--json", img))
	if len(lists["boot"]) == 0 || len(lists["root"]) < 50 {
		t.Errorf("%d and %d files", len(lists["boot"]), len(lists["root"]))
	}
}

func damaged(t *testing.T, img string) {
	dir := t.TempDir()
	data, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	half := write(t, dir, "half.img", string(data[:len(data)/2]))
	weft(t, "inspect", half).want(t, exitInput, "half.img is not an image weft can read", "is the image cut short?")
	weft(t, "run", half).want(t, exitInput, "half.img cannot run", "is the image cut short?")
	copy(data[512:], "NOT PART")
	head := write(t, dir, "head.img", string(data))
	weft(t, "inspect", head).want(t, exitInput, "vxlan on x86-64-cloud", "fault: partition table: first table")
	if o := weft(t, "inspect", "--json", head); o.code != exitInput || len(parse[inspect.Report](t, o).Faults) != 1 {
		t.Errorf("as JSON: %d\n%s", o.code, o.out)
	}
	weft(t, "run", head).want(t, exitInput, "head.img cannot run", "first table")
	text := write(t, dir, "text.img", strings.Repeat("no image\n", 1000))
	weft(t, "inspect", text).want(t, exitInput, "text.img is not an image weft can read", "no partition table")
	weft(t, "run", text).want(t, exitInput, "text.img cannot run", "no partition table")
	weft(t, "inspect", dir).want(t, exitInput, "it is a folder")
	weft(t, "inspect", write(t, dir, "empty.img", "")).want(t, exitInput, "no partition table")
}

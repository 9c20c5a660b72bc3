package document

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample has one field of every type that files use.
type sample struct {
	Name     string            `yaml:"name"`
	Count    int               `yaml:"count,omitempty"`
	Flag     bool              `yaml:"flag,omitempty"`
	Maybe    *bool             `yaml:"maybe,omitempty"`
	Inner    inner             `yaml:"inner,omitempty"`
	List     []string          `yaml:"list,omitempty"`
	Items    []inner           `yaml:"items,omitempty"`
	Map      map[string]string `yaml:"map,omitempty"`
	Prefix   netip.Prefix      `yaml:"prefix,omitempty"`
	Prefixes []netip.Prefix    `yaml:"prefixes,omitempty"`
	Address  netip.Addr        `yaml:"address,omitempty"`
	unseen   int
}

type inner struct {
	Name  string `yaml:"name,omitempty"`
	Count int    `yaml:"count,omitempty"`
	Flag  bool   `yaml:"flag,omitempty"`
	Small int8   `yaml:"small,omitempty"`
}

func TestBadFilesAreExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var s sample
			_, problems := Decode(filepath.Base(f), data, &s)
			if problems.Errors() == nil {
				t.Fatal("the file was taken")
			}
			var out bytes.Buffer
			if err := problems.Write(&out, false); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(f, ".yaml")+".txt", out.Bytes())
		})
	}
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run go test -update and review)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

const good = `# comment
name: yes
count: -3
flag: true
maybe: false
inner: {name: "quoted: text", count: 7, small: -128}
list: [a, 1, 'c''d']
items:
- name: first
- count: 2
map:
  net.ipv4.ip_forward: 1
  empty: ""
  octal: 0755
prefix: 10.244.1.5/16
prefixes: [fd00::/8]
address: ::1
`

func TestGoodFileIsReadWhole(t *testing.T) {
	got := sample{unseen: 4}
	d, problems := Decode("good.yaml", []byte(good), &got)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	no := false
	want := sample{
		unseen: 4,
		Name:   "yes", Count: -3, Flag: true, Maybe: &no,
		Inner:    inner{Name: "quoted: text", Count: 7, Small: -128},
		List:     []string{"a", "1", "c'd"},
		Items:    []inner{{Name: "first"}, {Count: 2}},
		Map:      map[string]string{"net.ipv4.ip_forward": "1", "empty": "", "octal": "0755"},
		Prefix:   netip.MustParsePrefix("10.244.1.5/16"),
		Prefixes: []netip.Prefix{netip.MustParsePrefix("fd00::/8")},
		Address:  netip.MustParseAddr("::1"),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !d.Parsed() || d.File() != "good.yaml" {
		t.Error("the document does not know its file")
	}
}

func TestEveryValueKnowsItsPlace(t *testing.T) {
	var s sample
	d, problems := Decode("good.yaml", []byte(good), &s)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for path, want := range map[string]string{
		"name":                     "good.yaml:2:7",
		"inner":                    "good.yaml:6:1",
		"inner.name":               "good.yaml:6:15",
		"list":                     "good.yaml:7:1",
		"list[2]":                  "good.yaml:7:14",
		"items[1]":                 "good.yaml:10:3",
		"items[1].count":           "good.yaml:10:10",
		"map[net.ipv4.ip_forward]": "good.yaml:12:24",
		"prefixes[0]":              "good.yaml:16:12",
		"inner.flag":               "default",
		"items[2]":                 "default",
		"items[0].count":           "default",
		"items[x]":                 "default",
		"absent.below":             "default",
		"name.below":               "default",
	} {
		if got := d.Position(path).String(); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
		if d.Has(path) != (want != "default") {
			t.Errorf("Has(%s) is wrong", path)
		}
	}
}

func TestProblemPointsAtTheValueOrTheClosestParent(t *testing.T) {
	var s sample
	d, _ := Decode("good.yaml", []byte(good), &s)
	for _, c := range []struct {
		path         string
		line, column int
		width        int
	}{
		{"inner.name", 6, 15, len(`"quoted: text"`)},
		{"list[2]", 7, 14, len(`'c''d'`)},
		{"inner.flag", 6, 1, len("inner")},
		{"items[1].flag", 10, 3, len("count")},
		{"items", 8, 1, len("items")},
		// The root has no key; its first one stands for it.
		{"nowhere", 2, 1, len("name")},
		{"", 2, 1, len("name")},
		{"map[no.such.key]", 11, 1, len("map")},
	} {
		p := d.Problem(c.path, "m")
		if p.Line != c.line || p.Column != c.column || p.Width != c.width {
			t.Errorf("%q points at %d:%d width %d, want %d:%d width %d", c.path, p.Line, p.Column, p.Width, c.line, c.column, c.width)
		}
	}
	if p := d.KeyProblem("map[net.ipv4.ip_forward]", "m"); p.Column != 3 || p.Width != len("net.ipv4.ip_forward") {
		t.Errorf("the key is at %d width %d", p.Column, p.Width)
	}
}

func TestNilDocumentStandsForNoFile(t *testing.T) {
	var d *Document
	p := d.Problem("a.b", "it is wrong").WithRule("X1").WithNote("here").WithFix("mend it")
	want := "it is wrong   [X1]\nnote: here\nfix: mend it"
	if p.Error() != want {
		t.Errorf("got %q", p.Error())
	}
	if d.Has("a") || d.Parsed() || d.File() != "" || d.Position("a").String() != "default" {
		t.Error("a nil document claims to hold something")
	}
}

func TestLimits(t *testing.T) {
	huge := append([]byte("name: "), bytes.Repeat([]byte("a"), MaxSize)...)
	many := "map:\n" + strings.Repeat("  k: v\n", 1000)
	for _, c := range []struct{ name, data, want string }{
		{"a file over the size limit", string(huge), "larger than 1024 KiB"},
		{"a thousand problems", many, "too many problems"},
		{"an int8 that is too large", "inner: {small: 128}", "too large"},
	} {
		var s sample
		_, problems := Decode("f", []byte(c.data), &s)
		if problems.Errors() == nil || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, problems)
		}
		if len(problems) > maxProblems+1 {
			t.Errorf("%s: %d problems", c.name, len(problems))
		}
	}
}

func TestReadFileStopsAtTheLimit(t *testing.T) {
	if data, err := ReadFile("/dev/zero"); err != nil || len(data) != MaxSize+1 {
		t.Errorf("read %d bytes, %v", len(data), err)
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func TestRulesStampTheirProblemsAndLeaveFaultyPlacesAlone(t *testing.T) {
	var s sample
	d, problems := Decode("f", []byte("name: a\ncount: x\n"), &s)
	if len(problems) != 1 {
		t.Fatal(problems)
	}
	rules := []Rule[sample]{
		{ID: "T1", Check: func(s sample, d *Document) Problems {
			return Problems{d.Problem("count", "zero"), d.Problem("name", "short"), d.Problem("name", "short")}
		}},
		{ID: "T2", Level: Warning, Check: func(s sample, d *Document) Problems {
			return Problems{d.Problem("name", "odd")}
		}},
	}
	got := Apply(rules, s, d)
	if len(got) != 2 || got[0].Rule != "T1" || got[1].Rule != "T2" || got[1].Level != Warning {
		t.Fatalf("got %v", got)
	}
	if err := got.Warnings().Errors(); err != nil {
		t.Errorf("warnings count as errors: %v", err)
	}
	if err, ok := got.Errors().(Problems); !ok || len(err) != 1 {
		t.Errorf("got %v", err)
	}
}

func TestClosestWord(t *testing.T) {
	known := []string{"name", "subnetLength", "directRouting", "vxlan", "x86-64-cloud"}
	for word, want := range map[string]string{
		"nmae": "name", "SubnetLen": "subnetLength", "directrouting": "directRouting",
		"vxlna": "vxlan", "x86_64_cloud": "x86-64-cloud", "zebra": "", "": "",
		strings.Repeat("a", 1000): "",
	} {
		if got := Closest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := DidYouMean("zebra", known); !strings.HasPrefix(got, "use one of name, ") {
		t.Errorf("got %q", got)
	}
}

func TestColourIsAddedAndNothingElse(t *testing.T) {
	var s sample
	_, problems := Decode("f", []byte("nmae: a\n"), &s)
	var coloured, bare bytes.Buffer
	if err := problems.Write(&coloured, true); err != nil {
		t.Fatal(err)
	}
	if err := problems.Write(&bare, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(coloured.String(), "\x1b[1;31m^^^^") || strings.Contains(bare.String(), "\x1b") {
		t.Errorf("got %q and %q", coloured.String(), bare.String())
	}
	if problems.Error()+"\n" != bare.String() {
		t.Error("Error and Write differ")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(good))
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		d, problems := Decode("f", data, &s)
		if d == nil || d.Parsed() == false && len(problems) == 0 {
			t.Fatal("neither a document nor a problem")
		}
		if err := checkRendering(problems, len(d.lines)); err != nil {
			t.Fatal(err)
		}
	})
}

// checkRendering wants every problem to be in the file, excerpts to fit into
// 80 columns, and no control character to reach the terminal.
func checkRendering(problems Problems, lines int) error {
	for _, p := range problems {
		if p.Line < 0 || p.Line > lines || p.Line > 0 && p.Column < 1 {
			return fmt.Errorf("problem at %d:%d of %d lines", p.Line, p.Column, lines)
		}
		for _, line := range strings.Split(p.Error(), "\n") {
			excerpt := len(line) > 7 && (line[6:8] == "| ")
			if excerpt && strings.HasSuffix(line, "^") && utf8.RuneCountInString(line) > columns {
				return fmt.Errorf("too wide: %q", line)
			}
			if clean(line) != line {
				return fmt.Errorf("control characters in %q", line)
			}
		}
	}
	return nil
}

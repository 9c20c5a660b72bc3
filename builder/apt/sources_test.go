package apt

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"weft/builder/apt/fault"
)

// etc makes the root directory of a machine from files below /etc/apt.
func etc(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		root["etc/apt/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

func TestHostMirror(t *testing.T) {
	for name, c := range map[string]struct {
		files        map[string]string
		want, origin string
	}{
		"one line": {map[string]string{"sources.list": "deb http://m.example/debian bookworm main contrib\n"},
			"http://m.example/debian", "/etc/apt/sources.list"},
		"one line with options and a comment": {map[string]string{"sources.list": "# deb http://no.example/debian trixie main\n\tdeb\t[ arch=amd64,arm64 signed-by=" + debianKeyring + " ] https://m.example/debian\ttrixie main # the archive\n"},
			"https://m.example/debian", "/etc/apt/sources.list"},
		"deb822": {map[string]string{"sources.list.d/debian.sources": "Types: deb deb-src\n# URIs: http://no.example/debian\nURIs: http://m.example/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: " + debianKeyring + "\n"},
			"http://m.example/debian", "/etc/apt/sources.list.d/debian.sources"},
		"deb822 with several addresses": {map[string]string{"sources.list.d/debian.sources": "Types: deb\nURIs: cdrom:[Debian] http://a.example/debian\n http://b.example/debian\nSuites: stable\nComponents: main\n"},
			"http://a.example/debian", "/etc/apt/sources.list.d/debian.sources"},
		"disabled stanza first": {map[string]string{"sources.list.d/debian.sources": "Enabled: no\nTypes: deb\nURIs: http://no.example/debian\nSuites: trixie\nComponents: main\n\nEnabled: yes\nTypes: deb\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\n"},
			"http://m.example/debian", "/etc/apt/sources.list.d/debian.sources"},
		"security first": {map[string]string{"sources.list": "deb http://s.example/debian-security trixie-security main\ndeb http://s.example/debian-security buster/updates main\ndeb http://m.example/debian trixie main\n"},
			"http://m.example/debian", "/etc/apt/sources.list"},
		"third parties first": {map[string]string{
			"sources.list.d/a.list":         "deb https://packages.example/apt cloud-sdk-bookworm main\n",
			"sources.list.d/b.sources":      "Types: deb\nURIs: https://node.example/node_20.x\nSuites: nodistro\nComponents: main\nSigned-By: /usr/share/keyrings/node.gpg\n",
			"sources.list.d/c.list":         "deb [signed-by=/etc/apt/keyrings/other.gpg] https://other.example/debian bookworm main\n",
			"sources.list.d/d.list":         "deb https://flat.example/ ./\ndeb https://docker.example/linux/debian bookworm stable\n",
			"sources.list.d/debian.sources": "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: " + debianKeyring + "\n"},
			"http://m.example/debian", "/etc/apt/sources.list.d/debian.sources"},
		"Debian's keyring goes before none": {map[string]string{
			"sources.list":                  "deb http://unsigned.example/debian bookworm main\n",
			"sources.list.d/debian.sources": "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: " + debianKeyring + "\n"},
			"http://m.example/debian", "/etc/apt/sources.list.d/debian.sources"},
		"source packages only first": {map[string]string{"sources.list": "deb-src http://no.example/debian trixie main\ndeb http://m.example/debian trixie main\n"},
			"http://m.example/debian", "/etc/apt/sources.list"},
		"file": {map[string]string{"sources.list": "deb file:/srv/mirror trixie main\n"},
			"file:///srv/mirror", "/etc/apt/sources.list"},
		"cloud image": {map[string]string{
			"sources.list.d/debian.sources": "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\nComponents: main\n",
			"mirrors/debian.list":           "# list\nhttps://m.example/debian priority:1\n"},
			"https://m.example/debian", "/etc/apt/sources.list.d/debian.sources"},
		"a broken file beside a good one": {map[string]string{
			"sources.list":                  "deb [broken http://no.example/debian trixie main\ndeb\ndeb x\n\x00\xff\n",
			"sources.list.d/a.sources":      "no colon here\n",
			"sources.list.d/debian.sources": "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\n"},
			"http://m.example/debian", "/etc/apt/sources.list.d/debian.sources"},
		"files apt does not read": {map[string]string{
			"sources.list.d/debian.list.save": "deb http://no.example/debian trixie main\n",
			"sources.list.d/z.list":           "deb http://m.example/debian trixie main\n"},
			"http://m.example/debian", "/etc/apt/sources.list.d/z.list"},
	} {
		t.Run(name, func(t *testing.T) {
			mirror, origin, err := HostMirror(etc(c.files))
			if err != nil || mirror != c.want || origin != c.origin {
				t.Errorf("got %q from %q, %v; want %q from %q", mirror, origin, err, c.want, c.origin)
			}
		})
	}
}

func TestAMachineWithoutDebianSourcesIsToldHowToSetAMirror(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no apt":     {},
		"Ubuntu":     {"sources.list": "deb http://archive.example/ubuntu noble main\n"},
		"unknown":    {"sources.list": "deb tor+http://m.example/debian trixie main\ndeb ftp://m.example/debian trixie main\n"},
		"no mirrors": {"sources.list": "deb mirror+file:/etc/apt/none trixie main\ndeb mirror+file:/../../x trixie main\n"},
	} {
		_, _, err := HostMirror(etc(files))
		if !errors.Is(err, fault.NoMirror) || !strings.Contains(err.Error(), "--mirror or WEFT_MIRROR") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheMirrorGivenGoesBeforeTheEnvironmentAndTheHost(t *testing.T) {
	root := etc(map[string]string{"sources.list": "deb http://host.example/debian trixie main\n"})
	for _, c := range []struct{ explicit, environment, want, origin string }{
		{"http://a.example", "http://b.example", "http://a.example", "--mirror"},
		{"", "http://b.example", "http://b.example", "WEFT_MIRROR"},
		{"", "", "http://host.example/debian", "/etc/apt/sources.list"},
	} {
		mirror, origin, err := ChooseMirror(c.explicit, c.environment, root)
		if err != nil || mirror != c.want || origin != c.origin {
			t.Errorf("got %q from %q, %v", mirror, origin, err)
		}
	}
}

func TestMirrorAddresses(t *testing.T) {
	local := t.TempDir()
	if err := mkdirAll(filepath.Join(local, "dists")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"http://m.example/debian/":         "http://m.example/debian",
		"https://u:p@m.example:8080/a%20b": "https://u:p@m.example:8080/a%20b",
		local:                              "file://" + local,
		"file://" + local + "/":            "file://" + local,
	} {
		if u, err := parseMirror(text); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
	for text, want := range map[string]string{
		"":                       "no Debian mirror is set",
		"ftp://m.example/debian": "scheme ftp",
		"http:///debian":         "no host",
		"http://m.example/?x=1":  "query",
		"file://host/srv":        "three slashes",
		t.TempDir():              "no folder dists",
		"/does/not/exist":        "no folder dists",
		"http://u:secret@m\x7f/": "no URL",
	} {
		_, err := parseMirror(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "fix: ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFilesOfAMirrorAreEscaped(t *testing.T) {
	u, err := parseMirror("http://m.example/debian")
	if err != nil {
		t.Fatal(err)
	}
	if got := under(u, "pool/a+b/c_1%3a2~rc1.deb").String(); got != "http://m.example/debian/pool/a+b/c_1%253a2~rc1.deb" {
		t.Errorf("got %s", got)
	}
}

func TestVersionsCompareAsDpkgSays(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Fatal("install dpkg: make deps")
	}
	versions := []string{"0", "1", "1.0", "1.0-1", "1.0-1~bpo13+1", "1.0-1+deb13u1", "1:0.1", "0:1.0", "1.0~rc1", "1.0~rc1~x", "1.0~",
		"1.0a", "1.0+", "1.00", "1.0.0", "1.a", "10", "9", "6.12.107-1", "6.12.9-1", "7.2.12-1~bpo13+1", "2:1", "1.0-0", "1.0-a-1", "1.0-a-2"}
	for i, a := range versions {
		for _, b := range versions[i:] {
			c := compareVersions(a, b)
			if back := compareVersions(b, a); (c < 0) != (back > 0) || (c == 0) != (back == 0) {
				t.Errorf("%s and %s: %d one way, %d the other", a, b, c, back)
			}
			op := map[bool]string{true: "lt", false: "gt"}[c < 0]
			if c == 0 {
				op = "eq"
			}
			if exec.Command(dpkg, "--compare-versions", a, op, b).Run() != nil {
				t.Errorf("dpkg does not say that %s is %s %s", a, op, b)
			}
		}
	}
}

// FuzzSources reads what may be in the files of /etc/apt.
func FuzzSources(f *testing.F) {
	f.Add("deb [signed-by=x] http://m/debian trixie main # c\n", false)
	f.Add("Types: deb\nURIs: http://m/d\nSuites: sid\nComponents: main\n", true)
	f.Fuzz(func(t *testing.T, text string, deb822 bool) {
		name := "sources.list"
		if deb822 {
			name = "sources.list.d/x.sources"
		}
		mirror, origin, err := HostMirror(etc(map[string]string{name: text}))
		if err == nil && (origin != "/etc/apt/"+name || !strings.Contains(mirror, ":")) {
			t.Errorf("%q from %q", mirror, origin)
		}
	})
}

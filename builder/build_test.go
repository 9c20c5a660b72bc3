package builder_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weft/builder"
	"weft/builder/buildtest"
	"weft/builder/image"
	"weft/builder/node"
)

// emptyCache is a cache that has the downloads of the user's and nothing that
// was made from them.
func emptyCache(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "downloads"), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(from, "downloads"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join("downloads", f.Name())
		if filepath.Ext(name) == ".part" {
			continue
		}
		// A link over the border of a file system fails; then it is
		// downloaded again.
		_ = os.Link(filepath.Join(from, name), filepath.Join(dir, name))
	}
	return dir
}

// elsewhere makes the rest of the test another person's machine, as far as a
// process can tell.
func elsewhere(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"TZ": "Pacific/Chatham", "HOME": t.TempDir(), "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8",
		"USER": "somebody", "XDG_CACHE_HOME": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
	t.Chdir(t.TempDir())
	old := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(old) })
}

// same fails unless two builds gave the same bytes.
func same(t *testing.T, a, b image.Result) {
	t.Helper()
	if a.ID != b.ID || a.SHA256 != b.SHA256 || a.Mapped != b.Mapped {
		t.Errorf("two builds of the same inputs differ:\n%+v\n%+v", a, b)
	}
}

func TestSameInputsGiveTheSameBytesAnywhere(t *testing.T) {
	cache := buildtest.CacheDir(t)
	p := buildtest.Plan(t, "x86-64-cloud", "vxlan")
	first := buildtest.Options(t, p, cache, t.TempDir())
	here := buildtest.Build(t, first)
	cold := emptyCache(t, cache)
	lock, err := os.ReadFile(first.LockFile)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere(t)
	second := buildtest.Options(t, p, cold, t.TempDir())
	if err := os.WriteFile(second.LockFile, lock, 0o600); err != nil {
		t.Fatal(err)
	}
	there := buildtest.Build(t, second)
	same(t, here, there)
	if info, err := os.Stat(there.Path); err != nil || info.Size() != there.Size {
		t.Errorf("the image: %v, %v", info, err)
	}
	t.Run("over an older image", func(t *testing.T) { same(t, here, buildtest.Build(t, second)) })
}

func TestEveryInputChangesTheID(t *testing.T) {
	dir := t.TempDir()
	p := buildtest.Plan(t, "x86-64-cloud", "vxlan")
	options := buildtest.Options(t, p, buildtest.CacheDir(t), dir)
	ids := map[string]string{}
	build := func(name string, o builder.Options) image.Result {
		t.Helper()
		result := buildtest.Build(t, o)
		if other, ok := ids[result.ID]; ok {
			t.Errorf("%s has the id of %s", name, other)
		}
		ids[result.ID] = name
		return result
	}
	plain := build("the lock's epoch", options)

	epoch := int64(1_700_000_000)
	o := options
	o.Epoch = &epoch
	dated := build("an epoch", o)
	if dated.SHA256 == plain.SHA256 {
		t.Error("the epoch changes nothing")
	}

	o = options
	o.Plan.Profile.Network.Backend.VNI++
	build("another VNI", o)

	o = options
	o.Program = func(arch, name string) ([]byte, error) {
		data, err := node.Program(arch, name)
		if name == "netd" {
			data = append(data[:len(data):len(data)], 0)
		}
		return data, err
	}
	build("another netd", o)
}

func TestWithoutProgramsNothingIsBuilt(t *testing.T) {
	o := buildtest.Options(t, buildtest.Plan(t, "x86-64-cloud", "vxlan"), buildtest.CacheDir(t), t.TempDir())
	o.Program = func(string, string) ([]byte, error) { return nil, node.ErrNotEmbedded }
	if _, err := builder.Build(t.Context(), o); !errors.Is(err, node.ErrNotEmbedded) || !strings.Contains(err.Error(), "make weft") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(o.Out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an image is there: %v", err)
	}
}

package builder

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDigestOfAFolderSeesEveryChange(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]string{}
	note := func(what string) {
		t.Helper()
		sum, err := digestFolder(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[sum]; ok {
			t.Errorf("%s: the digest is that of %s", what, other)
		}
		seen[sum] = what
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	note("an empty folder")
	do(os.WriteFile(in("a"), []byte("1"), 0o644))
	note("a file")
	do(os.WriteFile(in("a"), []byte("2"), 0o644))
	note("another content")
	do(os.Rename(in("a"), in("b")))
	note("another name")
	do(os.Symlink("b", in("link")))
	note("a link")
	do(os.Remove(in("link")))
	do(os.Symlink("c", in("link")))
	note("a link to something else")
	before, err := digestFolder(os.DirFS(dir))
	do(err)
	do(os.Chmod(in("b"), 0o600))
	if after, err := digestFolder(os.DirFS(dir)); err != nil || after != before {
		t.Errorf("a file's mode, which no image keeps, is in the digest: %v", err)
	}
}

package deb

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Bounds on paths: PATH_MAX and NAME_MAX of Linux (limits.h), and a depth no
// package comes near.
const (
	maxPath      = 4096
	maxComponent = 255
	maxDepth     = 64
)

// merged are the directories of the root that a merged /usr has as links to
// the same name under usr (usrmerge, hier(7)).
var merged = map[string]bool{
	"bin": true, "sbin": true, "lib": true, "lib32": true, "lib64": true, "libx32": true,
}

// MergedUsr returns name as it lies on a system with a merged /usr: lib/x
// becomes usr/lib/x. Other names are returned as they are.
func MergedUsr(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if merged[first] {
		return "usr/" + name
	}
	return name
}

// cleanName turns the name of a tar entry into a path relative to the root,
// or refuses it. The root itself becomes ".". dpkg writes names that begin
// with "./"; names that begin with "/" or have ".." in them are refused.
func cleanName(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("%w: absolute path %q", ErrUnsafe, name)
	}
	if len(name) > maxPath {
		return "", fmt.Errorf("%w: path of %d bytes", ErrTooLarge, len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: path %q leads out of the package", ErrUnsafe, name)
		}
		if len(part) > maxComponent {
			return "", fmt.Errorf("%w: name of %d bytes in a path", ErrTooLarge, len(part))
		}
	}
	clean := path.Clean(name)
	if name == "" || !fs.ValidPath(clean) || strings.ContainsFunc(clean, isControl) {
		return "", fmt.Errorf("%w: path %q", ErrUnsafe, name)
	}
	if strings.Count(clean, "/") >= maxDepth {
		return "", fmt.Errorf("%w: path %q is more than %d levels deep", ErrTooLarge, name, maxDepth)
	}
	return clean, nil
}

// isControl tells the characters that have no place in a path.
func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// cleanLink returns the target of the symbolic link that the package has at
// from and that lies at to once /usr is merged. A target that is relative,
// stays within the package and did not move is kept as it is. Any other is
// rewritten, with ".." stopping at the root as the kernel does.
func cleanLink(from, to, target string) (string, error) {
	if target == "" || len(target) > maxPath || strings.ContainsFunc(target, isControl) {
		return "", fmt.Errorf("%w: link %s to %q", ErrUnsafe, from, target)
	}
	if !strings.HasPrefix(target, "/") && from == to && staysInside(path.Dir(from), target) {
		return target, nil
	}
	absolute := target
	if !strings.HasPrefix(target, "/") {
		absolute = "/" + path.Dir(from) + "/" + target
	}
	// path.Clean of a rooted path drops the ".." that would leave the root.
	inside := MergedUsr(strings.TrimPrefix(path.Clean(absolute), "/"))
	return relative(path.Dir(to), inside), nil
}

// staysInside tells whether target, seen from dir, never steps above the
// root.
func staysInside(dir, target string) bool {
	depth := 0
	if dir != "." {
		depth = strings.Count(dir, "/") + 1
	}
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return false
			}
		default:
			depth++
		}
	}
	return true
}

// relative returns the way from the directory dir to name, both relative to
// the root.
func relative(dir, name string) string {
	var from, to []string
	if dir != "." {
		from = strings.Split(dir, "/")
	}
	if name != "" {
		to = strings.Split(name, "/")
	}
	for len(from) > 0 && len(to) > 0 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	parts := append(make([]string, 0, len(from)+len(to)), to...)
	for range from {
		parts = append([]string{".."}, parts...)
	}
	if len(parts) == 0 {
		return "."
	}
	return strings.Join(parts, "/")
}

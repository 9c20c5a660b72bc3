package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weft/builder/file"
	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/rules"
)

// LockCluster writes down what must stay the same in a cluster whose file is
// name and whose profile is p, as p was read: beside the file, at
// [rules.LockFile]. A lock of the same id stays as it is, since it says what
// the cluster was begun with; one of another id belonged to a cluster that is
// no more, and is replaced. The cluster must have passed its rules.
func LockCluster(name string, c cluster.Cluster, p profiles.Profile) error {
	path := rules.LockFile(name)
	if data, err := document.ReadFile(path); err == nil {
		old, _, problems := cluster.ReadLock(path, data)
		if problems.Errors() != nil {
			return problems
		}
		if old.ID == c.ID {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lock of cluster %s: %w", c.Name, err)
	}
	data, err := c.LockFor(p).YAML()
	if err != nil {
		return err
	}
	return file.Write(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// ruleSecrets and ruleReference are the rules about the secrets file.
const (
	ruleSecrets   = "H7"
	ruleReference = profiles.RuleExtends
)

// sealedSuffix is what the name of a sealed secrets file ends with; see package
// fleet, which opens it.
const sealedSuffix = ".age"

// CheckSecrets looks at the secrets file that a cluster names: it must be
// there, be a plain file, and be its owner's alone. It is not read.
func CheckSecrets(c cluster.Cluster, d *document.Document) document.Problems {
	if c.Secrets == "" || !d.Parsed() {
		return nil
	}
	path := c.Secrets
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.File()), path)
	}
	info, err := os.Stat(strings.TrimSuffix(path, sealedSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		if sealed, err := os.Stat(strings.TrimSuffix(path, sealedSuffix) + sealedSuffix); err == nil && sealed.Mode().IsRegular() {
			return nil // anybody may read it
		}
	}
	say := func(rule, message, fix string) document.Problems {
		return document.Problems{d.Problem("secrets", message).WithRule(rule).WithFix(fix)}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return say(ruleReference, fmt.Sprintf("there is no file %s", c.Secrets),
			"make it: weft cluster keys "+d.File())
	case err != nil:
		return say(ruleReference, err.Error(), "make it readable for you")
	case !info.Mode().IsRegular():
		return say(ruleReference, fmt.Sprintf("%s is no plain file", c.Secrets), "name a file with the token of the cluster")
	case info.Mode().Perm()&0o077 != 0:
		return say(ruleSecrets, fmt.Sprintf("%s has mode %04o: others can read or change the cluster's secrets", c.Secrets, info.Mode().Perm()),
			"chmod 600 "+path)
	}
	return nil
}

package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"weft/builder/payload"
	"weft/builder/tree"
	"weft/builder/userland"
	"weft/document"
	"weft/profiles"
	"weft/profiles/rancher"
)

// checkPayloads looks at the programs among the payloads. Everything wrong
// comes back at once, at the lines that name them.
func (in Input) checkPayloads(programs []userland.File) error {
	there := map[string]bool{}
	for _, f := range programs {
		there[f.Path] = true
	}
	var problems document.Problems
	for _, f := range in.Payloads {
		if f.Kind != payload.Program {
			continue
		}
		err := in.checkProgram(f, func(path string) bool { return there[path] })
		var bad *payload.ProgramError
		if errors.As(err, &bad) {
			problems = append(problems, in.Plan.ProfileProblem(f.Path, f.Name()+" cannot run on this board: "+bad.Reason).WithFix(bad.Fix))
		} else if err != nil {
			return fmt.Errorf("payload %s: %w", f.Name(), err)
		}
	}
	if problems.Errors() != nil {
		problems.Sort()
		return problems
	}
	return nil
}

// checkProgram looks at one program.
func (in Input) checkProgram(f payload.File, has func(string) bool) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return payload.CheckProgram(r, in.Plan.Board.Arch, has)
}

// payloads adds what the profile names by path or URL, and what K3s and RKE2
// expect of a root beside it.
func (in Input) payloads(t *tree.Tree) {
	for _, f := range in.Payloads {
		mode := fs.FileMode(0o644)
		if f.Kind == payload.Program {
			mode = 0o755
		}
		t.File(f.To, mode, f.Content)
	}
	k := in.Plan.Profile.Kubernetes
	if !k.On() {
		return
	}
	// Both keep passwords and keys of the node there.
	t.Symlink("etc/rancher", "../data/etc/rancher")
	if k.Distribution == profiles.K3s {
		// Scripts of K3s begin with #!/bin/sh; it unpacks a busybox.
		t.Symlink("usr/bin/sh", rancher.Unpacked+"/sh")
	}
}

// certificates adds those of the package, if there is one among the programs,
// as one file, as update-ca-certificates(8) does when it is installed.
func (in Input) certificates(t *tree.Tree) error {
	i := slices.IndexFunc(in.Userland, func(p userland.Package) bool { return p.Name == profiles.CertificatesPackage })
	if i < 0 {
		return nil
	}
	files := in.Userland[i].Files
	names, err := fs.Glob(files, "usr/share/ca-certificates/mozilla/*.crt")
	if err == nil && len(names) == 0 {
		err = errors.New("it has none; a newer release may have moved them")
	}
	var all []byte
	for _, name := range names { // sorted by Glob's ReadDir
		data, rerr := fs.ReadFile(files, name)
		err = errors.Join(err, rerr)
		all = append(all, bytes.TrimRight(data, "\n")...)
		all = append(all, '\n')
	}
	if err != nil {
		return fmt.Errorf("certificates of package %s: %w", profiles.CertificatesPackage, err)
	}
	t.File(certificatesFile, 0o644, tree.Bytes(all))
	return nil
}

// certificatesFile is where programs look for the certificates first (Go's
// crypto/x509, root_linux.go; OpenSSL by Debian's configuration).
const certificatesFile = "etc/ssl/certs/ca-certificates.crt"

// accounts are /etc/passwd and /etc/group. A hardened RKE2 demands a user and
// a group etcd (rke2 pkg/cli/cmds/profile_linux.go).
func (in Input) accounts() (passwd, group string) {
	passwd = "root:x:0:0:root:/root:/bin/false\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
	group = "root:x:0:\nnogroup:x:65534:\n"
	if in.Plan.Profile.CIS() {
		passwd += "etcd:x:990:990:etcd:/nonexistent:/bin/false\n"
		group += "etcd:x:990:\n"
	}
	return passwd, group
}

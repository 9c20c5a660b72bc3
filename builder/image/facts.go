package image

import (
	"path"
	"slices"
	"strings"

	"weft/builder/kmod"
	"weft/init/hostname"
	"weft/profiles/rules"
)

// Facts are what the rules about profiles ask of the kernel and of the root
// that the input makes.
func (in Input) Facts() (rules.Facts, error) {
	picked, err := in.userland()
	if err != nil {
		return rules.Facts{}, err
	}
	f := KernelFacts(in.Kernel)
	f.Arch = in.Plan.Board.Arch
	f.Programs = []string{}
	for _, file := range picked {
		if dir := path.Base(path.Dir(file.Path)); dir == "bin" || dir == "sbin" {
			f.Programs = append(f.Programs, path.Base(file.Path))
		}
	}
	for _, file := range in.Payloads {
		f.Programs = append(f.Programs, path.Base(file.To))
	}
	slices.Sort(f.Programs)
	passwd, _ := in.accounts()
	for line := range strings.Lines(passwd) {
		user, _, _ := strings.Cut(line, ":")
		f.Users = append(f.Users, user)
	}
	// init writes the file of every node in the same form.
	f.Hosts = hostname.Hosts(in.Plan.Profile.Name)
	return f, nil
}

// KernelFacts are what the rules ask of a kernel. One whose configuration is
// not known is believed to have everything.
func KernelFacts(k *kmod.Kernel) rules.Facts {
	f := rules.Facts{Arch: k.Arch, Kernel: k.Release}
	if !k.Config.Known() {
		return f
	}
	for _, symbol := range rules.Symbols() {
		if v := k.Config.Value(symbol); v != "y" && v != "m" {
			f.Lacks = append(f.Lacks, symbol)
		}
	}
	return f
}

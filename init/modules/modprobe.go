package modules

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a request to load a module.
const (
	// maxNames bounds the modules of one request; the kernel asks for one.
	maxNames = 64
	// maxName is the longest name, in bytes: MODULE_NAME_LEN is 56 on 64-bit
	// machines (include/linux/moduleparam.h), aliases of devices are longer.
	maxName = 512
)

// ErrUsage says that the arguments of modprobe are not understood.
var ErrUsage = errors.New("usage: modprobe [-q] [-a] [--] NAME [KEY=VALUE …]")

// A Request is what modprobe was asked.
type Request struct {
	// Names are modules or aliases, such as vxlan or rtnl-link-vxlan.
	Names []string
	// Options are given to the module; only with one name.
	Options string
	// Quiet says that a name nobody knows is not worth a message: the kernel
	// asks for what may exist.
	Quiet bool
	// Dry says that nothing is to be loaded.
	Dry bool
}

// ParseModprobe reads the arguments of modprobe, without its own name: those
// of the kernel's own requests, "-q -- NAME" (kernel/module/kmod.c,
// call_modprobe), and the loading forms of modprobe(8) that programs use.
// Removing modules is refused: nothing on a node may take a feature away that
// the profile needs.
func ParseModprobe(args []string) (Request, error) {
	var r Request
	all, words := false, false
	for _, arg := range args {
		if words || !strings.HasPrefix(arg, "-") || arg == "-" {
			if err := r.word(arg, all); err != nil {
				return Request{}, err
			}
			continue
		}
		switch arg {
		case "--":
			words = true
		case "-q", "--quiet", "-s", "--syslog", "-b", "--use-blacklist":
			r.Quiet = r.Quiet || arg == "-q" || arg == "--quiet"
		case "-v", "--verbose", "-i", "--ignore-install", "--first-time":
		case "-a", "--all":
			all = true
		case "-n", "--dry-run", "--show":
			r.Dry = true
		case "-qa", "-aq", "-va", "-av":
			all, r.Quiet = true, strings.Contains(arg, "q")
		case "-r", "--remove":
			return Request{}, fmt.Errorf("%s: modules are not removed while the node runs", arg)
		default:
			return Request{}, fmt.Errorf("%.40q: %w", arg, ErrUsage)
		}
	}
	if len(r.Names) == 0 {
		return Request{}, ErrUsage
	}
	return r, nil
}

// word takes an argument that is no flag: a name, or an option of the one
// module before it.
func (r *Request) word(arg string, all bool) error {
	switch {
	case arg == "" || len(arg) > maxName || strings.ContainsAny(arg, "\x00\n"):
		return fmt.Errorf("%.40q: %w", arg, ErrUsage)
	case all || len(r.Names) == 0:
		if len(r.Names) == maxNames {
			return fmt.Errorf("more than %d modules at once: %w", maxNames, ErrUsage)
		}
		r.Names = append(r.Names, arg)
	case r.Options == "":
		r.Options = arg
	default:
		r.Options += " " + arg
	}
	return nil
}

// Serve loads what a request asks for. What is built in or there already is
// fine; ErrUnknown of a quiet request stays an error, for the exit code, but
// is no news.
func (r Request) Serve(l *Loader) error {
	if r.Dry {
		for _, name := range r.Names {
			if !l.Has(name) {
				return fmt.Errorf("%s: %w", name, ErrUnknown)
			}
		}
		return nil
	}
	var failed []error
	l.LoadAll(r.Names, Urgent, func(res Result) {
		if res.Err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", res.Name, res.Err))
		}
	})
	return errors.Join(failed...)
}

// SplitEntry takes a module and its options apart, as a list of modules gives
// them: "bonding max_bonds=0 miimon=100".
func SplitEntry(entry string) (name, options string) {
	name, options, _ = strings.Cut(strings.TrimSpace(entry), " ")
	return name, strings.Join(strings.Fields(options), " ")
}

// Options puts the options of several sources together for each module; later
// sources come later, and the kernel lets the last of two equal keys win.
func Options(sources ...func(module string) string) func(module string) string {
	return func(module string) string {
		var all []string
		for _, source := range sources {
			if text := source(module); text != "" {
				all = append(all, text)
			}
		}
		return strings.Join(all, " ")
	}
}

// OptionsOf gives each module of a list the options that its entry names.
func OptionsOf(entries []string) func(module string) string {
	options := make(map[string]string, len(entries))
	for _, entry := range entries {
		if name, text := SplitEntry(entry); text != "" {
			options[Name(name)] = text
		}
	}
	return func(module string) string { return options[module] }
}

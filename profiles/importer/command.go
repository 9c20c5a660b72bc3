package importer

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// A command is one that runs or installs K3s or RKE2 on a node.
type command struct {
	folder, name string
	place        document.Problem
	// role is what the command says; 0 when it says nothing.
	role kube.Role
	// env come from the environment and count least, flags most.
	env, flags []setting
}

var (
	assignment = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)=`)
	sysctlWord = regexp.MustCompile(`^(net|vm|kernel|fs)\.[a-z0-9_.-]+(=|$)`)
)

// A reader reads the commands of one file.
type reader struct {
	*importer
	text *text
	// env are the variables set for all commands that follow.
	env   []setting
	found []command
	// bare gathers lines of flags alone.
	bare *command
	// inert is the first command that is none of the distributions'.
	inert *word
	told  bool
}

// readCommands reads a file of shell commands, flags, or variables.
func (im *importer) readCommands(name, all string) {
	r := &reader{importer: im, text: newText(name, all)}
	if p, bad := badText(r.text); bad {
		im.say(p)
		return
	}
	words, err := split(charsOf(all))
	if err != nil {
		im.say(at(r.text.place(err.at, err.at+1), err.message).WithRule(document.RuleSyntax).WithFix(err.fix))
		return
	}
	before := len(im.problems)
	for len(words) > 0 {
		line, rest := cut(words, "\n", "&", ";")
		r.pipeline(line)
		words = rest
	}
	if r.bare != nil {
		r.found = append(r.found, *r.bare)
	}
	if len(r.found) == 0 && len(r.env) > 0 {
		r.found = append(r.found, command{place: document.Problem{File: name}, env: r.env})
	}
	if len(r.found) == 0 && !r.told && len(im.problems) == before {
		p := document.Problem{File: name}
		if r.inert != nil {
			p = r.text.of(*r.inert)
		}
		im.say(at(p, "there is no K3s or RKE2 in this").WithRule("A1").
			WithFix("give a config.yaml, the command that installed the cluster, or its flags"))
	}
	for _, c := range r.found {
		c.folder, c.name = filepath.Dir(filepath.Clean(name)), name
		im.commands = append(im.commands, c)
	}
}

// badText refuses what is no text.
func badText(t *text) (document.Problem, bool) {
	for i := range len(t.all) {
		if b := t.all[i]; b < ' ' && b != '\n' && b != '\t' && b != '\r' {
			return document.Problem{File: t.name, Message: "this is no text"}.WithRule(document.RuleText).
				WithFix("give a config.yaml, or the command that installed the cluster"), true
		}
	}
	return document.Problem{}, false
}

// unitLines keeps the lines of a systemd unit that say what is run.
func unitLines(all string) string {
	var b strings.Builder
	going := false
	for line := range strings.Lines(all) {
		trimmed := strings.TrimSpace(line)
		keep := going || strings.HasPrefix(trimmed, "ExecStart=") || strings.HasPrefix(trimmed, "Environment=")
		going = keep && strings.HasSuffix(trimmed, "\\")
		if keep {
			b.WriteString(line)
		} else {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// cut takes the words before the first of some operators, and those behind.
func cut(words []word, ops ...string) (before, behind []word) {
	for i, w := range words {
		if w.op && slices.Contains(ops, w.text()) {
			return words[:i], words[i+1:]
		}
	}
	return words, nil
}

// pipeline reads the commands of one pipeline.
func (r *reader) pipeline(words []word) {
	for len(words) > 0 {
		var one []word
		one, words = cut(words, "|")
		r.command(slices.DeleteFunc(slices.Clone(one), func(w word) bool { return w.op }))
	}
}

// command reads one command with its variables.
func (r *reader) command(words []word) {
	env, rest := r.variables(words)
	if len(rest) == 0 {
		r.env = append(r.env, env...)
		return
	}
	name := filepath.Base(strings.TrimLeft(rest[0].text(), "@:+!"))
	args := rest[1:]
	c := command{place: r.text.of(rest[0]), env: slices.Concat(r.env, env)}
	switch {
	case name == profiles.K3s || name == profiles.RKE2:
		r.program(c, name, args)
	case name == "sh" || name == "bash" || strings.HasSuffix(name, "install.sh"):
		r.installer(c, name, args)
	case strings.HasPrefix(rest[0].text(), "--"):
		if r.bare == nil {
			r.bare = &c
		}
		r.flags(r.bare, rest)
	case sysctlWord.MatchString(rest[0].text()) || name == "sysctl":
		r.sysctl(rest)
	default:
		r.other(rest)
	}
}

// variables takes the assignments before a command.
func (r *reader) variables(words []word) (env []setting, rest []word) {
	for len(words) > 0 {
		w := words[0]
		t := w.text()
		m := assignment.FindStringSubmatch(t)
		switch {
		case t == "sudo" || t == "export" || t == "env" || t == "exec" || t == "-E":
			words = words[1:]
			continue
		case m == nil:
			return env, words
		}
		name, value := m[1], w.from(len(m[0]))
		switch {
		case name == "ExecStart":
			value.chars = trimLeft(value.chars, "-")
			return env, append([]word{value}, words[1:]...)
		case name == "Environment":
			// Its value is an assignment again, and more may follow.
			words = append([]word{value}, words[1:]...)
			continue
		}
		env = append(env, r.variable(name, value)...)
		words = words[1:]
	}
	return env, nil
}

// trimLeft drops bytes from the front of a word.
func trimLeft(chars []char, cutset string) []char {
	for len(chars) > 0 && strings.IndexByte(cutset, chars[0].b) >= 0 {
		chars = chars[1:]
	}
	return chars
}

// program reads the arguments of k3s or rke2.
func (r *reader) program(c command, name string, args []word) {
	r.hints[name] += 3
	if len(args) == 0 {
		return
	}
	switch args[0].text() {
	case "server":
		c.role = kube.Server
	case "agent":
		c.role = kube.Agent
	default:
		// kubectl, etcd-snapshot and the like set nothing up.
		r.inert = &args[0]
		return
	}
	r.flags(&c, args[1:])
	r.found = append(r.found, c)
}

// installer reads a run of the installing script.
func (r *reader) installer(c command, name string, args []word) {
	if strings.HasPrefix(name, "sh") || strings.HasPrefix(name, "bash") {
		for len(args) > 0 && !strings.HasPrefix(args[0].text(), "--") && strings.HasPrefix(args[0].text(), "-") {
			args = args[1:]
		}
		if len(args) > 0 && args[0].text() == "--" {
			args = args[1:]
		}
	}
	var exec []setting
	c.env = slices.DeleteFunc(c.env, func(s setting) bool {
		if s.key == keyExec {
			exec = append(exec, s)
		}
		return s.key == keyExec
	})
	for _, s := range exec {
		if w, is := s.value.(word); is {
			inner, err := split(w.chars)
			if err != nil {
				r.say(at(r.text.place(err.at, err.at+1), err.message).WithRule(document.RuleSyntax).WithFix(err.fix))
				continue
			}
			// The script puts them before its own arguments.
			args = append(inner, args...)
		}
	}
	if len(args) > 0 {
		switch args[0].text() {
		case "server":
			c.role, args = kube.Server, args[1:]
		case "agent":
			c.role, args = kube.Agent, args[1:]
		}
	}
	r.flags(&c, args)
	r.found = append(r.found, c)
}

// short are the flags of one letter (k3s pkg/cli/cmds).
var short = map[string]string{"-s": "server", "-t": "token", "-c": "config", "-d": "data-dir", "-o": "write-kubeconfig"}

// flags reads flags and adds them to a command.
func (r *reader) flags(c *command, args []word) {
	all := slices.Concat(kube.Keys(profiles.K3s), kube.Keys(profiles.RKE2))
	for len(args) > 0 {
		w := args[0]
		t := w.text()
		args = args[1:]
		if t == "server" || t == "agent" {
			// INSTALL_K3S_EXEC and the script's argument may both say it.
			c.role = map[string]kube.Role{"server": kube.Server, "agent": kube.Agent}[t]
			continue
		}
		name, isFlag := strings.CutPrefix(t, "-")
		name = strings.TrimPrefix(name, "-")
		if !isFlag || name == "" {
			r.say(at(r.text.of(w), fmt.Sprintf("%q is no flag", t)).WithRule("A1").WithFix("write --flag=value, and put a value with spaces in quotes"))
			continue
		}
		s := setting{keyAt: r.text.of(w), at: r.text.of(w)}
		var value word
		key, _, inside := strings.Cut(name, "=")
		if long := short["-"+key]; long != "" && !strings.HasPrefix(t, "--") {
			key = long
		}
		known, there := kube.Find(all, key)
		_, renamed := renames[key]
		isBool := there && known.Kind == kube.Bool || key == "no-flannel"
		switch {
		case inside:
			value = w.from(strings.IndexByte(t, '=') + 1)
		case isBool:
			s.value = true
		case len(args) > 0 && (!strings.HasPrefix(args[0].text(), "-") || there || renamed):
			value, args = args[0], args[1:]
		case there || renamed:
			r.say(at(s.at, fmt.Sprintf("--%s has no value", key)).WithRule(document.RuleType).WithFix("write --" + key + "=VALUE"))
			continue
		}
		s.key = key
		r.hintKey(key)
		if s.value == nil {
			s.value, s.at = value.text(), r.text.of(value)
			if len(value.chars) == 0 {
				s.at = r.text.of(w)
			}
			if value.made && !known.Secret {
				r.say(at(s.at, fmt.Sprintf("the value of --%s is made by the shell", key)).WithRule(document.RuleType).WithFix("write the value itself"))
				continue
			}
		}
		c.flags = append(c.flags, s)
	}
}

// other notes a command that is none of the distributions', for what it tells.
func (r *reader) other(words []word) {
	for _, w := range words {
		t := w.text()
		if strings.Contains(t, "get.k3s.io") || strings.Contains(t, "get.rke2.io") || strings.Contains(t, "rke2-server") || strings.Contains(t, "rke2-agent") {
			r.hint(t)
		}
	}
	first := words[0]
	if r.inert == nil {
		r.inert = &first
	}
	if _, err := netip.ParseAddr(first.text()); err == nil {
		r.told = true
		r.tell(at(r.text.of(first), "a line of /etc/hosts is not copied").WithRule("G7").
			WithFix("nothing is to do: weft writes a hosts file with ::1 localhost"))
	}
}

// sysctl reads settings of the kernel: as lines of sysctl.conf, or set by the
// program.
func (r *reader) sysctl(words []word) {
	line := words
	var b strings.Builder
	for _, w := range line {
		if t := w.text(); t != "sysctl" && !strings.HasPrefix(t, "-") {
			b.WriteString(t + " ")
		}
	}
	name, value, both := strings.Cut(strings.TrimSpace(b.String()), "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !both || name == "" || value == "" {
		return
	}
	r.told = true
	place := r.text.of(words[len(words)-1])
	if strings.HasSuffix(name, ".accept_ra") {
		r.tell(at(place, name+" is not copied").WithRule("I3").WithNote("all.accept_ra changes nothing on Linux").
			WithFix("nothing is to do: init sets accept_ra to 2 on the uplinks, before it turns forwarding on"))
		return
	}
	r.sysctls = append(r.sysctls, setting{key: name, value: value, at: place, keyAt: place})
}

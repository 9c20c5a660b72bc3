// Package cmdline reads the kernel's command line the way the kernel does.
package cmdline

import "strings"

// Args are the arguments of a command line, in order.
type Args []Arg

// Arg is one argument; Value is empty for an argument without "=".
type Arg struct{ Key, Value string }

// Parse splits a command line at white space outside double quotes, as
// next_arg in the kernel's lib/cmdline.c. Arguments after a lone "--" are for
// init and are left out.
func Parse(line string) Args {
	var args Args
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " \t\r\n") {
		word := next(line)
		line = line[len(word):]
		if word == "--" {
			break
		}
		key, value, _ := strings.Cut(word, "=")
		args = append(args, Arg{strings.Trim(key, `"`), strings.Trim(value, `"`)})
	}
	return args
}

// next returns the first word of line, quotes included.
func next(line string) string {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			return line[:i]
		}
	}
	return line
}

// Get returns the value of the last argument called key: later ones win.
func (a Args) Get(key string) (string, bool) {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i].Key == key {
			return a[i].Value, true
		}
	}
	return "", false
}

// PartUUID returns the partition id that the argument called key names as
// PARTUUID=…, in lower case.
func (a Args) PartUUID(key string) (string, bool) {
	value, ok := a.Get(key)
	if !ok {
		return "", false
	}
	id, ok := strings.CutPrefix(value, "PARTUUID=")
	if !ok || id == "" {
		return "", false
	}
	return strings.ToLower(id), true
}

// ModuleOptions returns the options of a module, given as MODULE.option=value,
// joined by spaces as finit_module(2) wants them; "-" and "_" are the same.
func (a Args) ModuleOptions(module string) string {
	module = strings.ReplaceAll(module, "-", "_")
	var options []string
	for _, arg := range a {
		name, option, ok := strings.Cut(arg.Key, ".")
		if !ok || strings.ReplaceAll(name, "-", "_") != module {
			continue
		}
		if arg.Value != "" {
			option += "=" + arg.Value
		}
		options = append(options, option)
	}
	return strings.Join(options, " ")
}

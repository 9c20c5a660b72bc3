package kmod

import (
	"bytes"
	"fmt"
	"strings"
)

// Config is the configuration a kernel was built with. The zero value is a
// configuration that is not known.
type Config struct {
	// values are by symbol; "n" stands for "is not set".
	values map[string]string
}

// Known says whether the package told its configuration at all.
func (c Config) Known() bool { return c.values != nil }

// Value returns the value of a symbol such as CONFIG_VXLAN: y, m, a number, a
// string in its quotes, or "n" for one that is not set, not mentioned or not
// known.
func (c Config) Value(symbol string) string {
	if value, ok := c.values[symbol]; ok {
		return value
	}
	return "n"
}

// State says in words what the configuration says about a symbol, such as
// "CONFIG_VXLAN=m" or "CONFIG_VXLAN is not set".
func (c Config) State(symbol string) string {
	value, ok := c.values[symbol]
	switch {
	case !c.Known():
		return symbol + " is unknown, for the package has no configuration"
	case !ok:
		// Kconfig leaves out symbols whose own dependencies are off.
		return symbol + " is not in the configuration"
	case value == "n":
		return symbol + " is not set"
	default:
		return symbol + "=" + value
	}
}

// mentions says whether the configuration has a line on symbol.
func (c Config) mentions(symbol string) bool {
	_, ok := c.values[symbol]
	return ok
}

// parseConfig reads a .config as Kconfig writes it
// (scripts/kconfig/confdata.c, conf_read_simple): lines CONFIG_X=value and
// "# CONFIG_X is not set", other comments, blank lines.
func parseConfig(data []byte) (Config, error) {
	values := map[string]string{}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := strings.TrimRight(string(line), "\r\n")
		symbol, value, ok := configLine(text)
		switch {
		case ok:
			values[symbol] = value
		case text == "", strings.HasPrefix(text, "#"):
		default:
			return Config{}, fmt.Errorf("line %d: %.40q is not a line of a kernel configuration", number, text)
		}
	}
	if len(values) == 0 {
		return Config{}, fmt.Errorf("no CONFIG_ line in %d lines", number)
	}
	return Config{values: values}, nil
}

// configLine splits one line into symbol and value.
func configLine(line string) (symbol, value string, ok bool) {
	if rest, isComment := strings.CutPrefix(line, "# "); isComment {
		symbol, ok = strings.CutSuffix(rest, " is not set")
		return symbol, "n", ok && isSymbol(symbol)
	}
	symbol, value, ok = strings.Cut(line, "=")
	return symbol, value, ok && isSymbol(symbol) && value != ""
}

// isSymbol says whether s is CONFIG_ followed by letters, digits and
// underscores.
func isSymbol(s string) bool {
	rest, ok := strings.CutPrefix(s, "CONFIG_")
	if !ok || rest == "" {
		return false
	}
	return strings.IndexFunc(rest, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

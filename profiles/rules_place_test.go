package profiles

import "testing"

// anyPlace is put before the hostname of the base, followed by keys for the
// cases below.
const anyPlace = "\nkubernetes: "

// placeCases are of node files.
var placeCases = []ruleCase{
	{"N81", "an unknown role", "\nhostname:", anyPlace + "{role: master}\nhostname:", anyPlace + "{role: server}\nhostname:"},
	{"N81", "an agent that joins nobody", "\nhostname:", anyPlace + "{role: agent}\nhostname:", anyPlace + "{role: agent, join: \"https://a:6443\"}\nhostname:"},
	{"N81", "a server without https", "\nhostname:", anyPlace + "{join: \"a:6443\"}\nhostname:", anyPlace + "{join: \"https://a:6443\"}\nhostname:"},
	{"N81", "a joining server that begins", "\nhostname:", anyPlace + "{role: server, join: \"https://a:6443\", more: true}\nhostname:", anyPlace + "{role: server, more: true}\nhostname:"},
}

func TestPlaceRules(t *testing.T) { tryCases(t, baseNode, placeCases, problemsOf(ReadNode)) }

// Package kube knows the configuration of K3s and RKE2 as data: which keys
// there are, what they take and from which version to which, and what the
// config.yaml of one node says in the end.
//
// It computes values. Package rules checks them, and what writes files is
// elsewhere.
package kube

import (
	"slices"

	"weft/profiles"
)

// A Role is what a node does in the cluster, as a set.
type Role int

// The roles.
const (
	Server Role = 1 << iota
	Agent
	// Every is servers and agents: servers take all keys of agents.
	Every = Server | Agent
)

// String returns "server" or "agent", or both.
func (r Role) String() string {
	switch r {
	case Server:
		return "server"
	case Agent:
		return "agent"
	}
	return "server and agent"
}

// A Kind is what a key takes.
type Kind int

// The kinds of values.
const (
	// Text is one word or sentence; numbers count as text.
	Text Kind = iota
	// Bool is true or false.
	Bool
	// Int is a whole number.
	Int
	// List is a list of texts, or one text with commas.
	List
	// Args is a list of texts, each an argument of another program.
	Args
)

// String says what a kind asks for.
func (k Kind) String() string {
	switch k {
	case Bool:
		return "true or false"
	case Int:
		return "a whole number"
	case List, Args:
		return "a list"
	}
	return "text"
}

// A Key is one key of config.yaml.
type Key struct {
	// Name is the flag without its dashes.
	Name string
	// Roles are the nodes that take it. The others skip it, with a line in
	// their log.
	Roles Role
	// Kind is what it takes.
	Kind Kind
	// Values are the only words it takes; any when empty.
	Values []string
	// Default is what counts without it, as text.
	Default string
	// Since and Until are the first Kubernetes version that has the key and
	// the first that has it no more; empty for no bound.
	Since, Until string
	// Critical says that it must be the same on all servers: K3s refuses a
	// server whose value differs (k3s-io/k3s pkg/daemons/config/types.go at
	// 005499a9, CriticalControlArgs), or its documentation asks for it (k3s-io/docs
	// docs/cli/server.md at 02434960; rancher/rke2-docs
	// docs/reference/server_config.md at 16dc62aa).
	Critical bool
	// Secret says that its value is not for printing.
	Secret bool
}

// Keys lists the keys of a distribution, sorted by name; nil for none.
func Keys(distribution string) []Key {
	var all []Key
	switch distribution {
	case profiles.K3s:
		all = slices.Concat(commonServer(), commonAgent(), k3sServer(), k3sAgent())
	case profiles.RKE2:
		all = slices.Concat(commonServer(), commonAgent(), rke2Server(), rke2Every())
		for i := range all {
			// Its documentation asks for what K3s does not compare.
			all[i].Critical = all[i].Critical || all[i].Name == "disable-kube-proxy"
		}
	}
	slices.SortFunc(all, func(a, b Key) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Names lists the names of keys that a role takes in a version.
func Names(keys []Key, role Role, at profiles.Release) []string {
	var names []string
	for _, k := range keys {
		if k.Roles&role != 0 && k.In(at) {
			names = append(names, k.Name)
		}
	}
	return names
}

// Find returns the key with a name.
func Find(keys []Key, name string) (Key, bool) {
	for _, k := range keys {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

// In tells whether a version has the key.
func (k Key) In(at profiles.Release) bool {
	return (k.Since == "" || !at.Before(k.Since)) && (k.Until == "" || at.Before(k.Until))
}

// Ports of the supervisor, where nodes join.
const (
	// K3sPort serves the supervisor and the API server of K3s.
	K3sPort = 6443
	// RKE2Port serves the supervisor of RKE2; its API server has 6443.
	RKE2Port = 9345
)

// JoinPort is the port a distribution's nodes join at.
func JoinPort(distribution string) int {
	if distribution == profiles.RKE2 {
		return RKE2Port
	}
	return K3sPort
}

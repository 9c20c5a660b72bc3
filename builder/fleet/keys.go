package fleet

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
)

// The sizes of secrets that weft makes, in random bytes.
const (
	// ipsecBytes become 96 hexadecimal digits, what netd wants at least.
	ipsecBytes = 48
	// tokenBytes are what K3s takes for the tokens it makes itself
	// (k3s pkg/util, Random(16)).
	tokenBytes = 16
)

// needs are the secrets that a profile asks for.
type needs struct{ keys, wireguardPSK, ipsecPSK, token bool }

// needsOf works out what a profile asks for. With a store, nodes make their
// WireGuard keys themselves and publish the public ones.
func needsOf(p profiles.Profile) needs {
	n := needs{token: p.Kubernetes.On()}
	if !p.NetdOn() {
		return n
	}
	network := p.WithDefaults().Network
	switch network.Backend.Canonical() {
	case profiles.BackendWireGuard:
		n.keys = network.Store.Type == profiles.StoreStatic
		n.wireguardPSK = network.Backend.PSKFile == profiles.DefaultPSKFile
	case profiles.BackendIPsec:
		n.ipsecPSK = network.Backend.PSKFile == profiles.DefaultPSKFile
	}
	return n
}

// A Rotation says which secrets are made anew though they are there.
type Rotation struct {
	// Nodes are the names of nodes whose WireGuard keys are.
	Nodes []string
	// PSK says that the pre-shared keys are, Token that what nodes join
	// Kubernetes with is.
	PSK, Token bool
}

// Complete adds the secrets that the cluster needs and s lacks, out of random
// bytes, and those that are to be replaced. It returns what it made, in words
// that tell no secret, and leaves s as it was.
func (f *Fleet) Complete(s Secrets, rotate Rotation, random io.Reader) (Secrets, []string, error) {
	var made []string
	s.WireGuard = maps.Clone(s.WireGuard)
	if s.WireGuard == nil {
		s.WireGuard = map[string]string{}
	}
	known := map[string]bool{}
	for i, n := range f.Cluster.Nodes {
		known[n.Name] = true
		again := slices.Contains(rotate.Nodes, n.Name)
		keys := needsOf(f.Bases[f.base[i]].profile).keys
		if again && !keys {
			return s, nil, f.problem(document.Index("nodes", i), fmt.Sprintf("node %s has no key in the secrets: its profile has no backend wireguard with a list of peers", n.Name),
				"leave --rotate "+n.Name+" out; with a store, nodes make their keys themselves")
		}
		// A key that the file gives is on the node already.
		if !keys || s.WireGuard[n.Name] != "" && !again || n.PublicKey != "" && s.WireGuard[n.Name] == "" && !again {
			continue
		}
		if again && n.PublicKey != "" {
			return s, nil, f.problem(document.Index("nodes", i)+".publicKey", "the key of "+n.Name+" stands here", "remove publicKey; it then follows from the secrets")
		}
		key, err := newKey(random)
		if err != nil {
			return s, nil, err
		}
		what := "a WireGuard key for " + n.Name
		if s.WireGuard[n.Name] != "" {
			what = "a new WireGuard key for " + n.Name + ", in place of the old one"
		}
		s.WireGuard[n.Name] = key
		made = append(made, what)
	}
	for _, name := range rotate.Nodes {
		if !known[name] {
			return s, nil, f.unknown(name)
		}
	}
	more, err := f.shared(&s, rotate, random)
	return s, append(made, more...), err
}

// shared adds what all nodes have in common.
func (f *Fleet) shared(s *Secrets, rotate Rotation, random io.Reader) (made []string, err error) {
	var all needs
	for _, b := range f.Bases {
		n := needsOf(b.profile)
		all.wireguardPSK = all.wireguardPSK || n.wireguardPSK
		all.ipsecPSK = all.ipsecPSK || n.ipsecPSK
		all.token = all.token || n.token
	}
	switch {
	case rotate.PSK && !all.wireguardPSK && !all.ipsecPSK:
		return nil, f.problem("profile", fmt.Sprintf("no profile of cluster %s has a pre-shared key in the secrets", f.Cluster.Name),
			"leave --rotate-psk out; backend ipsec has such a key, and WireGuard with a pskFile")
	case rotate.Token && !all.token:
		return nil, f.problem("profile", fmt.Sprintf("no profile of cluster %s has a Kubernetes whose token is in the secrets", f.Cluster.Name),
			"leave --rotate-token out; nodes of K3s and RKE2 join with one")
	}
	for _, secret := range []struct {
		needed bool
		again  bool
		at     *string
		bytes  int
		write  func([]byte) string
		what   string
	}{
		{all.wireguardPSK, rotate.PSK, &s.WireGuardPSK, keyLength, base64.StdEncoding.EncodeToString, "the pre-shared key of WireGuard"},
		{all.ipsecPSK, rotate.PSK, &s.IPsecPSK, ipsecBytes, hex.EncodeToString, "the pre-shared key of IPsec"},
		{all.token, rotate.Token, &s.Token, tokenBytes, hex.EncodeToString, "the token that nodes join Kubernetes with"},
	} {
		if !secret.needed || *secret.at != "" && !secret.again {
			continue
		}
		if *secret.at != "" {
			secret.what += ", in place of the old one"
		}
		b, err := randomBytes(random, secret.bytes)
		if err != nil {
			return made, err
		}
		*secret.at = secret.write(b)
		made = append(made, secret.what)
	}
	return made, nil
}

// unknown says that the cluster has no node of a name.
func (f *Fleet) unknown(name string) error {
	var names []string
	for _, n := range f.Cluster.Nodes {
		names = append(names, n.Name)
	}
	return f.problem("nodes", fmt.Sprintf("there is no node %q", name), document.DidYouMean(name, names))
}

// Find is the place of a node in the cluster file.
func (f *Fleet) Find(name string) (int, error) {
	for i, n := range f.Cluster.Nodes {
		if n.Name == name {
			return i, nil
		}
	}
	return 0, f.unknown(name)
}

// keysFix is the way out of missing secrets.
func (f *Fleet) keysFix() string { return "run: weft cluster keys " + f.file.File() }

// publish puts the public keys of the nodes into c.
func (f *Fleet) publish(c *cluster.Cluster, s Secrets) error {
	var missing []string
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if !needsOf(f.Bases[f.base[i]].profile).keys {
			continue
		}
		private := s.WireGuard[n.Name]
		if private == "" {
			if n.PublicKey == "" {
				missing = append(missing, n.Name)
			}
			continue
		}
		public, err := publicKey(private)
		if err != nil {
			return fmt.Errorf("WireGuard key of %s: %w", n.Name, err)
		}
		if n.PublicKey != "" && n.PublicKey != public {
			return f.problem(document.Index("nodes", i)+".publicKey", fmt.Sprintf("this is not the key of %s in %s", n.Name, f.SecretsFile()), "remove publicKey; it follows from the secrets")
		}
		n.PublicKey = public
	}
	if len(missing) > 0 {
		return f.problem("nodes", fmt.Sprintf("%s has no WireGuard key for %s", f.SecretsFile(), strings.Join(missing, ", ")), f.keysFix())
	}
	return nil
}

// endow puts the secrets of node i into its node file.
func (f *Fleet) endow(node *profiles.Node, p profiles.Profile, s Secrets, i int) error {
	need := needsOf(p)
	if need.keys {
		node.WireGuardKey = s.WireGuard[node.Hostname]
	}
	missing := func(what string) error {
		return f.problem(document.Index("nodes", i), fmt.Sprintf("%s has %s for %s", f.SecretsFile(), what, node.Hostname), f.keysFix())
	}
	switch {
	case need.wireguardPSK && s.WireGuardPSK == "":
		return missing("no wireguardPSK")
	case need.ipsecPSK && s.IPsecPSK == "":
		return missing("no ipsecPSK")
	case need.wireguardPSK:
		node.PSK = s.WireGuardPSK
	case need.ipsecPSK:
		node.PSK = s.IPsecPSK
	}
	if need.token && node.Kubernetes.Role != profiles.RoleNone {
		// A single server makes its own token.
		if s.Token == "" && len(f.Cluster.Nodes) > 1 {
			return missing("no token")
		}
		node.Kubernetes.Token = s.Token
	}
	return nil
}

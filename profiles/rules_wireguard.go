package profiles

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"weft/document"
)

// wireguardModes are the names of [Backend.Mode].
var wireguardModes = []string{ModeSeparate, ModeAuto, ModeIPv4, ModeIPv6}

const (
	// minRotate is the least age of a key that is replaced: while one is, every
	// node has a second device, and a peer that is down is waited for up to ten
	// minutes (netd/rotate, Patience).
	minRotate = time.Hour
	// wireguardKeyBytes is the length of a key (WireGuard paper, section 5.4.1:
	// Curve25519 points; pre-shared keys have the same).
	wireguardKeyBytes = 32
)

// wireguardRules are what a network whose nodes encrypt with WireGuard must
// keep.
var wireguardRules = []document.Rule[Network]{
	{ID: "N70", Source: "flannel pkg/backend/wireguard: separate, auto, ipv4, ipv6", Check: checkWireGuardMode},
	{ID: "N71", Source: "RFC 768; a UDP port is one socket's", Check: checkWireGuardPorts},
	{ID: "N72", Source: "netd/rotate: peers learn of a new key from the store", Check: checkRotateEvery},
	{ID: "N73", Source: "wg(8), PersistentKeepalive: 1 to 65535 seconds", Check: func(n Network, d *document.Document) document.Problems {
		if n.Backend.Canonical() != BackendWireGuard || n.Backend.Keepalive == 0 {
			return nil
		}
		return inRange(d, "network.backend.keepalive", n.Backend.Keepalive, 1, 65535, "seconds; 0 is never")
	}},
	{ID: "N74", Source: "a daemon runs in no folder of its own", Check: checkWireGuardPSK},
}

func checkWireGuardMode(n Network, d *document.Document) document.Problems {
	b := n.Backend
	if b.Canonical() != BackendWireGuard || b.Mode == "" || slices.Contains(wireguardModes, b.Mode) {
		return nil
	}
	return document.Problems{d.Problem("network.backend.mode", fmt.Sprintf("there is no mode %q", b.Mode)).
		WithFix(document.DidYouMean(b.Mode, wireguardModes))}
}

// checkWireGuardPorts wants ports that the devices can all have at once: one
// each, or one for both families, and above or below them two free ones for the
// second devices while a key is replaced.
func checkWireGuardPorts(n Network, d *document.Document) document.Problems {
	b := n.Backend
	if b.Canonical() != BackendWireGuard {
		return nil
	}
	found := inRange(d, "network.backend.listenPort", b.ListenPort, 1, 65535, "")
	found = append(found, inRange(d, "network.backend.listenPortV6", b.ListenPortV6, 1, 65535, "")...)
	if len(found) > 0 {
		return found
	}
	separate := b.Mode == "" || b.Mode == ModeSeparate
	if b.ListenPort == 0 {
		b.ListenPort = DefaultListenPort
	}
	if b.ListenPortV6 == 0 {
		b.ListenPortV6 = DefaultListenPortV6
	}
	at := "network.backend.listenPortV6"
	if !d.Has(at) {
		at = "network.backend.listenPort"
	}
	low, high := min(b.ListenPort, b.ListenPortV6), max(b.ListenPort, b.ListenPortV6)
	switch {
	case separate && b.ListenPort == b.ListenPortV6:
		return document.Problems{d.Problem(at, fmt.Sprintf("both devices would listen on UDP port %d", b.ListenPort)).
			WithNote("mode separate has one device for each family").
			WithFix("give listenPort and listenPortV6 two ports, or use mode auto, ipv4 or ipv6")}
	case high > 65533 && low < 3:
		return document.Problems{d.Problem(at, fmt.Sprintf("no ports are left above %d or below %d for the second devices", high, low)).
			WithNote("while a key is replaced, each device has a second one beside it").
			WithFix("take ports below 65534")}
	}
	return nil
}

// checkRotateEvery refuses to replace keys where nobody would hear of it: with
// a list in a file every peer would go on with the old key.
func checkRotateEvery(n Network, d *document.Document) document.Problems {
	const at = "network.backend.rotateEvery"
	every := n.Backend.RotateEvery
	switch {
	case every == 0:
		return nil
	case n.Backend.Canonical() != BackendWireGuard:
		return document.Problems{d.Problem(at, fmt.Sprintf("backend %s has no keys to replace", n.Backend.Type)).
			WithFix("remove it, or use backend wireguard")}
	case n.Store.Type == "" || n.Store.Type == StoreStatic:
		return document.Problems{d.Problem(at, "a static store cannot tell the peers of a new key").
			WithNote("they have the keys that their lists of peers say").
			WithFix("remove it and replace keys by hand, or use store etcd or kubernetes")}
	case every < minRotate:
		return document.Problems{d.Problem(at, fmt.Sprintf("a key must live 1h or longer, not %v", every)).
			WithNote("a peer that is down is waited for up to ten minutes").
			WithFix("write such as rotateEvery: 720h")}
	}
	return nil
}

func checkWireGuardPSK(n Network, d *document.Document) document.Problems {
	f := n.Backend.PSKFile
	if n.Backend.Canonical() != BackendWireGuard || f == "" || path.IsAbs(f) && path.Clean(f) == f && f != "/" {
		return nil
	}
	return document.Problems{d.Problem("network.backend.pskFile", fmt.Sprintf("%q is no absolute path of a file", f)).
		WithFix("leave it out, or write such as " + DefaultPSKFile)}
}

// checkNodeKey wants a private key that a person wrote into a node file to be
// one. What is wrong with it is said without showing it.
func checkNodeKey(n Node, d *document.Document) document.Problems {
	if n.WireGuardKey == "" && !d.Has("wireguardKey") {
		return nil
	}
	wrong := wireguardKeyFault(n.WireGuardKey)
	if wrong == "" {
		return nil
	}
	p := d.Problem("wireguardKey", "the private key "+wrong).WithNote("the line is not shown: it may hold a secret").
		WithFix("write what wg genkey prints, or leave it out: the node makes its own")
	p.Source = ""
	return document.Problems{p}
}

// checkPeerKeys wants public keys that are keys, each of one peer.
func checkPeerKeys(l peerList, d *document.Document) document.Problems {
	found := eachPeer(l, func(at string, p Peer) document.Problems {
		at += ".publicKey"
		if p.PublicKey == "" && !d.Has(at) {
			return withoutKey(l, d, at, p)
		}
		wrong := wireguardKeyFault(p.PublicKey)
		if wrong == "" {
			return nil
		}
		return document.Problems{d.Problem(at, "the public key "+wrong).
			WithFix("write what wg pubkey prints on the peer; netd's status shows it too")}
	})
	return append(found, uniqueOf(l, d, "publicKey", func(p Peer) []string {
		if p.PublicKey == "" {
			return nil
		}
		return []string{strings.TrimSpace(p.PublicKey)}
	}, "give each node its own: packets for one of them would go to the other")...)
}

// withoutKey warns of a peer whose key nobody will tell: netd leaves it out and
// works with the others.
func withoutKey(l peerList, d *document.Document, at string, p Peer) document.Problems {
	n := l.network
	if n == nil || n.Backend.Canonical() != BackendWireGuard || n.Store.Type != "" && n.Store.Type != StoreStatic {
		return nil
	}
	return document.Problems{d.Problem(at, fmt.Sprintf("peer %s has no public key, and backend %s cannot reach it", p.Name, n.Backend.Type)).
		WithLevel(document.Warning).WithFix("add publicKey: and what wg pubkey prints on the peer; netd's status shows it too")}
}

// wireguardKeyFault says what is wrong with a key, and nothing of the key; ""
// is a sound one.
func wireguardKeyFault(text string) string {
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	switch {
	case err != nil:
		return "is not in base64"
	case len(key) != wireguardKeyBytes:
		return fmt.Sprintf("is of %d bytes, not %d", len(key), wireguardKeyBytes)
	case !slices.ContainsFunc(key, func(b byte) bool { return b != 0 }):
		return "is all zeros"
	}
	return ""
}

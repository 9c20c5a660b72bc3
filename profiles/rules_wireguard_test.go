package profiles

import (
	"strings"
	"testing"
)

const (
	// keyOne and keyTwo are keys in form; what they are of does not matter.
	keyOne = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
	keyTwo = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
	// backendLine is what the cases replace in base.
	backendLine = "  backend: {type: vxlan, vni: 1, port: 8472, mtu: 1400}"
	// etcdStore makes a store in which nodes publish.
	etcdStore = "\n  store: {type: etcd, etcd: {endpoints: [\"https://192.0.2.1:2379\"]}}"
)

// encrypted is the backend line with more settings of wireguard.
func encrypted(more string) string { return "  backend: {type: wireguard" + more + "}" }

// wireguardCases are of profiles.
var wireguardCases = []ruleCase{
	{"N70", "a misspelt mode", backendLine, encrypted(", mode: separated"), encrypted(", mode: separate")},
	{"N70", "a mode in capitals", backendLine, encrypted(", mode: IPv4"), encrypted(", mode: ipv4")},
	{"N71", "one port for two devices", backendLine, encrypted(", listenPort: 51821"), encrypted(", listenPort: 51822")},
	{"N71", "the same port twice", backendLine, encrypted(", listenPort: 7000, listenPortV6: 7000"), encrypted(", mode: auto, listenPort: 7000, listenPortV6: 7000")},
	{"N71", "a port beyond the last", backendLine, encrypted(", listenPort: 65536"), encrypted(", listenPort: 65535")},
	{"N71", "no room for the second devices", backendLine, encrypted(", listenPort: 2, listenPortV6: 65534"), encrypted(", listenPort: 3, listenPortV6: 65534")},
	{"N72", "keys replaced with a list in a file", backendLine, encrypted(", rotateEvery: 720h"), encrypted(", rotateEvery: 720h") + etcdStore},
	{"N72", "keys replaced all the time", backendLine, encrypted(", rotateEvery: 59m59s") + etcdStore, encrypted(", rotateEvery: 1h") + etcdStore},
	{"N72", "a negative age", backendLine, encrypted(", rotateEvery: -1h") + etcdStore, encrypted(", rotateEvery: 0s") + etcdStore},
	{"N72", "keys of vxlan", backendLine, "  backend: {type: vxlan, rotateEvery: 720h}" + etcdStore, encrypted(", rotateEvery: 720h") + etcdStore},
	{"N73", "a keepalive of a day", backendLine, encrypted(", keepalive: 86400"), encrypted(", keepalive: 65535")},
	{"N73", "a negative keepalive", backendLine, encrypted(", keepalive: -1"), encrypted(", keepalive: 0")},
	{"N74", "a relative key file", backendLine, encrypted(", pskFile: psk"), encrypted(", pskFile: /data/psk")},
	{"N75", "a public key cut short", "mac: 02:00:00:00:00:01", "publicKey: " + keyOne[:40], "publicKey: " + keyOne},
	{"N75", "a public key of 33 bytes", "mac: 02:00:00:00:00:01", "publicKey: AQEB" + keyOne[:39] + "B", "publicKey: " + keyOne},
	{"N75", "a public key that is a name", "mac: 02:00:00:00:00:01", "publicKey: node-1", "publicKey: " + keyTwo},
	{"N75", "no public key", "mac: 02:00:00:00:00:01", `publicKey: ""`, "publicKey: " + keyTwo},
	{"N75", "a peer whose key nobody tells", backendLine, encrypted(""), encrypted("") + etcdStore},
	{"N75", "one public key twice", "mac: 02:00:00:00:00:01\n    - name: node-2", "publicKey: " + keyOne + "\n    - name: node-2\n      publicKey: " + keyOne,
		"publicKey: " + keyOne + "\n    - name: node-2\n      publicKey: " + keyTwo},
}

// wireguardNodeCases are of node files.
var wireguardNodeCases = []ruleCase{
	{"N75", "a peer's public key in hex", "mac: 02:00:00:00:00:02", "publicKey: " + strings.Repeat("01", 32), "publicKey: " + keyOne},
	{"N76", "a private key cut short", "hostname: node-1", "wireguardKey: " + keyOne[:43], "wireguardKey: " + keyOne},
	{"N76", "a private key of zeros", "hostname: node-1", "wireguardKey: " + strings.Repeat("A", 43) + "=", "wireguardKey: " + keyOne},
	{"N76", "no private key", "hostname: node-1", `wireguardKey: ""`, "hostname: node-1"},
}

func TestWireGuardRules(t *testing.T) { tryCases(t, base, wireguardCases, problemsOf(Read)) }

func TestWireGuardRulesOfNodeFiles(t *testing.T) {
	tryCases(t, baseNode, wireguardNodeCases, problemsOf(ReadNode))
}

func TestProblemOfAPrivateKeyShowsNothingOfIt(t *testing.T) {
	_, _, problems := ReadNode("node.yaml", []byte("weft: node/v1\nwireguardKey: "+keyTwo[:43]+"\n"))
	var text strings.Builder
	if err := problems.Write(&text, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), keyTwo[:8]) || !strings.HasPrefix(text.String(), "node.yaml:2:15: the private key is not in base64") {
		t.Errorf("printed is:\n%s", &text)
	}
}

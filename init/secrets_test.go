package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/profiles"
)

const testKey = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="

func TestWireGuardKeyLeavesTheNodeFile(t *testing.T) {
	cases := []struct{ name, text string }{
		{"in the middle", "weft: node/v1\nwireguardKey: " + testKey + "\nhostname: one\n"},
		{"in quotes", "weft: node/v1\nhostname: one\nwireguardKey: \"" + testKey + "\"\n"},
		{"without a line feed", "weft: node/v1\nhostname: one\nwireguardKey: " + testKey},
		{"with Windows line ends", "weft: node/v1\r\nwireguardKey: " + testKey + "\r\nhostname: one\r\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := eraseSecret(path); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), testKey[:8]) || len(data) != len(c.text) {
				t.Errorf("the file is %q", data)
			}
			conf, _, problems := profiles.ReadNode("node.yaml", data)
			if err := problems.Errors(); err != nil || conf.Hostname != "one" || conf.WireGuardKey != "" {
				t.Errorf("it reads as %+v, %v", conf, err)
			}
		})
	}
}

func TestPreSharedKeyLeavesTheNodeFileToo(t *testing.T) {
	erased, err := withoutSecret([]byte("weft: node/v1\nwireguardKey: " + testKey + "\npsk: 0123456789\nhostname: one\n"))
	if err != nil || strings.Contains(string(erased), "0123") || !strings.Contains(string(erased), "hostname: one") {
		t.Errorf("the file is %q, %v", erased, err)
	}
}

func TestWireGuardKeyThatCannotBeErasedIsTold(t *testing.T) {
	if _, err := withoutSecret([]byte("{weft: node/v1, wireguardKey: " + testKey + "}\n")); err == nil {
		t.Error("a key in flow style was called erased")
	}
}

func TestTokenLeavesTheNodeFile(t *testing.T) {
	for _, text := range []string{
		"weft: node/v1\nkubernetes:\n  role: agent\n  token: K10secret\n  join: https://a:6443\nhostname: one\n",
		"weft: node/v1\nkubernetes:\n  token: K10secret\nhostname: one\n",
	} {
		erased, err := withoutSecret([]byte(text))
		if err != nil || strings.Contains(string(erased), "secret") || len(erased) != len(text) {
			t.Errorf("the file is %q, %v", erased, err)
		}
	}
	if _, err := withoutSecret([]byte("weft: node/v1\nkubernetes: {token: K10secret}\n")); err == nil {
		t.Error("a token in flow style was called erased")
	}
}

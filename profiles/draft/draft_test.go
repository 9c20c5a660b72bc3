package draft

import (
	"errors"
	"strings"
	"testing"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
)

func TestTextHasCommentsAndReadsBack(t *testing.T) {
	p := profiles.Profile{Weft: profiles.Version, Name: "p", Kubernetes: profiles.Kubernetes{
		Distribution: profiles.K3s,
		Server: map[string]any{
			"cluster-domain": "yes", "tls-san": []any{"fd00::1", "0123"}, "etcd-snapshot-retention": 5, "etcd-expose-metrics": true,
			"token-file": "",
		},
	}}
	text, err := Text(p, Comments{
		Head:   "Two\nlines",
		Above:  map[string]string{"kubernetes": "what runs", "kubernetes.server": "servers"},
		Beside: map[string]string{"name": "a\nname\x1b", "kubernetes.server.tls-san": "names"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Two\n# lines\n\nweft: profile/v1\nname: p # a name \n", "\n\n# what runs\nkubernetes:\n", "  # servers\n  server:\n", "tls-san: # names\n", `cluster-domain: "yes"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "description") || strings.Contains(string(text), "network") {
		t.Errorf("what is empty is there:\n%s", text)
	}
	var back profiles.Profile
	if _, problems := document.Decode("p.yaml", text, &back); problems.Errors() != nil {
		t.Fatal(problems)
	}
	again, err := Text(back, Comments{})
	if plain, _ := Text(p, Comments{}); err != nil || string(plain) != string(again) {
		t.Errorf("it reads back as\n%s", again)
	}
}

func TestEqualWishesGiveEqualBytes(t *testing.T) {
	w := Wish{Families: DualStack, Nodes: 3, Distribution: profiles.K3s, Random: [21]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}.Filled()
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	p1, c1, _ := w.Texts()
	p2, c2, _ := w.Texts()
	if string(p1) != string(p2) || string(c1) != string(c2) {
		t.Error("they differ")
	}
	for _, want := range []string{"fd01:203:405:4200::/56", "fd01:203:405:4300::/112"} {
		if !strings.Contains(string(p1), want) {
			t.Errorf("no %s in\n%s", want, p1)
		}
	}
	// RFC 9562, section 5.4: version 4, variant 10.
	if id := w.id(); len(id) != 36 || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) {
		t.Errorf("id %s", id)
	}
	c, _, problems := cluster.Read("c.yaml", c1)
	if problems.Errors() != nil || len(c.Nodes) != 3 || c.Nodes[2].Addresses[1].String() != "fd01:203:405:1::13" {
		t.Errorf("%v %+v", problems, c.Nodes)
	}
}

func TestWishesThatCannotBeNameTheirFlag(t *testing.T) {
	for flag, w := range map[string]Wish{
		"name": {Name: "a_b"}, "distribution": {Distribution: "k0s"}, "backend": {Backend: "ipip"}, "families": {Families: "v5"},
		"nodes": {Nodes: cluster.MaxNodes + 1}, "servers": {Servers: 2}, "version": {Version: "x"},
	} {
		var wrong *WishError
		if w.Distribution == "k0s" {
			w.Backend = "vxlan"
		}
		if err := w.Filled().Check(); !errors.As(err, &wrong) || wrong.Flag != flag || wrong.Fix == "" {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if w := (Wish{Name: strings.Repeat("a", 40)}).Filled(); w.Check() != nil {
		t.Error(w.Check())
	}
}

package hostname

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/profiles"
)

func TestTheFirstSoundNameWins(t *testing.T) {
	for name, c := range map[string]struct {
		list    []Candidate
		want    Candidate
		refused int
		ok      bool
	}{
		"node file over all": {
			[]Candidate{{"n1", NodeFile}, {"old", Kept}, {"d", DHCP}}, Candidate{"n1", NodeFile}, 0, true,
		},
		"kept when the node file is silent": {
			[]Candidate{{"", NodeFile}, {"old", Kept}, {"d", DHCP}}, Candidate{"old", Kept}, 0, true,
		},
		"a name everyone has is none": {
			[]Candidate{{"", NodeFile}, {"", Kept}, {"raspberrypi", DHCP}, {"node-42", Serial}}, Candidate{"node-42", Serial}, 1, true,
		},
		"localhost and (none) are none": {
			[]Candidate{{"localhost.localdomain", DHCP}, {"(none)", DHCP}, {"n", MAC}}, Candidate{"n", MAC}, 2, true,
		},
		"nothing sound": {
			[]Candidate{{"a_b", NodeFile}, {"-x", DHCP}}, Candidate{}, 2, false,
		},
		"nothing at all": {nil, Candidate{}, 0, false},
	} {
		got, refused, ok := Choose(c.list, profiles.SoundHostname)
		if got != c.want || len(refused) != c.refused || ok != c.ok {
			t.Errorf("%s: %+v, refused %v, %v", name, got, refused, ok)
		}
	}
}

func TestNamesFromSerialNumbers(t *testing.T) {
	for serial, want := range map[string]string{
		"10000000abcdef12":        "node-10000000abcdef12",
		"VMware-56 4d 0e b8":      "node-vmware-56-4d-0e-b8",
		"CZC1234XYZ\n":            "node-czc1234xyz",
		"/7ABC/CN00/":             "node-7abc-cn00",
		"To be filled by O.E.M.":  "",
		"Default string":          "",
		"System Serial Number":    "",
		"0000000000":              "",
		"00:00:00-00":             "",
		"XXXXXXXX":                "",
		"None":                    "",
		"":                        "",
		"12":                      "",
		"0123456789":              "",
		"Not Specified":           "",
		strings.Repeat("ab1", 50): strings.TrimLeft(strings.Repeat("ab1", 21), "-"),
	} {
		if got := FromSerial("node", serial); got != want {
			t.Errorf("FromSerial(%q) = %q, want %q", serial, got, want)
		}
	}
}

func TestEveryDerivedNameIsSound(t *testing.T) {
	for _, serial := range []string{"10000000abcdef12", strings.Repeat("x-y.", 40), "--a--1--", "ÄÖÜ-77", "ab\x00cd"} {
		if name := FromSerial("node", serial); name != "" && profiles.SoundHostname(name) != nil {
			t.Errorf("%q gives %q: %v", serial, name, profiles.SoundHostname(name))
		}
	}
	mac, _ := net.ParseMAC("52:54:00:12:34:56")
	for _, name := range []string{FromMAC("node", mac), FromUUID("node", "5ba0d6b6-63be-4c66-a9de-cd4549fabc55")} {
		if err := profiles.SoundHostname(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNamesFromHardwareAddresses(t *testing.T) {
	for mac, want := range map[string]string{
		"52:54:00:12:34:56":       "edge-525400123456",
		"00:00:00:00:00:00":       "",
		"01:00:5e:00:00:01":       "",
		"00:11:22:33:44:55:66:77": "",
	} {
		hw, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		if got := FromMAC("edge", hw); got != want {
			t.Errorf("%s gives %q, want %q", mac, got, want)
		}
	}
	if got := FromMAC("edge", nil); got != "" {
		t.Errorf("no address gives %q", got)
	}
}

func TestSerialNumberIsReadWhereThereIsOne(t *testing.T) {
	root := t.TempDir()
	if got := ReadSerial(root); got != "" {
		t.Errorf("without any: %q", got)
	}
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sys/class/dmi/id/product_serial", "Default string\n")
	write("sys/class/dmi/id/board_serial", "BRD12345\n")
	if got := ReadSerial(root); got != "BRD12345" {
		t.Errorf("PC: %q", got)
	}
	write("proc/device-tree/serial-number", "10000000abcdef12\x00")
	if got := ReadSerial(root); got != "10000000abcdef12" {
		t.Errorf("board: %q", got)
	}
}

func TestHostsAlwaysHasLocalhostAndTheNodeItself(t *testing.T) {
	for name, own := range map[string]string{"n1": "127.0.1.1 n1\n", "n1.example.org": "127.0.1.1 n1.example.org n1\n"} {
		got := Hosts(name)
		for _, want := range []string{"127.0.0.1 localhost\n", "::1 localhost ", own} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in %q", name, want, got)
			}
		}
	}
}

func FuzzFromSerial(f *testing.F) {
	f.Add("node", "ABC-123")
	f.Add("", "----")
	f.Fuzz(func(t *testing.T, prefix, serial string) {
		name := FromSerial(prefix, serial)
		if len(name) > maxLabel || strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") {
			t.Errorf("%q %q gave %q", prefix, serial, name)
		}
	})
}

func TestAMachineIsKnownByItsUUIDOrItsSerialNumber(t *testing.T) {
	for _, c := range []struct{ name, uuid, serial, want string }{
		{"the firmware's UUID", "4C4C4544-0042-3510-8054-C7C04F4E3333\n", "ABC1234", "4c4c4544-0042-3510-8054-c7c04f4e3333"},
		{"none was set", "00000000-0000-0000-0000-000000000000", "ABC1234", "ABC1234"},
		{"all ones", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "ABC1234", "ABC1234"},
		{"the vendor's example", "03000200-0400-0500-0006-000700080009", "ABC1234", "ABC1234"},
		{"no UUID at all", "Not Settable", "ABC1234", "ABC1234"},
		{"nothing", "", "To Be Filled By O.E.M.", ""},
		{"a serial number that moves the cursor", "", "AB\x1b[2JCD", "AB[2JCD"},
	} {
		root := t.TempDir()
		dir := filepath.Join(root, "sys/class/dmi/id")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"product_uuid": c.uuid, "product_serial": c.serial} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := ReadMachine(root); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

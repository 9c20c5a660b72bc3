package kmod

import "testing"

func TestConfigStates(t *testing.T) {
	c, err := parseConfig([]byte("#\n# Linux/x86 6.12 Kernel Configuration\n#\nCONFIG_A=y\nCONFIG_B=m\r\n# CONFIG_C is not set\n\nCONFIG_D=\"is not set\"\nCONFIG_9P_FS=m\nCONFIG_E=0x10"))
	if err != nil {
		t.Fatal(err)
	}
	for symbol, want := range map[string]string{
		"CONFIG_A":     "CONFIG_A=y",
		"CONFIG_B":     "CONFIG_B=m",
		"CONFIG_C":     "CONFIG_C is not set",
		"CONFIG_D":     `CONFIG_D="is not set"`,
		"CONFIG_E":     "CONFIG_E=0x10",
		"CONFIG_9P_FS": "CONFIG_9P_FS=m",
		"CONFIG_F":     "CONFIG_F is not in the configuration",
	} {
		if got := c.State(symbol); got != want {
			t.Errorf("%s: %q, want %q", symbol, got, want)
		}
	}
	if c.Value("CONFIG_C") != "n" || c.Value("CONFIG_F") != "n" || c.Value("CONFIG_B") != "m" {
		t.Error("values are not those of the text")
	}
}

func TestConfigRefusesWhatKconfigDoesNotWrite(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "CONFIG_A\n", "CONFIG_A=\n", "A=y\n", "CONFIG_A =y\n", " CONFIG_A=y\n"} {
		if _, err := parseConfig([]byte(text)); err == nil {
			t.Errorf("%q accepted", text)
		}
	}
}

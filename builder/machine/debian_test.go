package machine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/boards"
	"weft/builder"
	"weft/builder/buildtest"
	"weft/builder/kmod"
	"weft/builder/machine"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
)

// kernel opens the kernel of a plan: Debian's own, from the mirror and the
// cache that a build on this machine would use.
func kernel(t *testing.T, p plan.Plan) *kmod.Kernel {
	t.Helper()
	o := buildtest.Options(t, p, buildtest.CacheDir(t), t.TempDir())
	k, done, err := builder.OpenKernel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return k
}

// changed is the plan of a shipped board whose file is changed.
func changed(t *testing.T, board, from, to string) plan.Plan {
	t.Helper()
	text, err := document.ReadFile("../../boards/" + board + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s does not hold %q", board, from)
	}
	b, d, problems := boards.Read(board+".yaml", []byte(strings.Replace(string(text), from, to, 1)))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p, pd, _, err := profiles.Find("vxlan")
	if err != nil {
		t.Fatal(err)
	}
	return plan.New("test", b, d, p, pd)
}

// plugged are the modules of plugged-in disks.
const plugged = " sd_mod uas usb_storage"

// cases are what the models need of Debian's kernels, as far as it is sure:
// newer kernels may need more.
var cases = []struct{ tree, boot, modules string }{
	{"broadcom/bcm2837-rpi-3-b.dtb", "bcm2835 dwc2 phy_generic bcm2835_rng" + plugged, "smsc95xx bcm2835_thermal bcm2835_wdt sdhci_iproc raspberrypi_cpufreq"},
	{"broadcom/bcm2837-rpi-3-b-plus.dtb", "bcm2835 dwc2 phy_generic bcm2835_rng" + plugged, "lan78xx sdhci_iproc"},
	{"broadcom/bcm2837-rpi-3-a-plus.dtb", "bcm2835 dwc2 phy_generic bcm2835_rng" + plugged, ""},
	{"broadcom/bcm2837-rpi-zero-2-w.dtb", "bcm2835 dwc2 phy_generic bcm2835_rng" + plugged, ""},
	{"broadcom/bcm2711-rpi-4-b.dtb", "sdhci_iproc fixed gpio_regulator xhci_pci reset_raspberrypi iproc_rng200" + plugged, "genet mdio_bcm_unimac broadcom bcm2711_thermal bcm2835_wdt"},
	{"broadcom/bcm2711-rpi-400.dtb", "sdhci_iproc fixed gpio_regulator xhci_pci reset_raspberrypi iproc_rng200" + plugged, "genet mdio_bcm_unimac broadcom"},
	{"broadcom/bcm2711-rpi-cm4-io.dtb", "sdhci_iproc fixed gpio_regulator dwc2 nvme iproc_rng200" + plugged, "genet mdio_bcm_unimac broadcom"},
	{"broadcom/bcm2712-rpi-5-b.dtb", "sdhci_brcmstb irq_bcm2712_mip pinctrl_brcmstb_bcm2712 pinctrl_rp1 rp1_pci dwc3 xhci_plat_hcd fixed gpio_regulator nvme iproc_rng200" + plugged, "macb clk_rp1 broadcom reset_raspberrypi bcm2835_wdt gpio_keys"},
	{"broadcom/bcm2712-d-rpi-5-b.dtb", "sdhci_brcmstb irq_bcm2712_mip pinctrl_brcmstb_bcm2712 pinctrl_rp1 rp1_pci dwc3 xhci_plat_hcd fixed gpio_regulator nvme" + plugged, "macb clk_rp1 broadcom"},
}

// TestDebiansKernelsDriveEveryRaspberryPi looks at both layouts of Debian's
// kernel packages: that of 6.12 in trixie and that of 7.x in its backports.
func TestDebiansKernelsDriveEveryRaspberryPi(t *testing.T) {
	seen := map[string]bool{}
	for _, board := range []string{"rpi3", "rpi-zero2w", "rpi4", "rpi5", "rpi"} {
		t.Run(board, func(t *testing.T) {
			p := buildtest.Plan(t, board, "vxlan")
			k := kernel(t, p)
			list, problems, err := machine.Check(p, k, nil)
			if err != nil || len(problems) > 0 {
				t.Fatalf("kernel %s: %v\n%v", k.Release, err, problems)
			}
			for _, m := range list {
				seen[m.Tree] = true
				i := slices.IndexFunc(cases, func(c struct{ tree, boot, modules string }) bool { return c.tree == m.Tree })
				if i < 0 {
					t.Errorf("no case for %s", m.Tree)
					continue
				}
				for _, name := range strings.Fields(cases[i].boot) {
					if !slices.Contains(m.Boot, name) {
						t.Errorf("%s: storage needs %s, not only %q", m.Tree, name, m.Boot)
					}
				}
				for _, name := range strings.Fields(cases[i].modules) {
					if !slices.Contains(m.Modules, name) || slices.Contains(m.Boot, name) {
						t.Errorf("%s: %s is not what the root carries beyond the initramfs: %q", m.Tree, name, m.Modules)
					}
				}
				for _, name := range []string{"vc4", "v3d", "snd_soc_core", "hci_uart", "vchiq"} {
					if slices.Contains(m.Modules, name) {
						t.Errorf("%s: carries %s", m.Tree, name)
					}
				}
			}
			if _, err := k.Closure(slices.Concat(machine.Modules(list), p.Board.Boot.Load, p.Board.Boot.Drivers, p.Board.Drivers)...); err != nil {
				t.Errorf("the modules of %s: %v", board, err)
			}
		})
	}
	if len(seen) != len(cases) {
		t.Errorf("%d trees of %d were looked at", len(seen), len(cases))
	}
}

func TestTheRaspberryPi5IsRefusedOnTheKernelOfTrixie(t *testing.T) {
	p := changed(t, "rpi5", "  suite: trixie-backports\n", "")
	k := kernel(t, p)
	_, problems, err := machine.Check(p, k, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := problems.Error()
	for _, want := range []string{
		"nothing drives SD, Ethernet, USB and PCIe",
		"Raspberry Pi 5 on kernel 6.12.",
		"no driver for brcm,bcm2712-sdhci",
		"fix: use suite trixie-backports",
		"has no device tree broadcom/bcm2712-d-rpi-5-b.dtb",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the problems do not say %q:\n%s", want, text)
		}
	}
	at := slices.IndexFunc(problems, func(q document.Problem) bool { return strings.Contains(q.Message, "nothing drives") })
	if want := p.BoardProblem("kernel.package", ""); at < 0 || problems[at].Line != want.Line || problems[at].Column != want.Column {
		t.Errorf("not at the line of the kernel:\n%s", text)
	}
}

func TestATreeThatIsNoneIsAnErrorOfItsLine(t *testing.T) {
	p := changed(t, "rpi3", "broadcom/bcm2837-rpi-3-b.dtb]", "broadcom/bcm2837-rpi-9-z.dtb]")
	_, problems, err := machine.Check(p, kernel(t, p), nil)
	want := p.BoardProblem("models[0].deviceTrees[0]", "")
	if err != nil || len(problems) != 1 || problems[0].Line != want.Line || problems[0].Column != want.Column || !strings.Contains(problems.Error(), "has no device tree broadcom/bcm2837-rpi-9-z.dtb") {
		t.Errorf("%v\n%v", err, problems)
	}
}

// source writes a tree as source text by dtc, which warns of what it does
// not understand.
func source(t *testing.T, tree []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tree")
	if err := os.WriteFile(name, tree, 0o644); err != nil {
		t.Fatal(err)
	}
	return buildtest.Tool(t, "dtc", "-q", "-I", "dtb", "-O", "dts", name)
}

func TestOptionsAreInTheTreesThatTheImageCarries(t *testing.T) {
	p := changed(t, "rpi4", "raspberryPi:\n", "raspberryPi:\n  fan: {gpio: 14, temperature: 55}\n  pcie: {generation: 1}\n")
	k := kernel(t, p)
	list, problems, err := machine.Check(p, k, nil)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	for _, m := range list {
		text := source(t, m.Data)
		for _, want := range []string{`compatible = "gpio-fan"`, "gpio-fan,speed-map = <0x00 0x00 0x1388 0x01>", "temperature = <0xd6d8>", "cooling-device = <"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %s", m.Tree, want)
			}
		}
		if !slices.Contains(m.Modules, "gpio_fan") || slices.Contains(m.Boot, "gpio_fan") {
			t.Errorf("%s: the fan is driven by %q", m.Tree, m.Modules)
		}
		// Only the Compute Module has a socket for what is not soldered on.
		if strings.Contains(text, "max-link-speed = <0x01>") != strings.Contains(m.Tree, "cm4") {
			t.Errorf("%s has the wrong speed of PCI Express", m.Tree)
		}
	}
	plain, err := k.DeviceTree("broadcom/bcm2711-rpi-4-b.dtb")
	if err != nil {
		t.Fatal(err)
	}
	// Line by line, nothing of the kernel's tree is gone.
	now := source(t, list[0].Data)
	for line := range strings.Lines(source(t, plain)) {
		if !strings.Contains(now, line) {
			t.Errorf("the tree lost %q", line)
		}
	}
}

func TestOptionsThatNoTreeCanTakeAreRefused(t *testing.T) {
	p := changed(t, "rpi3", "raspberryPi:\n", "raspberryPi:\n  pcie: {generation: 2}\n")
	if _, problems, err := machine.Check(p, kernel(t, p), nil); err != nil || !strings.Contains(problems.Error(), "no tree of the board has a PCI Express socket") {
		t.Errorf("%v\n%v", err, problems)
	}
	p = changed(t, "rpi5", "raspberryPi:\n", "raspberryPi:\n  fan: {gpio: 14, temperature: 55}\n")
	if _, problems, err := machine.Check(p, kernel(t, p), nil); err != nil || !strings.Contains(problems.Error(), "no tree of the board has a temperature to switch a fan by") {
		t.Errorf("%v\n%v", err, problems)
	}
}

func TestWhatAnOverlayBringsIsDriven(t *testing.T) {
	p := changed(t, "rpi4", "raspberryPi:\n", "raspberryPi:\n  overlays: [{name: sensor, file: sensor.dtbo}]\n")
	overlay := filepath.Join(t.TempDir(), "sensor.dts")
	text := `/dts-v1/; /plugin/; &{/} { onewire { compatible = "w1-gpio"; }; };`
	if err := os.WriteFile(overlay, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	compiled := buildtest.Tool(t, "dtc", "-q", "-@", "-I", "dts", "-O", "dtb", overlay)
	k := kernel(t, p)
	list, problems, err := machine.Check(p, k, map[string][]byte{"sensor": []byte(compiled)})
	if err != nil || len(problems) > 0 || !slices.Contains(list[0].Modules, "w1_gpio") {
		t.Errorf("%v\n%v\n%q", err, problems, machine.Modules(list))
	}
	if _, problems, err = machine.Check(p, k, map[string][]byte{"sensor": []byte("text")}); err != nil || !strings.Contains(problems.Error(), "overlay sensor: device tree of 4 bytes") {
		t.Errorf("%v\n%v", err, problems)
	}
}

// Every module that the board arm64-uefi names is there.
func TestTheBoardForUEFINamesModulesThatThereAre(t *testing.T) {
	p := buildtest.Plan(t, "arm64-uefi", "vxlan")
	k := kernel(t, p)
	_, err := k.Closure(slices.Concat(p.Board.Boot.Load, p.Board.Boot.Drivers, p.Board.Drivers)...)
	if err != nil {
		t.Error(err)
	}
	if list, problems, err := machine.Check(p, k, nil); list != nil || problems != nil || err != nil {
		t.Errorf("a board without models has %v, %v, %v", list, problems, err)
	}
}

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"weft/builder/contract"
	"weft/builder/machine"
	"weft/profiles"
)

func TestContractIsATableOf80Columns(t *testing.T) {
	o := weft(t, "contract", "vxlan", "--board", "x86-64-cloud")
	o.want(t, exitOK, "NEED", "vxlan                   module   yes  module\n", "packets between nodes travel in VXLAN", "net.ipv4.ip_forward", "needs are met")
	narrow(t, o.out)
	o = weft(t, "contract", "rke2-cilium")
	o.want(t, exitInput, "CONFIG_DEBUG_INFO_BTF", "/usr/local/bin/rke2", "NO   no payload", "fix: download rke2", "1 of ")
	narrow(t, o.out)
	if o.err != "" {
		t.Errorf("on the error output: %s", o.err)
	}
	rows := parse[[]contract.Row](t, weft(t, "contract", "--profile", "k3s-flannel-wireguard", "--json"))
	for _, r := range rows {
		if r.Need == "wireguard" && (!r.Met || r.Kind != contract.Module || r.Path != "kubernetes.server.flannel-backend") {
			t.Errorf("got %+v", r)
		}
	}
	weft(t, "contract", "a", "b").want(t, exitInput, "weft contract takes one profile, not 2")
	weft(t, "contract", "k3s-canla").want(t, exitInput, "did you mean k3s-canal?")
}

func TestContractShowsTheDevicesOfDeviceTrees(t *testing.T) {
	o := weft(t, "contract", "--board", "rpi5")
	o.want(t, exitOK, "ethernet                device   yes  ", "macb, rp1_pci", "needs are met", "Nothing drives these of broadcom/bcm2712-rpi-5-b.dtb", "are not looked at")
	narrow(t, o.out)
	o = weft(t, "contract", "--board", "rpi4", "--devices")
	o.want(t, exitOK, "Raspberry Pi 400, broadcom/bcm2711-rpi-400.dtb\n", "mmc@7e340000                 module    sd             sdhci_iproc\n")
	narrow(t, o.out)
	for _, m := range parse[[]machine.Machine](t, weft(t, "contract", "--board", "rpi4", "--devices", "--json")) {
		if m.Model == "" || len(m.Findings) == 0 || !slices.Contains(m.Boot, "gpio_regulator") {
			t.Errorf("got %+v", m)
		}
	}
	weft(t, "contract", "--devices").want(t, exitOK, "the board's machines have no device trees\n")

	text, err := os.ReadFile("../../../boards/rpi5.yaml")
	if err != nil {
		t.Fatal(err)
	}
	stable := write(t, t.TempDir(), "stable.yaml", strings.Replace(string(text), "  suite: trixie-backports\n", "", 1))
	o = weft(t, "contract", "--board", stable)
	o.want(t, exitInput, "sd                      device   NO   no driver for brcm,bcm2712-sdhci", "fix: use suite trixie-backports")
	narrow(t, o.out)
	if !strings.Contains(o.err, "nothing drives SD, Ethernet, USB and PCIe") {
		t.Errorf("on the error output:\n%s", o.err)
	}
	weft(t, "build", "--board", stable, "--out", t.TempDir()).want(t, exitInput, "nothing drives SD, Ethernet, USB and PCIe")
}

func TestProfilesAreListed(t *testing.T) {
	o := weft(t, "profiles")
	o.want(t, exitOK, "vxlan", "rke2-cilium-kube-proxy  RKE2 with Cilium in place of kube-proxy, IPv4\n")
	narrow(t, o.out)
	offers := parse[[]profiles.Offer](t, weft(t, "profiles", "--json"))
	if len(offers) != len(profiles.Names()) || offers[0].Name == "" || offers[0].Description == "" {
		t.Errorf("got %+v", offers)
	}
	o = weft(t, "__complete", "contract", "")
	o.want(t, exitOK, "k3s-ha\tK3s with several servers and embedded etcd, IPv4\n")
}

func TestPlanPrintsTheFilesOfANode(t *testing.T) {
	o := weft(t, "plan", "--profile", "rke2-canal-wireguard", "--files")
	o.want(t, exitOK, "== /etc/rancher/rke2/config.yaml 0600\n", "cluster-cidr:", "== /var/lib/rancher/rke2/server/manifests/weft-rke2-canal.yaml 0600\n", "backend: wireguard")
	agent := weft(t, "plan", "--profile", "rke2-canal-wireguard", "--files", "--role", "agent")
	agent.want(t, exitOK, "== /etc/rancher/rke2/config.yaml 0600\n")
	if strings.Contains(agent.out, "manifests") {
		t.Errorf("an agent applies manifests:\n%s", agent.out)
	}
	node := write(t, t.TempDir(), "node.yaml", "weft: node/v1\nhostname: web-1\naddresses: [192.168.1.11]\nkubernetes: {role: agent, join: \"https://k:9345\", token: secret}\n")
	o = weft(t, "plan", "--profile", "rke2-canal", "--files", "--node", node)
	o.want(t, exitOK, "node-name: web-1", "- 192.168.1.11", "token-file: /etc/rancher/token", "server: https://k:9345")
	if strings.Contains(o.out, "secret") {
		t.Errorf("the token is printed:\n%s", o.out)
	}
	files := parse[[]nodeFile](t, weft(t, "plan", "--profile", "k3s-netd", "--files", "--json"))
	if len(files) == 0 || files[0].Path == "" || files[0].Mode != "0600" {
		t.Errorf("got %+v", files)
	}
	weft(t, "plan", "--files").want(t, exitOK, "no files: profile vxlan has no Kubernetes")
	weft(t, "plan", "--files", "--role", "master").want(t, exitInput, `there is no role "master"`)
	weft(t, "plan", "--files", "--node", "none.yaml").want(t, exitInput, "none.yaml: no such file")
}

func TestWrapNeverLeavesTheWidth(t *testing.T) {
	for _, text := range []string{"", "a b c", strings.Repeat("x", 200), "a " + strings.Repeat("y", 100) + " b"} {
		for _, line := range wrap(text, 42) {
			if len(line) > 42 {
				t.Errorf("%q", line)
			}
		}
	}
}

func TestWhatIsNotMetIsNamedBelowTheTable(t *testing.T) {
	rows := []contract.Row{{Need: "vxlan", Met: true}, {Need: "k3s"}, {Need: "audio", Optional: true}, {Need: "wireguard", Met: true}}
	for want, rows := range map[string][]contract.Row{
		"\n1 of 4 needs is not met: k3s\n":                rows,
		"\n2 of 5 needs are not met: k3s, br_netfilter\n": append(rows, contract.Row{Need: "br_netfilter"}),
	} {
		var out strings.Builder
		if err := writeContract(&out, rows); err != nil || !strings.HasSuffix(out.String(), want) {
			t.Errorf("%v: want %q at the end of\n%s", err, want, out.String())
		}
	}
}

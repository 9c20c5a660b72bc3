package qemutests

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/event"
	"weft/qemu-tests/vm"
)

// A service stands in for a cloud's metadata service.
type service struct {
	smbios string // how the firmware tells the cloud
	// token is asked by PUT first, where the cloud wants it.
	token, ttl, show string
	header           [2]string
	path, body       string
	hostname         string
}

// services are what clouds answer, as their documentation and images record
// it, cut down to what names the node.
var services = map[string]service{
	"aws": {smbios: "type=1,manufacturer=Amazon EC2", token: "/latest/api/token", ttl: "X-aws-ec2-metadata-token-ttl-seconds",
		show: "X-aws-ec2-metadata-token", path: "/latest/meta-data/local-hostname",
		body: "ip-10-0-0-12.eu-west-1.compute.internal", hostname: "ip-10-0-0-12.eu-west-1.compute.internal"},
	"gce": {smbios: "type=1,product=Google Compute Engine", header: [2]string{"Metadata-Flavor", "Google"},
		path: "/computeMetadata/v1/instance/hostname", body: "worker-3.europe-west1-b.c.my-project.internal", hostname: "worker-3"},
	"azure": {smbios: "type=3,asset=7783-7084-3265-9085-8269-3286-77", header: [2]string{"Metadata", "true"},
		path: "/metadata/instance", body: `{"compute":{"osProfile":{"computerName":"worker-4"}}}`, hostname: "worker-4"},
	"openstack": {smbios: "type=1,product=OpenStack Nova", path: "/openstack/latest/meta_data.json",
		body: `{"uuid":"83679162","hostname":"worker-5.novalocal"}`, hostname: "worker-5"},
	"digitalocean": {smbios: "type=1,manufacturer=DigitalOcean", path: "/metadata/v1.json",
		body: `{"droplet_id":2756294,"hostname":"worker-6"}`, hostname: "worker-6"},
	"hetzner": {smbios: "type=1,manufacturer=Hetzner", path: "/hetzner/v1/metadata/hostname", body: "worker-7", hostname: "worker-7"},
	"linode": {smbios: "type=1,manufacturer=Akamai", token: "/v1/token", ttl: "Metadata-Token-Expiry-Seconds", show: "Metadata-Token",
		path: "/v1/instance", body: `{"label":"worker-8"}`, hostname: "worker-8"},
	"vultr": {smbios: "type=1,manufacturer=Vultr", header: [2]string{"Metadata-Token", "cloudinit"},
		path: "/v1.json", body: `{"hostname":"worker-9"}`, hostname: "worker-9"},
	"oracle": {smbios: "type=3,asset=OracleCloud.com", header: [2]string{"Authorization", "Bearer Oracle"},
		path: "/opc/v2/instance/", body: `{"hostname":"worker-10"}`, hostname: "worker-10"},
	"scaleway": {smbios: "type=1,manufacturer=Scaleway", path: "/conf", body: `{"hostname":"worker-11"}`, hostname: "worker-11"},
	// A cloud whose image is called as nobody should be: the node names itself.
	"hetzner with no name": {smbios: "type=1,manufacturer=Hetzner", path: "/hetzner/v1/metadata/hostname", body: "localhost"},
}

// serve answers as a service does, and nobody who asks otherwise.
func (s service) serve(w http.ResponseWriter, r *http.Request) {
	const token = "sesame"
	switch {
	case s.token != "" && r.Method == http.MethodPut && r.URL.Path == s.token && r.Header.Get(s.ttl) != "":
		fmt.Fprint(w, token)
	case s.token != "" && r.Header.Get(s.show) != token, s.header[0] != "" && r.Header.Get(s.header[0]) != s.header[1]:
		http.Error(w, "who asks?", http.StatusUnauthorized)
	case r.Method != http.MethodGet || r.URL.Path != s.path:
		http.NotFound(w, r)
	default:
		fmt.Fprint(w, s.body)
	}
}

// A node of a cloud asks the service that its firmware speaks of, and no
// other, for its name.
func TestTheCloudNamesTheNode(t *testing.T) {
	image := buildOf(t, vxlan)
	for name, s := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(s.serve))
			defer server.Close()
			cfg := machine(t, image, vm.BIOS)
			// QEMU's user-mode network leads an address of its own range to a
			// port of the host, so the range has to hold the services'.
			cfg.NICs = nil
			address := "169.254.169.254"
			if strings.HasPrefix(name, "scaleway") {
				address = "169.254.42.42"
			}
			pipe := pipeTo(t, server.Listener.Addr().(*net.TCPAddr).Port)
			cfg.SMBIOS = append(cfg.SMBIOS, s.smbios)
			cfg.ExtraArgs = append(cfg.ExtraArgs,
				"-netdev", fmt.Sprintf("user,id=cloud,net=168.0.0.0/7,host=168.0.2.2,dns=168.0.2.3,dhcpstart=168.0.2.15,guestfwd=tcp:%s:80-cmd:%s", address, pipe),
				"-device", "virtio-net-pci,netdev=cloud,romfile=")
			began := time.Now()
			n := start(t, cfg)
			id := n.identity()
			t.Logf("%s after %s: %s (%s)", name, time.Since(began).Round(time.Second), id.Hostname, id.HostnameSource)
			if s.hostname == "" {
				if id.HostnameSource == "metadata" || id.Hostname == s.body {
					t.Errorf("the node is called %s, from %s", id.Hostname, id.HostnameSource)
				}
				return
			}
			if id.Hostname != s.hostname || id.HostnameSource != "metadata" {
				t.Errorf("the node is called %s, from %s; want %s from the metadata", id.Hostname, id.HostnameSource, s.hostname)
			}
			for _, e := range n.Events() {
				if e.Kind == event.Problem {
					t.Errorf("a problem: %s", e.Text)
				}
			}
		})
	}
}

// pipeTo writes a program that connects its input and output to a port of the
// host: QEMU starts one for each connection of the guest, where it would make
// a single connection of its own for all.
func pipeTo(t *testing.T, port int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	script := fmt.Sprintf("#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/%d 4<&0\ncat <&4 >&3 &\ncat <&3\nkill $!\n", port)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

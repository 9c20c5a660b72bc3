package metadata

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// dmi makes a root whose firmware says the given strings.
func dmi(t *testing.T, strings map[string]string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "sys/class/dmi/id")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range strings {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestThePlatformFollowsFromTheFirmware(t *testing.T) {
	for want, strings := range map[string]map[string]string{
		"aws":          {"sys_vendor": "Amazon EC2"},
		"gce":          {"product_name": "Google Compute Engine", "sys_vendor": "Google"},
		"azure":        {"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
		"openstack":    {"product_name": "OpenStack Nova"},
		"digitalocean": {"sys_vendor": "DigitalOcean"},
		"hetzner":      {"sys_vendor": "Hetzner"},
		"linode":       {"sys_vendor": "Akamai"},
		"vultr":        {"sys_vendor": "Vultr"},
		"oracle":       {"chassis_asset_tag": "OracleCloud.com", "sys_vendor": "QEMU"},
		"scaleway":     {"sys_vendor": "Scaleway"},
		"":             {"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"},
	} {
		p, ok := Detect(dmi(t, strings))
		if p.Name != want || ok != (want != "") {
			t.Errorf("%v is taken for %q, want %q", strings, p.Name, want)
		}
	}
	if p, ok := Detect(dmi(t, map[string]string{"product_uuid": "ec2a1b2c-0000"})); !ok || p.Name != "aws" {
		t.Error("the old kind of Amazon's machines is not known")
	}
	if _, ok := Detect(t.TempDir()); ok {
		t.Error("a board without firmware strings is in a cloud")
	}
}

// answersOf is what the services answer, by platform: of recorded answers the
// parts that matter.
var answersOf = map[string]struct{ path, body, hostname, instance string }{
	"aws":          {"/latest/meta-data/local-hostname", "ip-10-0-0-12.eu-west-1.compute.internal", "ip-10-0-0-12.eu-west-1.compute.internal", ""},
	"gce":          {"/computeMetadata/v1/instance/hostname", "worker-3.europe-west1-b.c.my-project.internal", "worker-3", ""},
	"azure":        {"/metadata/instance", `{"compute":{"vmId":"02aab8a4","name":"vm1","osProfile":{"computerName":"Worker-4"}}}`, "worker-4", "02aab8a4"},
	"openstack":    {"/openstack/latest/meta_data.json", `{"uuid":"83679162","hostname":"worker-5.novalocal","name":"worker 5"}`, "worker-5", "83679162"},
	"digitalocean": {"/metadata/v1.json", `{"droplet_id":2756294,"hostname":"worker-6","interfaces":{}}`, "worker-6", "2756294"},
	"hetzner":      {"/hetzner/v1/metadata/hostname", "worker-7\n", "worker-7", ""},
	"linode":       {"/v1/instance", `{"id":123,"label":"worker-8","region":"eu"}`, "worker-8", "123"},
	"vultr":        {"/v1.json", `{"hostname":"worker-9","instanceid":"42","region":{}}`, "worker-9", "42"},
	"oracle":       {"/opc/v2/instance/", `{"hostname":"worker-10","id":"ocid1.instance","shape":"x"}`, "worker-10", "ocid1.instance"},
	"scaleway":     {"/conf", `{"id":"ab12","hostname":"worker-11"}`, "worker-11", "ab12"},
}

// client is a client whose every address is the server's.
func client(server *httptest.Server) Client {
	return Client{Zone: "eth0", Retry: 10 * time.Millisecond,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		}}
}

func TestEachServiceIsAskedAsItWantsToBe(t *testing.T) {
	for _, p := range Platforms() {
		t.Run(p.Name, func(t *testing.T) {
			want, ok := answersOf[p.Name]
			if !ok {
				t.Fatal("no answer is recorded")
			}
			const token = "sesame"
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if p.Token != nil && r.Method == http.MethodPut && r.URL.Path == p.Token.Path && r.Header.Get(p.Token.Header) == p.Token.Value {
					w.Write([]byte(token))
					return
				}
				for key, value := range p.Headers {
					if r.Header.Get(key) != value {
						http.Error(w, "header "+key, http.StatusForbidden)
						return
					}
				}
				if p.Token != nil && r.Header.Get(p.Token.Show) != token {
					http.Error(w, "token", http.StatusUnauthorized)
					return
				}
				if r.Method != http.MethodGet || r.URL.Path != want.path {
					http.NotFound(w, r)
					return
				}
				w.Write([]byte(want.body))
			}))
			defer server.Close()
			data, err := client(server).Ask(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if data.Hostname != want.hostname || data.Instance != want.instance || data.Platform != p.Name || data.From == "" {
				t.Errorf("got %+v, want %s %s", data, want.hostname, want.instance)
			}
		})
	}
}

func find(t *testing.T, name string) Platform {
	t.Helper()
	for _, p := range Platforms() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no platform %s", name)
	return Platform{}
}

func TestAServiceThatComesLateIsAskedAgain(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("worker-1"))
	}))
	defer server.Close()
	p := find(t, "hetzner")
	p.Hosts = p.Hosts[:1]
	if data, err := client(server).Ask(t.Context(), p); err != nil || data.Hostname != "worker-1" {
		t.Errorf("got %+v, %v", data, err)
	}
}

func TestAServiceThatSaysNoIsNotPestered(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"forbidden": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"a page":       func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>log in")) },
		"too much":     func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxAnswer+1)) },
		"two lines":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"hostname":"a\nb"}`)) },
		"another kind": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"hostname":7}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				handler(w, r)
			}))
			defer server.Close()
			p := find(t, "vultr")
			if data, err := client(server).Ask(t.Context(), p); !errors.Is(err, ErrAnswer) || asked.Load() != 1 {
				t.Errorf("asked %d times, got %+v, %v", asked.Load(), data, err)
			}
		})
	}
}

func TestNoServiceIsWaitedForLongerThanToldTo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := Client{Retry: time.Millisecond, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("network is unreachable")
	}}
	_, err := c.Ask(ctx, find(t, "openstack"))
	if err == nil || !strings.Contains(err.Error(), "metadata service of openstack") {
		t.Errorf("got %v", err)
	}
}

func TestDrivesAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		data     string
		hostname string
		fails    bool
	}{
		"cloud-localds": {data: "instance-id: iid-local01\nlocal-hostname: worker-1\n", hostname: "worker-1"},
		"quoted":        {data: "local-hostname: \"worker-2\" # mine\r\n", hostname: "worker-2"},
		"hostname":      {data: "# comment\nhostname: worker-3", hostname: "worker-3"},
		"json":          {data: `{"instance-id":"i","local-hostname":"worker-4"}`, hostname: "worker-4"},
		"nested":        {data: "network:\n  local-hostname: no\n", hostname: ""},
		"empty":         {},
		"not ascii":     {data: "local-hostname: wörker", fails: true},
	} {
		data, err := NoCloud([]byte(c.data))
		if data.Hostname != c.hostname || (err != nil) != c.fails {
			t.Errorf("%s: got %+v, %v", name, data, err)
		}
	}
	if data, err := ConfigDrive([]byte(`{"hostname":"worker-9","uuid":"u"}`)); err != nil || data.Hostname != "worker-9" {
		t.Errorf("config drive: %+v, %v", data, err)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, a := range answersOf {
		f.Add([]byte(a.body))
	}
	f.Add([]byte("instance-id: x\nlocal-hostname: y\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		readers := []func([]byte) (Data, error){NoCloud, ConfigDrive}
		for _, p := range Platforms() {
			readers = append(readers, p.Read)
		}
		for _, read := range readers {
			data, err := read(body)
			if err == nil && (len(data.Hostname) > maxName || strings.ContainsAny(data.Hostname, "\n\x00\x1b")) {
				t.Fatalf("%q gives %+v", body, data)
			}
		}
	})
}

package kubernetes

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/netd/store/kubernetes/kubernetestest"
)

// [4.3, 6]: a path that is gone, and TCP does not know.
func TestABlackHoleIsFoundByHTTP2(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		w.Freeze()
		w.Put(peer(2))
		pass(readIdle + pingTimeout - 2*time.Second)
		w.expect(h, "node-1")
		pass(5 * time.Second)
		w.expect(h, "node-1", "node-2")
		if n := len(w.Watches()); n != 2 {
			t.Errorf("%d watches, want a second after %v", n, readIdle+pingTimeout)
		}
	})
}

// [4.3, 6]: a server that takes requests and does not answer.
func TestAServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		})
		h, _ := w.watch(w.store())
		pass(headerTimeout + time.Second)
		if err := h.last(); err == nil || !strings.Contains(err.Error(), "timeout awaiting response headers") {
			t.Errorf("error is %v", err)
		}
	})
}

// [4.3, 6]
func TestRetryAfterIsHonoured(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		w.Intercept(kubernetestest.TooManyRequests(1, 77*time.Second))
		start := time.Now()
		h, _ := w.watch(w.store())
		pass(80 * time.Second)
		w.expect(h, "node-1")
		lists := w.Lists()
		if len(lists) != 2 || lists[1].At.Sub(start) < 77*time.Second {
			t.Errorf("%d lists, the last after %v; want a second after 77 s", len(lists), lists[len(lists)-1].At.Sub(start))
		}
	})
}

func TestRetryAfterCannotStopNetd(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		w.Intercept(kubernetestest.TooManyRequests(1, 1000*time.Hour))
		h, _ := w.watch(w.store())
		pass(maxRetryAfter + time.Second)
		w.expect(h, "node-1")
	})
}

// [4.3, 6]
func TestRedirectsAreRefused(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Intercept(kubernetestest.Redirect("https://evil.test/api/v1/nodes"))
		h, _ := w.watch(w.store())
		if err := h.last(); err == nil || !strings.Contains(err.Error(), "evil.test") || !strings.Contains(err.Error(), "not followed") {
			t.Errorf("error is %v", err)
		}
		if n := len(w.Requests("GET", "/")); n != 1 {
			t.Errorf("%d requests, want one", n)
		}
	})
}

// [4.3, 6]
func TestBackOffGrowsToThirtySecondsWithJitter(t *testing.T) {
	for _, c := range []struct {
		failures int
		random   float64
		want     time.Duration
	}{
		{0, 0.9, 0}, {1, 0, time.Second}, {1, 1, 2 * time.Second}, {3, 0.5, 4500 * time.Millisecond},
		{5, 1, 30 * time.Second}, {6, 0, time.Second}, {1 << 40, 1, 30 * time.Second},
	} {
		if got := backoff(c.failures, c.random); got != c.want {
			t.Errorf("after %d failures, by %v: %v, want %v", c.failures, c.random, got, c.want)
		}
	}
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.config.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
		h, _ := w.watch(w.store())
		pass(10 * time.Minute)
		if n := h.failures(); n < 30 || n > 60 {
			t.Errorf("%d attempts in ten minutes", n)
		}
	})
}

func TestAWatchThatEndsAtOnceIsNotAskedForWithoutEnd(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Get("watch") != ""
		})
		w.watch(w.store())
		pass(10 * time.Minute)
		if n := len(w.Requests("GET", "/")); n > 80 {
			t.Errorf("%d requests in ten minutes", n)
		}
	})
}

// [4.3, 9]
func TestServersAreTriedInTurn(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		w.config.Servers = []string{"https://a.test:6443", "https://" + kubernetestest.Host + ":6443", "https://c.test:6443"}
		dialled := []string{}
		dial := w.config.Dial
		w.config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			if !strings.HasPrefix(address, kubernetestest.Host) {
				return nil, errors.New("connection refused")
			}
			return dial(ctx, network, address)
		}
		h, _ := w.watch(w.store())
		w.expect(h, "node-1")
		if h.last() != nil {
			t.Errorf("error %v though a server answered", h.last())
		}
		pass(20 * time.Minute)
		if len(dialled) != 2 {
			t.Errorf("dialled %v, want the one that answers to be kept", dialled)
		}
	})
}

// [4.3, 9]: net/http reads the environment once in a process, so the
// connections' own setting is looked at.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		c := newClient(w.config)
		if s, err := c.session(); err != nil || s.transport.Proxy != nil {
			t.Errorf("a proxy may be used; %v", err)
		}
	})
}

// [4.1]: tokens rotate.
func TestARotatedTokenIsReadAgain(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		h, _ := w.watch(w.store())
		next := w.Token(kubernetestest.Netd)
		w.write(w.config.TokenFile, []byte(next))
		w.Revoke(w.token)
		w.Drop()
		w.Put(peer(2))
		pass(3 * time.Second)
		w.expect(h, "node-1", "node-2")
		for _, r := range w.Requests("GET", "/") {
			if r.Identity != kubernetestest.Netd {
				t.Errorf("asked as %q", r.Identity)
			}
		}
	})
}

func TestATokenThatChangesWhileItIsUsedIsReadAtOnce(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		w.Revoke(w.token)
		w.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.Header.Get("Authorization"), w.token) {
				w.write(w.config.TokenFile, []byte(w.Token(kubernetestest.Netd)))
			}
			return false
		})
		start := time.Now()
		h, _ := w.watch(w.store())
		w.expect(h, "node-1")
		if time.Since(start) != 0 || h.last() != nil {
			t.Errorf("after %v, error %v; want it at once", time.Since(start), h.last())
		}
	})
}

func TestARefusedTokenIsNamedAndANewOneCounts(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		w.Revoke(w.token)
		h, _ := w.watch(w.store())
		if err := h.last(); err == nil || !strings.Contains(err.Error(), "does not take the credentials") || strings.Contains(err.Error(), w.token) {
			t.Errorf("error is %v", err)
		}
		w.write(w.config.TokenFile, []byte(w.Token(kubernetestest.Netd)))
		pass(backoffMax)
		w.expect(h, "node-1")
		if strings.Contains(w.log.String(), "token-") {
			t.Error("a token is in the log")
		}
	})
}

func TestClientCertificatesAndCAAreReadAgain(t *testing.T) {
	inBubble(t, kubernetestest.Options{BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		folder := filepath.Dir(w.config.CAFile)
		w.config.TokenFile, w.config.CertFile, w.config.KeyFile = "", filepath.Join(folder, "crt"), filepath.Join(folder, "key")
		certificate, key := w.Certificate("nobody")
		w.write(w.config.CertFile, certificate)
		w.write(w.config.KeyFile, key)
		h, _ := w.watch(w.store())
		if err := h.last(); err == nil || !strings.Contains(err.Error(), `User "nobody"`) {
			t.Errorf("error is %v", err)
		}
		certificate, key = w.Certificate(kubernetestest.Netd)
		w.write(w.config.CertFile, certificate) // and the key a moment later
		pass(10 * time.Second)
		if !w.log.has("those read before are kept") {
			t.Errorf("a half replaced pair is not told of; log:\n%v", w.log)
		}
		w.write(w.config.KeyFile, key)
		pass(backoffMax)
		w.expect(h, "node-1")

		w.RotateCA()
		w.Drop()
		pass(5 * time.Second)
		if err := h.last(); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
			t.Errorf("error is %v", err)
		}
		w.write(w.config.CAFile, w.CA())
		w.Put(peer(2))
		pass(backoffMax)
		w.expect(h, "node-1", "node-2")
	})
}

func TestFilesThatAreNotThereYetAreWaitedFor(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		w.config.CAFile += ".later"
		h, _ := w.watch(w.store())
		if err := h.last(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "caFile") {
			t.Errorf("error is %v", err)
		}
		w.write(w.config.CAFile, w.CA())
		pass(backoffMax)
		w.expect(h, "node-1")
	})
}

func TestHTTP1Works(t *testing.T) {
	inBubble(t, kubernetestest.Options{HTTP1: true, BookmarkEvery: time.Minute}, func(t *testing.T, w *world) {
		w.Put(peer(1), kubernetestest.Node("self", "10.42.9.0/24"))
		s := w.store()
		h, _ := w.watch(s)
		p, _ := w.publish(s, own())
		w.Put(peer(2))
		w.expect(h, "node-1", "node-2")
		if len(p.all()) != 1 || w.Lists()[0].Proto != "HTTP/1.1" {
			t.Errorf("granted %v by %s", p.all(), w.Lists()[0].Proto)
		}
	})
}

func TestKubeconfigWithEmbeddedDataOrFiles(t *testing.T) {
	inBubble(t, kubernetestest.Options{}, func(t *testing.T, w *world) {
		w.Put(peer(1))
		certificate, key := w.Certificate(kubernetestest.Netd)
		b64 := base64.StdEncoding.EncodeToString
		folder := filepath.Dir(w.config.CAFile)
		w.write(filepath.Join(folder, "crt"), certificate)
		w.write(filepath.Join(folder, "key"), key)
		for name, user := range map[string]string{
			"data":      "client-certificate-data: " + b64(certificate) + "\n    client-key-data: " + b64(key),
			"files":     "client-certificate: crt\n    client-key: key",
			"token":     "token: " + w.token,
			"tokenFile": "tokenFile: token",
		} {
			path := filepath.Join(folder, "kubeconfig")
			w.write(path, fmt.Appendf(nil, kubeconfigForm, "certificate-authority: ca.crt", user))
			w.config.Kubeconfig = path
			h, stop := w.watch(w.store())
			w.expect(h, "node-1")
			if h.last() != nil {
				t.Errorf("%s: %v", name, h.last())
			}
			stop()
		}
	})
}

const kubeconfigForm = `apiVersion: v1
kind: Config
current-context: default
clusters:
- name: c
  cluster:
    server: https://api.test:6443
    %s
users:
- name: u
  user:
    %s
contexts:
- name: default
  context: {cluster: c, user: u}
`

func TestWhatNetdDoesNotDoIsRefusedByName(t *testing.T) {
	for name, c := range map[string]struct{ cluster, user, says string }{
		"exec plugin":      {"", "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}", "exec plugin"},
		"auth provider":    {"", "auth-provider: {name: oidc}", "auth-provider"},
		"password":         {"", "username: admin\n    password: hunter2", "username and password"},
		"impersonation":    {"", "as: somebody", "acts as another"},
		"proxy":            {"proxy-url: http://proxy:3128", "token: x", "proxy-url"},
		"insecure":         {"insecure-skip-tls-verify: true", "token: x", "anybody on the way"},
		"half a pair":      {"", "client-certificate-data: eA==", "only one"},
		"no base64":        {"certificate-authority-data: '%'", "token: x", "not base64"},
		"token of lines":   {"", `token: "a b"`, "bearer token"},
		"secret in a list": {"", "token: [hunter2]", "no kubeconfig file (line"},
	} {
		data := fmt.Appendf(nil, kubeconfigForm, c.cluster, c.user)
		a, err := parseKubeconfig(data, "/etc/kubeconfig", false, os.ReadFile)
		if err == nil {
			err = a.check()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error is %v, want %q", name, err, c.says)
		}
	}
	data := fmt.Appendf(nil, kubeconfigForm, "insecure-skip-tls-verify: true", "token: x")
	if a, err := parseKubeconfig(data, "/etc/kubeconfig", true, os.ReadFile); err != nil || !a.insecure {
		t.Errorf("insecure and said so: %v", err)
	}
}

func TestServersWithoutHTTPSAreForThisHostOnly(t *testing.T) {
	for server, sound := range map[string]bool{
		"https://10.0.0.1:6443": true, "https://[fd00::1]:6443": true, "http://127.0.0.1:8001": true, "http://[::1]:8001": true,
		"http://10.0.0.1:8080": false, "10.0.0.1:6443": false, "https://u:p@10.0.0.1": false, "": false, "https://": false,
	} {
		if _, err := parseServer(server); (err == nil) != sound {
			t.Errorf("%q: %v", server, err)
		}
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no server":   func(c *Config) { c.Servers = nil },
		"no node":     func(c *Config) { c.Node = "" },
		"bad node":    func(c *Config) { c.Node = "a/../b" },
		"bad prefix":  func(c *Config) { c.AnnotationPrefix = "x" },
		"plain HTTP":  func(c *Config) { c.Servers = []string{"http://10.0.0.1"} },
		"large token": func(c *Config) { c.TokenFile = "/dev/zero" },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, kubernetestest.Options{})
			change(&w.config)
			if _, err := New(w.config); err == nil {
				t.Errorf("%s: taken", name)
			}
		})
	}
}

// FuzzKubeconfig checks that reading ends, reads no file twice as large as
// it may, and gives only access that is whole.
func FuzzKubeconfig(f *testing.F) {
	f.Add(fmt.Appendf(nil, kubeconfigForm, "certificate-authority: ca.crt", "tokenFile: token"))
	f.Add(fmt.Appendf(nil, kubeconfigForm, "insecure-skip-tls-verify: true", "exec: {command: x}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseKubeconfig(data, "/etc/kubeconfig", false, func(string) ([]byte, error) { return []byte("x"), nil })
		if err == nil && (len(a.servers) != 1 || a.insecure) {
			t.Errorf("access is %+v", a)
		}
	})
}

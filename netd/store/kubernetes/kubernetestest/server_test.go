package kubernetestest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A caller asks a server, and knows nothing of package kubernetes.
type caller struct {
	t     *testing.T
	s     *Server
	http  *http.Transport
	token string
}

func newCaller(t *testing.T, identity string) *caller {
	s := New(Options{})
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the CA is no certificate")
	}
	transport := &http.Transport{DialContext: s.Dial, TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{t: t, s: s, http: transport, token: s.Token(identity)}
}

func (c *caller) do(method, path, kind, body string) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "https://"+Host+":6443"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { response.Body.Close() })
	return response
}

// ask returns the code and the body of an answer.
func (c *caller) ask(method, path, kind, body string) (int, string) {
	c.t.Helper()
	response := c.do(method, path, kind, body)
	data, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

const (
	strategicMerge = "application/strategic-merge-patch+json"
	jsonMerge      = "application/merge-patch+json"
	oneCondition   = `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"False","reason":"FlannelIsUp"}]}}`
)

func TestStrategicMergePatchKeepsConditionsAndJSONMergePatchWipesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Netd)
		c.s.Put(Node("n", "10.42.1.0/24"))
		if code, body := c.ask("PATCH", "/api/v1/nodes/n/status", strategicMerge, oneCondition); code != 200 {
			t.Fatal(code, body)
		}
		if got := c.s.Conditions("n"); len(got) != 5 || got["Ready"] != "True KubeletReady" || got["NetworkUnavailable"] != "False FlannelIsUp" {
			t.Errorf("strategic merge patch: %v", got)
		}
		c.ask("PATCH", "/api/v1/nodes/n/status", jsonMerge, oneCondition)
		if got := c.s.Conditions("n"); len(got) != 1 {
			t.Errorf("JSON merge patch: %v", got)
		}
	})
}

func TestTheStatusSubresourceTakesAnnotationsAndNoSpec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Netd)
		c.s.Put(Node("n", "10.42.1.0/24"))
		c.ask("PATCH", "/api/v1/nodes/n/status", strategicMerge, `{"metadata":{"annotations":{"a/b":"c"}},"spec":{"podCIDR":"10.0.0.0/8"}}`)
		if c.s.Annotations("n")["a/b"] != "c" || c.s.Get("n")["spec"].(Object)["podCIDR"] != "10.42.1.0/24" {
			t.Errorf("the node is %v", c.s.Get("n"))
		}
		version := c.s.Version()
		c.ask("PATCH", "/api/v1/nodes/n/status", strategicMerge, `{"metadata":{"annotations":{"a/b":"c"}}}`)
		if c.s.Version() != version {
			t.Error("a patch that changes nothing made a version")
		}
		c.ask("PATCH", "/api/v1/nodes/n/status", strategicMerge, `{"metadata":{"annotations":{"a/b":null}}}`)
		if _, found := c.s.Annotations("n")["a/b"]; found {
			t.Error("null did not remove an annotation")
		}
		if code, _ := c.ask("PATCH", "/api/v1/nodes/n/status", strategicMerge, `{"metadata":{"resourceVersion":"1"}}`); code != 409 {
			t.Errorf("a patch of an old version: %d", code)
		}
		if code, _ := c.ask("PATCH", "/api/v1/nodes/n/status", "application/json", `{}`); code != 415 {
			t.Errorf("a patch of no kind: %d", code)
		}
	})
}

func TestIdentitiesMayDoWhatTheyMay(t *testing.T) {
	for identity, codes := range map[string][6]int{
		//             list, own by selector, other node, patch, patch status, other's status
		Netd:             {200, 200, 200, 403, 200, 200},
		NodePrefix + "n": {403, 200, 403, 200, 200, 403},
		Admin:            {200, 200, 200, 200, 200, 200},
		"system:anybody": {403, 403, 403, 403, 403, 403},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCaller(t, identity)
			c.s.Put(Node("n"), Node("other"))
			for i, q := range []struct{ method, path string }{
				{"GET", "/api/v1/nodes"}, {"GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn"}, {"GET", "/api/v1/nodes/other"},
				{"PATCH", "/api/v1/nodes/n"}, {"PATCH", "/api/v1/nodes/n/status"}, {"PATCH", "/api/v1/nodes/other/status"},
			} {
				if code, body := c.ask(q.method, q.path, strategicMerge, "{}"); code != codes[i] {
					t.Errorf("%s: %s %s: %d, want %d: %s", identity, q.method, q.path, code, codes[i], body)
				}
			}
			c.s.Revoke(c.token)
			if code, _ := c.ask("GET", "/api/v1/nodes", "", ""); code != 401 {
				t.Errorf("a token that was revoked: %d", code)
			}
		})
	}
}

func TestHistoryEndsWith410InTwoForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Netd)
		for i := range 5 {
			c.s.Put(Node(fmt.Sprint("n", i)))
		}
		_, body := c.ask("GET", "/api/v1/nodes?limit=2", "", "")
		var page struct {
			Metadata struct{ Continue, ResourceVersion string }
			Items    []Object
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || page.Metadata.Continue == "" || len(page.Items) != 2 {
			t.Fatalf("%v: %s", err, body)
		}
		c.s.Put(Node("n9"))
		next := "/api/v1/nodes?limit=9&continue=" + strings.ReplaceAll(page.Metadata.Continue, "=", "%3D")
		if _, body := c.ask("GET", next, "", ""); strings.Contains(body, "n9") || !strings.Contains(body, "n4") ||
			!strings.Contains(body, `"resourceVersion":"`+page.Metadata.ResourceVersion+`"`) {
			t.Errorf("the second page is not of the time of the first: %s", body)
		}
		c.s.Compact()
		if code, body := c.ask("GET", next, "", ""); code != 410 {
			t.Errorf("list: %d %s", code, body)
		}
		if code, body := c.ask("GET", "/api/v1/nodes?watch=1&resourceVersion=1000", "", ""); code != 200 || !strings.Contains(body, `"type":"ERROR"`) || !strings.Contains(body, "410") {
			t.Errorf("watch: %d %s", code, body)
		}
	})
}

func TestAWatchOfTheFutureIsAcceptedAndSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Netd)
		response := c.do("GET", "/api/v1/nodes?watch=1&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=999999", "", "")
		c.s.Put(Node("n"))
		c.s.Bookmark()
		start := time.Now()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 || len(body) != 0 || time.Since(start) != time.Minute {
			t.Errorf("%d after %v: %q, %v", response.StatusCode, time.Since(start), body, err)
		}
	})
}

func TestAWatchFromZeroBeginsWithWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Netd)
		c.s.Put(Node("n"))
		lines := bufio.NewScanner(c.do("GET", "/api/v1/nodes?watch=1&resourceVersion=0&timeoutSeconds=60", "", "").Body)
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), `{"object":`) || !strings.Contains(lines.Text(), "ADDED") {
			t.Errorf("first event is %q", lines.Text())
		}
		c.s.Delete("n")
		if !lines.Scan() || !strings.Contains(lines.Text(), "DELETED") {
			t.Errorf("second event is %q", lines.Text())
		}
	})
}

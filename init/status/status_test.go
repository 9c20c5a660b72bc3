package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/event"
	"weft/init/ntp"
	"weft/init/sysctl"
	"weft/init/trace"
)

func seconds(n int64) *int64 { return &n }

// full is a document with something in every part.
func full() Document {
	return Document{
		Format: Format, At: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Uptime: 4000, State: Degraded, Reason: "network: eth0 has no carrier",
		Node:     Node{Hostname: "pi-1", HostnameSource: "node file", UUID: "0b5c", MachineID: "77"},
		Image:    Image{Version: "v1", ID: "abcdef", Board: "x86-64-cloud", Profile: "vxlan", Kernel: "6.12", Slot: "a"},
		Contract: []Need{{Name: "modules", State: "good"}, {"network", "failed", "eth0 has no carrier", Fix("network", "eth0 has no carrier")}},
		Modules:  []Module{{Name: "vxlan", State: "loaded"}, {"wireguard", "failed", "no such module", "the tunnels of backend wireguard"}},
		Sysctls: []sysctl.Finding{{Name: "net.ipv4.ip_forward", Want: "1", Have: "1", OK: true},
			{Name: "net.ipv6.conf.eth0.accept_ra", Want: "2", Have: "0", Why: "something has changed it"}},
		Links: []Link{{Name: "eth0", MAC: "52:54:00:00:00:01", MTU: 1500, Up: true, Uplink: true,
			Addresses: []Address{{Prefix: "10.0.2.15/24", Valid: seconds(86000)}, {Prefix: "fe80::1/64", Note: "tentative"}}},
			{Name: "flannel.1", Kind: "vxlan", MTU: 1450, Up: true, Carrier: true}},
		Routes:    []Route{{To: "default", Via: "fe80::2", Device: "eth0", Metric: 1024, Origin: "ra", Expires: seconds(1790)}, {To: "10.42.0.0/16", Device: "cni0", Origin: "kernel"}},
		Resolvers: []string{"10.0.2.3"}, SearchDomains: []string{"example.net"},
		Clock:    Clock{State: ntp.State{Error: "no time server answered"}},
		Data:     Data{Device: "vda5", Size: 8 << 30, Free: 1 << 30, Sync: &Sync{Median: 1.5, Worst: 12}, Notes: []string{"made new at this boot"}},
		Services: []Service{{"netd", "ready", 3990}}, Previous: &trace.End{Text: "ended in a kernel panic", Trace: "/data/weft/traces/1"},
		Boot: []Step{{1.5, "mounts", 3, ""}}, Problems: []Problem{{Uptime: 2, Text: "disk is \x1b[31mslow\nvery", Times: 3}},
	}
}

func TestTextTellsWhatAPersonLooksFor(t *testing.T) {
	got := Text(full())
	for _, want := range []string{
		"pi-1 is degraded, up 66 min\n", "eth0 has no carrier; check the cable", "module wireguard", "the tunnels of backend wireguard",
		"52:54:00:00:00:01", "10.0.2.15/24", "23 h", "tentative", "fe80::2 on eth0", "expires in 29 min", "10.0.2.3", "search",
		"not set by a time server: no time server answered", "vda5, 1024 of 8192 MiB free", "fdatasync 1.5 ms (worst 12.0)", "made new",
		"10 s ago", "WRONG", "want 2", "(3 times)", "mounts", "ended in a kernel panic; more is in /data/weft/traces/1",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the text does not say %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("a text from outside drives the terminal")
	}
	for line := range strings.Lines(got) {
		if strings.TrimRight(line, "\n") != strings.TrimRight(line, " \n") {
			t.Errorf("a line ends in spaces: %q", line)
		}
	}
}

func TestAnEmptyDocumentIsPrintedWithoutEmptyTables(t *testing.T) {
	got := Text(Document{State: Starting})
	for _, not := range []string{"LINKS", "ROUTES", "PROBLEMS", "SYSCTLS"} {
		if strings.Contains(got, not) {
			t.Errorf("%s without anything in it:\n%s", not, got)
		}
	}
}

func TestHealthNamesEverythingThatIsWrong(t *testing.T) {
	ok, wrong := full().Healthy()
	if ok || len(wrong) != 2 || !strings.HasPrefix(wrong[0], "network: failed: eth0 has no carrier; check") ||
		!strings.HasPrefix(wrong[1], "sysctl net.ipv6.conf.eth0.accept_ra: is 0, should be 2") {
		t.Errorf("%v, %q", ok, wrong)
	}
	if ok, wrong := (Document{State: Ready}).Healthy(); !ok || len(wrong) > 0 {
		t.Errorf("a ready node: %q", wrong)
	}
	if ok, wrong := (Document{State: Starting}).Healthy(); ok || len(wrong) != 1 {
		t.Errorf("a starting node: %q", wrong)
	}
	if ok, wrong := (Document{State: Ready, Data: Data{ReadOnly: true}}).Healthy(); ok || len(wrong) != 1 {
		t.Errorf("a read-only data partition: %q", wrong)
	}
}

func TestAFixIsFoundByTheReason(t *testing.T) {
	for _, c := range []struct{ need, reason, want string }{
		{"network", "eth0 has no carrier", "cable"},
		{"network", "no network device was found", "drivers"},
		{"network", "eth0 has no address", "DHCP"},
		{"data partition", "vda5 is damaged, check it", "e2fsck"},
		{"data partition", "it is full", "larger disk"},
		{"modules", "vxlan: finit_module: exec format error", "kernel's log"},
		{"another", "whatever", ""},
	} {
		if got := Fix(c.need, c.reason); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s, %s: %q", c.need, c.reason, got)
		}
	}
}

func TestHistoryIsBoundedAndCounts(t *testing.T) {
	changes := 0
	h := NewHistory(func() { changes++ })
	for i := range 400 {
		h.Add(event.Event{Kind: event.Step, Name: fmt.Sprint("step ", i), Uptime: float64(i)})
	}
	for i := range 100 {
		h.Add(event.Event{Kind: event.Problem, Text: fmt.Sprint("problem ", i)})
		h.Add(event.Event{Kind: event.Problem, Text: "the same", Uptime: float64(i)})
		h.Add(event.Event{Kind: event.Service, Name: fmt.Sprint("service ", i), Text: "starting"})
	}
	h.Add(event.Event{Kind: event.Service, Name: "service 3", Text: strings.Repeat("long ", 1000)})
	h.Add(event.Event{Kind: event.Status, Name: "netd"})
	var d Document
	h.Fill(&d)
	if len(d.Boot) != maxSteps || d.Boot[0].Name != "step 0" || d.Boot[maxSteps-1].Name != "step 399" {
		t.Errorf("%d steps, %s to %s", len(d.Boot), d.Boot[0].Name, d.Boot[len(d.Boot)-1].Name)
	}
	last := d.Problems[len(d.Problems)-1]
	if len(d.Problems) != maxProblems || last.Text != "the same" || last.Times != 100 || last.Uptime != 99 {
		t.Errorf("%d problems, the last %+v", len(d.Problems), last)
	}
	if len(d.Services) != maxServices || len(d.Services[3].Text) > maxText+8 {
		t.Errorf("%d services, one with %d bytes", len(d.Services), len(d.Services[3].Text))
	}
	if want := 400 - maxSteps + 101 - maxProblems; d.Dropped != want {
		t.Errorf("%d dropped, want %d", d.Dropped, want)
	}
	if changes != 400+300+1 {
		t.Errorf("%d changes told", changes)
	}
}

func TestHistoryKnowsTheState(t *testing.T) {
	id, err := json.Marshal(event.Identified{Hostname: "n", HostnameSource: "serial", UUID: "u", MachineID: "m"})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHistory(func() {})
	state := func() string {
		var d Document
		h.Fill(&d)
		return d.State + " " + d.Reason + " " + d.Node.Hostname
	}
	for _, c := range []struct {
		do   func()
		want string
	}{
		{func() {}, "starting  "},
		{func() { h.Add(event.Event{Kind: event.Identity, Data: id}) }, "starting  n"},
		{func() { h.Add(event.Event{Kind: event.Degraded, Text: "no cable"}) }, "degraded no cable n"},
		{h.Well, "ready  n"},
		{func() { h.Add(event.Event{Kind: event.Stopping, Text: "power button"}) }, "stopping power button n"},
		{h.Well, "stopping power button n"},
	} {
		if c.do(); state() != c.want {
			t.Errorf("%q, want %q", state(), c.want)
		}
	}
}

func TestABurstIsOneDocumentAndTheLastChangeIsShown(t *testing.T) {
	p := NewPublisher()
	ctx, cancel := context.WithCancel(t.Context())
	published, waits := make(chan int), make(chan chan time.Time)
	value, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx, time.Second, func(time.Duration) <-chan time.Time {
			c := make(chan time.Time)
			waits <- c
			return c
		}, func() { published <- value })
	}()
	p.Poke()
	if got := <-published; got != 0 {
		t.Fatalf("published %d", got)
	}
	wait := <-waits
	for range 10 {
		p.Poke() // all of them within the second
	}
	value = 7
	wait <- time.Time{}
	if got := <-published; got != 7 {
		t.Errorf("published %d, want the last change", got)
	}
	wait = <-waits
	wait <- time.Time{}
	select {
	case <-published:
		t.Error("a third document without a change")
	default:
	}
	cancel()
	<-done
}

// serve starts a server and returns its socket.
func serve(t *testing.T, d Document) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "init.sock")
	for range 2 { // the second time over the first's leftover
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := (Server{Document: func() Document { return d }}).Serve(ctx, l, func(f func()) { go f() }); err != nil {
				t.Error(err)
			}
		}()
		t.Cleanup(func() { cancel(); <-done })
		l.SetUnlinkOnClose(false)
	}
	return path
}

// ask sends bytes and returns the answer.
func ask(t *testing.T, path, request string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestTheSocketAnswersPeopleAndPrograms(t *testing.T) {
	path := serve(t, full())
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	d, err := Fetch(t.Context(), path)
	if err != nil || d.Node.Hostname != "pi-1" || *d.Routes[0].Expires != 1790 || d.Clock.Error == "" {
		t.Errorf("%+v, %v", d, err)
	}
	for _, c := range []struct{ request, want string }{
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "pi-1 is degraded"},
		{"GET /status?x=1 HTTP/1.0\r\n\r\n", "Content-Type: application/json"},
		{"GET /else HTTP/1.0\r\n\r\n", "HTTP/1.0 404 "},
		{"POST / HTTP/1.0\r\n\r\n", "HTTP/1.0 405 "},
		{"hello\r\n\r\n", "HTTP/1.0 400 "},
		{"GET / HTTP/1.0\r\nunfinished", "HTTP/1.0 400 "},
		{"", "HTTP/1.0 400 "},
		{"GET / HTTP/1.0\r\n" + strings.Repeat("X: y\r\n", 2000)[:maxRequest-16], "HTTP/1.0 400 "},
	} {
		if got := ask(t, path, c.request); !strings.Contains(got, c.want) {
			t.Errorf("%.40q: %.300s", c.request, got)
		}
	}
	if got := ask(t, path, "HEAD /status HTTP/1.0\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\n") || !strings.HasPrefix(got, "HTTP/1.0 200 ") {
		t.Errorf("HEAD: %.300s", got)
	}
}

func TestManyClientsThatSayNothingDoNotHarm(t *testing.T) {
	path := serve(t, full())
	for range maxClients - 1 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if _, err := Fetch(t.Context(), path); err != nil {
		t.Error(err)
	}
}

func TestAnotherFormIsRefused(t *testing.T) {
	for _, text := range []string{"", "[]", `{"format":2}`, "{}", `{"format":"1"}`} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("%q is taken for a document", text)
		}
	}
	data, err := Encode(full())
	if err != nil || !json.Valid(data) {
		t.Fatalf("%s, %v", data, err)
	}
	if _, err := Decode(data); err != nil {
		t.Error(err)
	}
}

func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{"GET / HTTP/1.0\r\n\r\n", "GET /status HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", "GET"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, request string) {
		method, path, err := readRequest(strings.NewReader(request))
		if err == nil && (method == "" || path == "") {
			t.Errorf("%q: method %q, path %q", request, method, path)
		}
	})
}

func FuzzText(f *testing.F) {
	data, err := Encode(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Decode(data)
		if err != nil {
			return
		}
		if text := Text(d); strings.ContainsAny(text, "\x1b\x07\r") {
			t.Errorf("control characters in %q", text)
		}
		d.Healthy()
	})
}

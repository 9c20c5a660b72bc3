package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"weft/netd/store/etcd/client"
	"weft/netd/store/etcd/etcdtest"
)

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestSpeaksWithEtcd(t *testing.T) {
	for name, options := range map[string][]etcdtest.Option{
		"plain":            nil,
		"TLS":              {etcdtest.WithTLS},
		"password":         {etcdtest.WithAuth},
		"TLS and password": {etcdtest.WithTLS, etcdtest.WithAuth},
	} {
		t.Run(name, func(t *testing.T) {
			s := etcdtest.Start(t, options...)
			ctx := within(t, 20*time.Second)
			c := s.Client(t)
			id, err := c.Grant(ctx, 60*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.Txn(ctx, []client.If{client.Absent(client.Prefix("/a/"))}, client.Put("/a/1", "one", id), client.Put("/a/2", "two", 0))
			if err != nil || !r.Done {
				t.Fatalf("%+v, %v", r, err)
			}
			again, err := c.Txn(ctx, []client.If{client.Absent(client.Prefix("/a/"))}, client.Put("/a/1", "no", 0))
			if err != nil || again.Done {
				t.Fatalf("a second time: %+v, %v", again, err)
			}
			page, err := c.Range(ctx, client.Range{From: "/a/", End: "/b", Limit: 1})
			if err != nil || len(page.KVs) != 1 || !page.More || page.KVs[0].Value != "one" || page.KVs[0].Lease != id ||
				page.KVs[0].Created != r.Revision || page.Revision != r.Revision || page.Cluster == 0 {
				t.Fatalf("%+v, %v", page, err)
			}
			if ttl, err := c.KeepAlive(ctx, id); err != nil || ttl != 60*time.Second {
				t.Fatalf("%v, %v", ttl, err)
			}
			if err := c.Revoke(ctx, id); err != nil {
				t.Fatal(err)
			}
			if _, err := c.KeepAlive(ctx, id); !client.IsNotFound(err) {
				t.Fatalf("a lease that is gone: %v", err)
			}
			n := 0
			for news, err := range c.Watch(ctx, client.Prefix("/a/"), r.Revision) {
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range news.Events {
					n++
					switch {
					case n == 1 && (e.Deleted || e.KV.Key != "/a/1"),
						n == 3 && (!e.Deleted || e.KV.Key != "/a/1" || e.KV.Modified != r.Revision+1):
						t.Fatalf("event %d is %+v", n, e)
					}
				}
				if n == 3 {
					return
				}
			}
			t.Fatal("the watch ended")
		})
	}
}

func TestCompactedIsToldAsSuch(t *testing.T) {
	s := etcdtest.Start(t)
	for range 3 {
		s.Put(t, "k", "v")
	}
	s.Compact(t)
	for _, err := range s.Client(t).Watch(within(t, 10*time.Second), client.Prefix("k"), 1) {
		var compacted *client.CompactedError
		if err == nil {
			continue
		}
		if !errors.As(err, &compacted) || compacted.Oldest < 3 {
			t.Fatalf("%v", err)
		}
		return
	}
	t.Fatal("the watch ended in silence")
}

// The transport waits for the body of the request, which a watch keeps open.
func TestKilledServerEndsAWatchAtOnce(t *testing.T) {
	start := time.Now()
	s := etcdtest.Start(t)
	s.Put(t, "k", "v")
	var last error
	for _, err := range s.Client(t).Watch(within(t, 20*time.Second), client.Prefix("k"), 1) {
		if last = err; err == nil {
			s.Kill(t)
		}
	}
	if took := time.Since(start); last == nil || took > 5*time.Second {
		t.Errorf("%v after %v", last, took)
	}
}

// The same with one that goes between the question and the answer.
func TestServerThatHangsUpEndsAWatchAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		// The preface and the settings have 60 bytes, the question more.
		_, _ = io.ReadAtLeast(conn, make([]byte, 4096), 120)
		conn.Close()
	}()
	c, err := client.New(client.Config{Endpoints: []string{"http://" + l.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	var last error
	for _, err := range c.Watch(within(t, 20*time.Second), client.Prefix("k"), 1) {
		last = err
	}
	if took := time.Since(start); last == nil || took > 5*time.Second {
		t.Errorf("%v after %v", last, took)
	}
}

func TestAnswerOverTheLimitIsRefused(t *testing.T) {
	s := etcdtest.Start(t)
	s.Put(t, "k", strings.Repeat("x", 100_000))
	c, err := client.New(client.Config{Endpoints: []string{s.URL}, MaxMessage: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Range(within(t, 10*time.Second), client.Prefix("k")); !errors.Is(err, client.ErrTooLarge) {
		t.Fatalf("%v", err)
	}
}

// A member that takes connections and says nothing, one that refuses them and
// one that works: the third is found before the first is given up.
func TestOneDeadMemberDoesNotBlock(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dead := etcdtest.New(t)
	s := etcdtest.Start(t, etcdtest.WithTLS)
	config := s.Store()
	c, err := client.New(client.Config{Endpoints: []string{"https://" + silent.Addr().String(), dead.URL, s.URL},
		CAFile: config.CAFile, CertFile: config.CertFile, KeyFile: config.KeyFile})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	if _, err := c.Range(within(t, 10*time.Second), client.Prefix("k")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	secure := etcdtest.Start(t, etcdtest.WithTLS)
	guarded := etcdtest.Start(t, etcdtest.WithAuth)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			conn, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			conn.Close()
		}
	}()
	wrong := t.TempDir() + "/password"
	if err := os.WriteFile(wrong, []byte("guess"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client.Config
		want string
	}{
		"unknown authority": {client.Config{Endpoints: []string{secure.URL}}, "certificate"},
		"no certificate":    {client.Config{Endpoints: []string{secure.URL}, CAFile: secure.Dir + "/ca.pem"}, "127.0.0.1"},
		"missing authority": {client.Config{Endpoints: []string{secure.URL}, CAFile: "/none"}, "authority"},
		"no user":           {client.Config{Endpoints: []string{guarded.URL}}, "user name is empty"},
		"wrong password":    {client.Config{Endpoints: []string{guarded.URL}, Username: "root", PasswordFile: wrong}, "log in as root"},
		"missing password":  {client.Config{Endpoints: []string{guarded.URL}, Username: "root", PasswordFile: "/none"}, "password of root"},
		"a web server":      {client.Config{Endpoints: []string{"http://" + web.Addr().String()}}, web.Addr().String()},
		"nothing there":     {client.Config{Endpoints: []string{etcdtest.New(t).URL}}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			x, err := client.New(c.Config)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			_, err = x.Range(within(t, 15*time.Second), client.Prefix("k"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "guess") {
				t.Errorf("the password is in %v", err)
			}
		})
	}
}

func TestEndpointsAreChecked(t *testing.T) {
	for _, bad := range []string{"", "10.0.0.1:2379", "ftp://x", "http://", "http://x/path", "http://[::1", "unix://x"} {
		if _, err := client.New(client.Config{Endpoints: []string{bad}}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := client.New(client.Config{}); err == nil {
		t.Error("no endpoints are taken")
	}
}

// The server forgets its tokens with its process.
func TestNewTokenAfterRestart(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.WithAuth)
	s.Put(t, "k", "v")
	s.Restart(t)
	s.Put(t, "k", "w")
}

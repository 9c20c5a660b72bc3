// Package etcdtest runs real etcd processes for tests.
//
// A [Server] listens on loopback, keeps its data in the test's folder and is
// gone at the end of the test. It can be killed, started again, emptied and
// compacted, and it can ask for TLS or for a password. For tests only; the
// program is Debian's etcd-server.
package etcdtest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/netd/store/etcd/client"
	"weft/profiles"
)

// A Server is an etcd of one member. Its methods may be called by many at
// once, but those that start and end it by one at a time.
type Server struct {
	// URL is where clients reach it; it stays the same over restarts.
	URL string
	// Dir holds its data and, for the servers that have them, the files
	// ca.pem, client.pem, client-key.pem and password.
	Dir string

	tls, auth bool
	peer      string

	mu      sync.Mutex
	process *exec.Cmd     // nil when it does not run
	ended   chan struct{} // closed when process has ended
	guarded bool          // authentication is on
	admin   *client.Client
}

// An Option changes a server before it starts.
type Option func(*Server)

// WithTLS makes the server take https only, from clients that show a
// certificate of its authority.
func WithTLS(s *Server) { s.tls = true }

// WithAuth makes the server ask for a user: root with password "root", who
// may do everything.
func WithAuth(s *Server) { s.auth = true }

// Start starts a server and waits until it serves.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := New(t, options...)
	s.Start(t)
	return s
}

// New prepares a server that does not run yet, so that nothing answers at its
// URL.
func New(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{Dir: t.TempDir()}
	for _, o := range options {
		o(s)
	}
	scheme := "http"
	if s.tls {
		scheme = "https"
		writeCertificates(t, s.Dir)
	}
	ports := freePorts(t, 2)
	s.URL, s.peer = scheme+"://"+ports[0], "http://"+ports[1]
	if err := os.WriteFile(s.path("password"), []byte("root\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.admin != nil {
			s.admin.Close()
		}
		s.Kill(t)
	})
	return s
}

// Store is the configuration of a store on this server.
func (s *Server) Store() profiles.EtcdStore {
	c := profiles.EtcdStore{Endpoints: []string{s.URL}}
	if s.tls {
		c.CAFile, c.CertFile, c.KeyFile = s.path("ca.pem"), s.path("client.pem"), s.path("client-key.pem")
	}
	if s.auth {
		c.Username, c.PasswordFile = "root", s.path("password")
	}
	return c
}

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

// Start starts a server that does not run, with the data it had, and waits
// until it serves.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Fatal("etcd is missing: install etcd-server (make deps)")
	}
	fresh := !exists(s.path("data"))
	process := exec.Command(program, "--name=test", "--data-dir="+s.path("data"),
		"--listen-client-urls="+s.URL, "--advertise-client-urls="+s.URL,
		"--listen-peer-urls="+s.peer, "--initial-advertise-peer-urls="+s.peer, "--initial-cluster=test="+s.peer,
		"--unsafe-no-fsync", "--bcrypt-cost=4", "--logger=zap", "--log-outputs=stderr",
		// An election is over in a tenth of a second; there is one member.
		"--heartbeat-interval=10", "--election-timeout=100")
	if s.tls {
		process.Args = append(process.Args, "--client-cert-auth", "--trusted-ca-file="+s.path("ca.pem"),
			"--cert-file="+s.path("server.pem"), "--key-file="+s.path("server-key.pem"))
	}
	// The server tells the service manager when it serves (sd_notify(3)).
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.socket(t), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	process.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify.LocalAddr().String())
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	process.Stderr = log
	ended := s.launch(t, process)
	ready := make(chan error, 1)
	go func() {
		_ = notify.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err := notify.Read(make([]byte, 256))
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-ended:
		err = fmt.Errorf("it has ended")
	}
	if err != nil {
		t.Fatalf("etcd does not serve: %v\n%s", err, s.log())
	}
	if s.auth && fresh {
		s.enableAuth(t)
	}
}

// launch starts the process on a thread that lasts, since the process dies
// with the thread that started it.
func (s *Server) launch(t testing.TB, process *exec.Cmd) (ended chan struct{}) {
	t.Helper()
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	ended = make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := process.Start()
		started <- err
		if err == nil {
			_ = process.Wait() // tests kill it; how it ends says nothing
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.ended = process, ended
	return ended
}

// socket is a path for the notification; unix sockets have at most 107 bytes.
func (s *Server) socket(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir + "/notify"
}

// Kill ends the server as a power cut does. It may have ended before.
func (s *Server) Kill(t testing.TB) { s.end(t, syscall.SIGKILL) }

// Stop ends the server in order.
func (s *Server) Stop(t testing.TB) { s.end(t, syscall.SIGTERM) }

func (s *Server) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	s.mu.Lock()
	process, ended := s.process, s.ended
	s.process = nil
	s.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Process.Signal(signal) // it may have ended
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("etcd did not end within 20 s of %v", signal)
	}
}

// Freeze stops the server without ending it: connections stay and nothing
// answers. Thaw lets it go on.
func (s *Server) Freeze(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Thaw ends a [Server.Freeze].
func (s *Server) Thaw(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	s.mu.Lock()
	process := s.process
	s.mu.Unlock()
	if process == nil {
		t.Fatalf("etcd does not run, it cannot get %v", signal)
	}
	if err := process.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Restart kills the server and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill(t)
	s.Start(t)
}

// Wipe kills the server and starts it again with nothing in it, as one that
// was restored from an empty backup.
func (s *Server) Wipe(t testing.TB) {
	t.Helper()
	s.Kill(t)
	if err := os.RemoveAll(s.path("data")); err != nil {
		t.Fatal(err)
	}
	s.setGuarded(false) // until it is turned on again
	s.Start(t)
}

// Client is a client of the server with all rights.
func (s *Server) Client(t testing.TB) *client.Client {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin == nil {
		c := s.Store()
		admin, err := client.New(client.Config{Endpoints: c.Endpoints, CAFile: c.CAFile, CertFile: c.CertFile,
			KeyFile: c.KeyFile, Username: c.Username, PasswordFile: c.PasswordFile})
		if err != nil {
			t.Fatal(err)
		}
		s.admin = admin
	}
	return s.admin
}

// Put writes a key that stays.
func (s *Server) Put(t testing.TB, key, value string) {
	t.Helper()
	s.txn(t, client.Put(key, value, 0))
}

// Delete deletes a key.
func (s *Server) Delete(t testing.TB, key string) {
	t.Helper()
	s.txn(t, client.Delete(client.Range{From: key}))
}

// txn does what tests do, once more when the connection is of a server that
// has been killed since.
func (s *Server) txn(t testing.TB, ops ...client.Op) client.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := s.Client(t).Txn(ctx, nil, ops...)
	if err != nil {
		r, err = s.Client(t).Txn(ctx, nil, ops...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// All are the keys that begin with prefix.
func (s *Server) All(t testing.TB, prefix string) []client.KV {
	t.Helper()
	return s.txn(t, client.Get(client.Prefix(prefix))).Pages[0].KVs
}

// Compact makes the server forget everything before now.
func (s *Server) Compact(t testing.TB) {
	t.Helper()
	revision := s.txn(t, client.Get(client.Range{From: "x"})).Revision
	if err := s.Client(t).Compact(context.Background(), revision); err != nil {
		t.Fatal(err)
	}
}

// Etcdctl runs etcd's own client and returns what it prints.
func (s *Server) Etcdctl(t testing.TB, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("etcdctl")
	if err != nil {
		t.Fatal("etcdctl is missing: install etcd-client (make deps)")
	}
	cmd := exec.Command(program, append([]string{"--endpoints=" + s.URL}, args...)...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	if s.tls {
		cmd.Args = append(cmd.Args, "--cacert="+s.path("ca.pem"), "--cert="+s.path("client.pem"), "--key="+s.path("client-key.pem"))
	}
	s.mu.Lock()
	guarded := s.guarded
	s.mu.Unlock()
	if guarded {
		cmd.Args = append(cmd.Args, "--user=root:root")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *Server) enableAuth(t testing.TB) {
	t.Helper()
	s.Etcdctl(t, "user", "add", "root:root")
	s.Etcdctl(t, "user", "grant-role", "root", "root")
	s.Etcdctl(t, "auth", "enable")
	s.setGuarded(true)
}

func (s *Server) setGuarded(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guarded = on
}

// log is the end of what the server has said.
func (s *Server) log() string {
	f, err := os.Open(s.path("log"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var lines []string
	for scan := bufio.NewScanner(f); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// freePorts are addresses on loopback where nothing listens.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var found []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // held until all are found, so that all differ
		found = append(found, l.Addr().String())
	}
	return found
}

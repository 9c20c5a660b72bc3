// Package kubernetestest is an API server for tests: the nodes of a cluster
// in memory, behind TLS, with the ways of a real one that clients trip over.
//
// It knows nodes and nothing else: list with pages, watch with bookmarks,
// history that ends, patches of nodes and of their status, identities with
// certificates or tokens and what each may do. And it can be told to
// misbehave: see [Server.Intercept], [Server.Silence], [Server.Freeze],
// [Server.CutEvent], [Server.Restore]. What it does was seen on kube-apiserver
// 1.36; it keeps no files, has no admission and no other resources.
//
// It runs on connections in memory, so tests can live in a bubble of package
// testing/synctest, or on a listener of the test.
package kubernetestest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The identities that may do something; all others may do nothing.
const (
	// Netd may do what the ClusterRole weft-netd lets netd do.
	Netd = "weft-netd"
	// K3sController reads all nodes and writes none, as K3s's own identity does
	// that each of its agents has (k3s pkg/agent/flannel/setup.go, Run: "the
	// k3s-controller rbac does not allow create or update of nodes").
	K3sController = "system:k3s-controller"
	// NodePrefix begins the identities of kubelets, which since Kubernetes
	// 1.32 see their own node only.
	NodePrefix = "system:node:"
	// Admin may do everything.
	Admin = "system:admin"
)

// Options are how a server differs from the usual.
type Options struct {
	// Listener is where it serves; connections in memory when nil.
	Listener net.Listener
	// HTTP1 leaves HTTP/2 out.
	HTTP1 bool
	// BookmarkEvery is the time between bookmarks; none but those of
	// [Server.Bookmark] when zero.
	BookmarkEvery time.Duration
}

// A Request is one that was received.
type Request struct {
	Method, Path, Query, ContentType, Identity, Proto string
	Body                                              string
	// At is when.
	At time.Time
}

// A Server is an API server.
type Server struct {
	options Options
	http    *http.Server
	memory  *memory
	clients *x509.CertPool
	signer  authority // of client certificates

	mu          sync.Mutex
	certificate tls.Certificate
	ca          authority
	tokens      map[string]string
	requests    []Request
	intercept   func(http.ResponseWriter, *http.Request) bool

	nodes
	faults
}

// New starts a server. [Server.Close] ends it.
func New(o Options) *Server {
	s := &Server{options: o, tokens: map[string]string{}, nodes: newNodes(), clients: x509.NewCertPool(), signer: newAuthority("clients")}
	s.clients.AddCert(s.signer.certificate)
	s.RotateCA()
	listener := o.Listener
	if listener == nil {
		s.memory = newMemory()
		listener = s.memory
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!o.HTTP1)
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), Protocols: protocols,
		ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: s.clients,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return &s.certificate, nil
			},
		},
	}
	go s.http.ServeTLS(listener, "", "") // ends with Close
	return s
}

// Close ends the server and all its connections.
func (s *Server) Close() { s.http.Close() }

// Requests are those received so far whose method and path begin so.
func (s *Server) Requests(method, path string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r Request) bool {
		return r.Method != method || !strings.HasPrefix(r.Path, path)
	})
}

// Lists and Watches are the requests for nodes of either kind.
func (s *Server) Lists() []Request   { return s.gets(false) }
func (s *Server) Watches() []Request { return s.gets(true) }

func (s *Server) gets(watch bool) []Request {
	return slices.DeleteFunc(s.Requests(http.MethodGet, "/api/v1/nodes"), func(r Request) bool {
		return strings.Contains(r.Query, "watch=1") != watch
	})
}

// Token makes a bearer token for an identity.
func (s *Server) Token(identity string) string {
	token := "token-" + newSerial().Text(36)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = identity
	return token
}

// Revoke ends a token.
func (s *Server) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
}

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 3<<20))
	if err != nil {
		return
	}
	identity := s.identity(r)
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type"), identity, r.Proto, string(body), time.Now()})
	intercept := s.intercept
	s.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	if identity == "" {
		Refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
		return
	}
	rest, isNodes := strings.CutPrefix(r.URL.Path, "/api/v1/nodes")
	name, sub, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	q := question{w: w, r: r, name: name, sub: sub, body: body, verb: verb(r, name)}
	switch {
	case !isNodes || q.verb == "":
		Refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
	case !allowed(identity, q):
		q.forbid(identity)
	default:
		s.answer(q)
	}
}

// answer does what was asked for.
func (s *Server) answer(q question) {
	switch q.verb {
	case "list":
		s.list(q)
	case "watch":
		s.watch(q)
	case "get":
		s.get(q)
	case "patch":
		s.patch(q)
	}
}

// verb is what a request does, in the words of RBAC.
func verb(r *http.Request, name string) string {
	watch := r.URL.Query().Get("watch")
	switch {
	case r.Method == http.MethodGet && name == "" && (watch == "1" || watch == "true"):
		return "watch"
	case r.Method == http.MethodGet && name == "":
		return "list"
	case r.Method == http.MethodGet:
		return "get"
	case r.Method == http.MethodPatch && name != "":
		return "patch"
	}
	return ""
}

// identity is who asks; "" for nobody known.
func (s *Server) identity(r *http.Request) string {
	if token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.tokens[token]
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r.TLS.PeerCertificates[0].Subject.CommonName
	}
	return ""
}

// allowed is what RBAC and the node authorizer say.
func allowed(identity string, q question) bool {
	if identity == Admin {
		return true
	}
	if identity == Netd {
		return q.verb != "patch" && q.sub == "" || q.verb == "patch" && q.sub == "status"
	}
	if identity == K3sController {
		return q.verb != "patch" && q.sub == ""
	}
	own, isNode := strings.CutPrefix(identity, NodePrefix)
	if !isNode {
		return false
	}
	// AuthorizeNodeWithSelectors; the node's own object it may patch too
	// (NodeRestriction).
	return q.name == own || q.name == "" && q.only() == own
}

// A question is one request understood.
type question struct {
	w               http.ResponseWriter
	r               *http.Request
	verb, name, sub string
	body            []byte
}

// only is the one node that a field selector selects; "" when all.
func (q question) only() string {
	_, name, _ := strings.Cut(q.r.URL.Query().Get("fieldSelector"), "metadata.name=")
	return name
}

func (q question) forbid(identity string) {
	resource := "nodes"
	if q.sub != "" {
		resource += "/" + q.sub
	}
	name := ""
	if q.name != "" {
		name = ` "` + q.name + `"`
	}
	Refuse(q.w, http.StatusForbidden, "Forbidden",
		`nodes`+name+` is forbidden: User "`+identity+`" cannot `+q.verb+` resource "`+resource+`" in API group "" at the cluster scope`)
}

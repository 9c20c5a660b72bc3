package kubernetestest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Host is the name that the server's certificate has.
const Host = "api.test"

// An authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// must is for what fails only when the machine is out of order.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("kubernetestest: %v", err))
	}
	return v
}

func newSerial() *big.Int { return must(rand.Int(rand.Reader, big.NewInt(1<<62))) }

// template is a certificate that is valid by any clock, that of a bubble of
// testing/synctest too, which begins in the year 2000.
func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func newAuthority(name string) authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := template(name)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der := must(x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key))
	return authority{must(x509.ParseCertificate(der)), key}
}

// sign makes a certificate and its key, in PEM.
func (a authority) sign(t *x509.Certificate) (certificate, key []byte) {
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, t, a.certificate, &private.PublicKey, a.key))
	keyDER := must(x509.MarshalECPrivateKey(private))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// RotateCA gives the server a certificate of a new CA, for connections made
// from now on.
func (s *Server) RotateCA() {
	ca := newAuthority("server")
	t := template(Host)
	t.DNSNames = []string{Host, "localhost"}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	pair := must(tls.X509KeyPair(ca.sign(t)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ca, s.certificate = ca, pair
}

// CA is the certificate of the server's CA, in PEM.
func (s *Server) CA() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.certificate.Raw})
}

// Certificate makes a client certificate for an identity, in PEM.
func (s *Server) Certificate(identity string) (certificate, key []byte) {
	t := template(identity)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return s.signer.sign(t)
}

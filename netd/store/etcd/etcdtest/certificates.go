package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writeCertificates makes an authority and the certificates of a server on
// 127.0.0.1 and of a client. The server's is for servers alone, as careful
// operators make them.
func writeCertificates(t testing.TB, dir string) {
	t.Helper()
	ca, caKey := certificate(t, dir, "ca", nil, nil, 0)
	certificate(t, dir, "server", ca, caKey, x509.ExtKeyUsageServerAuth)
	certificate(t, dir, "client", ca, caKey, x509.ExtKeyUsageClientAuth)
}

// certificate makes one certificate; an authority when parent is nil.
func certificate(t testing.TB, dir, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, usage x509.ExtKeyUsage) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("certificate %s: %v", name, err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(err)
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = c, key
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{usage}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	check(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	check(err)
	check(os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(os.WriteFile(filepath.Join(dir, name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	made, err := x509.ParseCertificate(der)
	check(err)
	return made, key
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// plainCluster is a cluster file with keys, on a shipped board, in a folder of
// its own.
func plainCluster(t *testing.T) (file, secrets string) {
	t.Helper()
	dir := t.TempDir()
	file = write(t, dir, "home.yaml", strings.Replace(homeCluster, "./mine.yaml", "x86-64-cloud", 1))
	weft(t, "cluster", "keys", file).want(t, exitOK)
	return file, filepath.Join(dir, "home.secrets")
}

// identity makes a key of age in a file.
func identity(t *testing.T) (*age.X25519Identity, string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id, write(t, t.TempDir(), "key.txt", fmt.Sprintf("# public key: %s\n%s\n", id.Recipient(), id))
}

func TestSealedSecretsAreFilesOfAgeAndBuildsReadThem(t *testing.T) {
	file, secrets := plainCluster(t)
	open, err := os.ReadFile(secrets)
	if err != nil {
		t.Fatal(err)
	}
	id, key := identity(t)
	other, stranger := identity(t)
	sealed := secrets + ".age"
	weft(t, "cluster", "seal", file).want(t, exitInput, "nobody to seal for")
	o := weft(t, "cluster", "seal", file, "--recipient", id.String())
	o.want(t, exitInput, "this is an identity, which opens")
	if strings.Contains(o.err, id.String()) {
		t.Error("the identity is shown")
	}
	weft(t, "cluster", "seal", file, "--recipient", id.Recipient().String()).want(t, exitOK, "sealed for 1 in "+sealed)
	if _, err := os.Lstat(secrets); err == nil {
		t.Error("the open file is still there")
	}
	text, err := os.ReadFile(sealed)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(text)), id)
	if err != nil {
		t.Fatalf("age does not open it: %v", err)
	}
	if got, err := io.ReadAll(plain); err != nil || !bytes.Equal(got, open) {
		t.Errorf("sealed is something else, %v", err)
	}

	plan := []string{"plan", file, "--node", "pi-1"}
	weft(t, plan...).want(t, exitInput, "the secrets are sealed", "--identity FILE")
	weft(t, append(plan, "--identity", stranger)...).want(t, exitInput, "it is not sealed for the key in "+stranger)
	weft(t, append(plan, "--identity", file)...).want(t, exitInput, "this is no file of identities")
	weft(t, append(plan, "--identity", key)...).want(t, exitOK, "node.wireguardKey = (not shown)")
	t.Setenv(identityVariable, key)
	weft(t, plan...).want(t, exitOK, "node.hostname = pi-1")

	weft(t, "cluster", "keys", file).want(t, exitOK, "needs no keys that it does not have")
	weft(t, "cluster", "keys", file, "--rotate", "pi-2").want(t, exitInput, "open it: weft cluster unseal "+file)
	weft(t, "cluster", "unseal", file).want(t, exitOK, "opened into "+secrets)
	if got, err := os.ReadFile(secrets); err != nil || !bytes.Equal(got, open) {
		t.Errorf("unsealed is something else, %v", err)
	}
	if info, err := os.Stat(secrets); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	weft(t, "cluster", "unseal", file).want(t, exitInput, "is there already")
	weft(t, "cluster", "seal", file, "--recipient", id.Recipient().String(), "--recipient", other.Recipient().String()).want(t, exitOK, "sealed for 2")
	weft(t, append(plan, "--identity", stranger)...).want(t, exitOK)

	if err := os.WriteFile(sealed, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	weft(t, plan...).want(t, exitInput, "damaged")
}

func TestASealedFileMayBeNamedInTheClusterFile(t *testing.T) {
	file, _ := plainCluster(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id, key := identity(t)
	weft(t, "cluster", "seal", file, "--recipient", id.Recipient().String()).want(t, exitOK)
	for _, name := range []string{"home.secrets", "home.secrets.age"} {
		write(t, filepath.Dir(file), "home.yaml", string(text)+"secrets: "+name+"\n")
		weft(t, "plan", file, "--node", "pi-1", "--identity", key).want(t, exitOK)
	}
}

func TestSecretsAreSealedForKeysOfSSH(t *testing.T) {
	file, _ := plainCluster(t)
	private, public := sshPair(t)
	recipients := write(t, t.TempDir(), "id.pub", public)
	weft(t, "cluster", "seal", file, "--recipients-file", recipients).want(t, exitOK, "sealed for 1")
	weft(t, "plan", file, "--node", "pi-2", "--identity", write(t, t.TempDir(), "id", private)).want(t, exitOK)
}

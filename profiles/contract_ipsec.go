package profiles

import "strings"

// ipsecModules are the kernel features of backend ipsec. Ciphers are asked for
// by name when keys are first set, and there is no modprobe on a node: what a
// proposal needs is loaded at boot.
func ipsecModules(b Backend, add func(name, config, path, reason string)) {
	const path = "network.backend.type"
	add("xfrm_user", "CONFIG_XFRM_USER", path, "netd and charon set policies and keys by it")
	add("esp4", "CONFIG_INET_ESP", path, "packets between nodes travel in ESP")
	proposal := b.ESPProposal
	if proposal == "" {
		proposal = DefaultESPProposal
	}
	if strings.Contains(proposal, "gcm") {
		add("gcm", "CONFIG_CRYPTO_GCM", path, "the proposal has AES-GCM")
		add("ghash_generic", "CONFIG_CRYPTO_GHASH", path, "AES-GCM is made of it")
		add("seqiv", "CONFIG_CRYPTO_SEQIV", path, "it numbers the packets of AES-GCM")
		return
	}
	add("authenc", "CONFIG_CRYPTO_AUTHENC", path, "the proposal has a cipher and a hash apart")
	add("echainiv", "CONFIG_CRYPTO_ECHAINIV", path, "it gives packets their initialization vectors")
}

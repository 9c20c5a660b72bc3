package status

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"weft/netd/kernel"
	"weft/netd/reconcile"
)

// fixPermission is what helps where the kernel refuses everything.
const fixPermission = "run netd as root, or give it CAP_NET_ADMIN (docs/manifests/netd.service has what it needs)"

// notPermitted reports whether the kernel, or a program that asked it, says
// that netd may not do this.
func notPermitted(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || err != nil && strings.Contains(err.Error(), "must be root")
}

// fixOfFailures says what to do about changes the kernel did not make: what
// helps against the first, as the others follow from it.
func fixOfFailures(failures []kernel.Failure) string {
	var conflict *kernel.Conflict
	switch {
	case len(failures) == 0:
	case errors.As(failures[0].Err, &conflict):
		return fmt.Sprintf("remove %s (ip link del %[1]s) if nobody needs it, or give the network another vni or port on all nodes; netd tries again by itself", conflict.Device)
	case notPermitted(failures[0].Err):
		return fixPermission
	}
	return "check that the kernel has what the profile's contract names; netd tries again by itself"
}

// fixOfFirewall says what to do about a packet filter that is not as wanted.
func fixOfFirewall(s reconcile.Snapshot) string {
	switch {
	case notPermitted(s.FirewallError):
		return fixPermission
	case s.Config.Network.Firewall.Mode == "iptables":
		return "check that iptables and ip6tables are installed and work"
	}
	return "check that the kernel has nf_tables with masquerade (nft_masq, nft_chain_nat)"
}

package userland

import (
	"maps"
	"path"
	"slices"
	"strings"

	"weft/profiles"
)

// A Set is what an image needs of a package and of those it depends on.
type Set struct {
	// Keep are the files. Libraries that they need come by themselves.
	Keep []Keep
	// Links are made beside what the packages have.
	Links []Link
}

// Keep names files by a pattern, as of path.Match; TRIPLET stands for the
// name of the architecture's folder of libraries, and "/**" for all below.
type Keep struct {
	Pattern string
	// Optional files are missing in some versions, and not missed there.
	Optional bool
	// Reason says what they are for.
	Reason string
}

// A Link is a symbolic link that a maintainer script would have made.
type Link struct{ Path, Target, Reason string }

// Sets are the sets by the name of the package. A package without one gives
// the programs and libraries it has itself.
var Sets = map[string]Set{
	"strongswan-charon": {
		Keep: slices.Concat([]Keep{
			{Pattern: "usr/lib/ipsec/charon", Reason: "the IKE daemon, which netd starts"},
			{Pattern: "usr/lib/TRIPLET/libgcc_s.so.1", Reason: "the C library loads it when a thread is cancelled, and aborts without it"},
		}, plugins(
			// Those that netd's configuration of charon names (netd/ipsec).
			"nonce", "kernel-netlink", "socket-default", "vici", "openssl",
		), optional(plugins(
			// What openssl has too; which of them there are depends on the
			// version of strongSwan.
			"random", "aes", "sha1", "sha2", "hmac", "kdf", "gcm", "gmp",
		))),
	},
	// Its certificates become one file, see package image.
	profiles.CertificatesPackage:     {},
	"libstrongswan-standard-plugins": {}, // has the openssl plugin up to 5.9
	"strongswan-swanctl":             {}, // has the vici plugin
	"iptables": {
		Keep: []Keep{
			{Pattern: "usr/sbin/xtables-nft-multi", Reason: "all of the programs, for nftables"},
			{Pattern: "usr/sbin/iptables-nft*", Reason: "its names"},
			{Pattern: "usr/sbin/ip6tables-nft*", Reason: "its names"},
			{Pattern: "usr/lib/TRIPLET/xtables/libxt_*.so", Reason: "matches and targets are plugins"},
			{Pattern: "usr/lib/TRIPLET/xtables/libipt_*.so", Reason: "those of IPv4"},
			{Pattern: "usr/lib/TRIPLET/xtables/libip6t_*.so", Reason: "those of IPv6"},
		},
		Links: alternatives("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"),
	},
}

// plugins are plugins of strongSwan.
func plugins(names ...string) []Keep {
	var keep []Keep
	for _, n := range names {
		keep = append(keep, Keep{Pattern: "usr/lib/ipsec/plugins/libstrongswan-" + n + ".so", Reason: "charon loads it"})
	}
	return keep
}

func optional(keep []Keep) []Keep {
	for i := range keep {
		keep[i].Optional = true
	}
	return keep
}

// alternatives are the links that Debian's update-alternatives makes when the
// package iptables is installed, to the programs that speak to nftables.
func alternatives(names ...string) []Link {
	var links []Link
	for _, n := range names {
		links = append(links, Link{Path: "usr/sbin/" + n, Target: "xtables-nft-multi",
			Reason: "the name that programs call; made by update-alternatives in Debian"})
	}
	return links
}

// setOf is the set of a package.
func setOf(name string) Set {
	if set, listed := Sets[name]; listed {
		return set
	}
	var all Set
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/libexec"} {
		all.Keep = append(all.Keep, Keep{Pattern: dir + "/**", Optional: true, Reason: "what the package has"})
	}
	return all
}

// left tells which files of a package without a set are of no use to running
// programs: units of systemd, data of tmpfiles and sysusers, build files.
func left(name string) bool {
	for _, dir := range []string{"usr/lib/systemd/", "usr/lib/tmpfiles.d/", "usr/lib/sysusers.d/", "usr/lib/udev/", "usr/lib/modprobe.d/", "usr/lib/debug/"} {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return slices.Contains([]string{".a", ".la", ".o", ".pc", ".h"}, path.Ext(name))
}

// Without are packages that others depend on and that are of no use in an
// image, by name with the reason.
var Without = map[string]string{
	"debconf":                 "asks questions when packages are installed",
	"debconf-2.0":             "asks questions when packages are installed",
	"adduser":                 "makes users when packages are installed",
	"init-system-helpers":     "is for maintainer scripts: init is weft's",
	"lsb-base":                "is for init scripts: init is weft's",
	"sysvinit-utils":          "is for init scripts: init is weft's",
	"iproute2":                "is for charon's updown script, which netd does not use; it brings Berkeley DB and Kerberos",
	"strongswan-starter":      "starts charon from ipsec.conf: netd starts it, and tells it by VICI what to do",
	"openssl":                 "makes links to certificates when packages are installed",
	"openssl-provider-legacy": "has MD4, DES and the like, which netd's configuration of charon turns off",
	"netbase":                 "names protocols and services for people who write rules: netd's rules have numbers",
}

// WithoutNames are the names in [Without], sorted.
func WithoutNames() []string { return slices.Sorted(maps.Keys(Without)) }

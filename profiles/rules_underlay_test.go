package profiles

import "testing"

// withUnderlay is what stands in the base, followed by keys for the cases
// below to change.
const (
	mark         = "  masquerade: {ipv4: true, ipv6: true}\n"
	withUnderlay = mark + "  underlay: "
	withFirewall = mark + "  firewall: "
)

// underlayCases are of profiles.
var underlayCases = []ruleCase{
	{"N40", "a name of 16 characters", mark, withUnderlay + "{interfaces: [abcdefghijklmnop]}\n", withUnderlay + "{interfaces: [abcdefghijklmno]}\n"},
	{"N40", "a shell pattern", mark, withUnderlay + "{interfaces: [\"eth*\"]}\n", withUnderlay + "{interfaces: [eth0.100]}\n"},
	{"N40", "a loopback address", mark, withUnderlay + "{interfaces: [127.0.0.1]}\n", withUnderlay + "{interfaces: [192.168.1.11]}\n"},
	{"N40", "a bad name of one family", mark, withUnderlay + "{ipv6: {interfaces: [\"\"]}}\n", withUnderlay + "{ipv6: {interfaces: [eth1]}}\n"},
	{"N41", "an open parenthesis", mark, withUnderlay + "{interfacesRegex: [\"^(eth\"]}\n", withUnderlay + "{interfacesRegex: [\"^(eth|en)\"]}\n"},
	{"N41", "an empty expression", mark, withUnderlay + "{interfacesRegex: [\"\"]}\n", withUnderlay + "{interfacesRegex: [\".\"]}\n"},
	{"N42", "two IPv4 addresses to reach", mark, withUnderlay + "{canReach: [192.168.1.1, 192.168.1.2]}\n", withUnderlay + "{canReach: [192.168.1.1, \"2001:db8::1\"]}\n"},
	{"N42", "a multicast address to reach", mark, withUnderlay + "{ipv4: {canReach: [224.0.0.1]}}\n", withUnderlay + "{ipv4: {canReach: [223.0.0.1]}}\n"},
	{"N43", "two IPv4 subnets", mark, withUnderlay + "{subnet: [192.168.1.0/24, 192.168.2.0/24]}\n", withUnderlay + "{subnet: [192.168.1.0/24, \"2001:db8::/64\"]}\n"},
	{"N43", "a subnet with host bits", mark, withUnderlay + "{subnet: [192.168.1.1/24]}\n", withUnderlay + "{subnet: [192.168.1.1/32]}\n"},
	{"N44", "a misspelt packet filter", mark, withFirewall + "{mode: nftable}\n", withFirewall + "{mode: iptables}\n"},
	{"N45", "an IPv6 address for IPv4", mark, withUnderlay + "{ipv4: {canReach: [\"2001:db8::1\"]}}\n", withUnderlay + "{ipv6: {canReach: [\"2001:db8::1\"]}}\n"},
	{"N45", "an IPv4 subnet for IPv6", mark, withUnderlay + "{ipv6: {subnet: [192.168.1.0/24]}}\n", withUnderlay + "{ipv4: {subnet: [192.168.1.0/24]}}\n"},
}

func TestUnderlayRules(t *testing.T) {
	tryCases(t, base, underlayCases, problemsOf(Read))
}

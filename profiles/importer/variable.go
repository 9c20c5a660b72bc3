package importer

import (
	"regexp"
	"strings"

	"weft/document"
	"weft/profiles"
)

// Keys of settings that no config.yaml has.
const (
	// keyExec is INSTALL_K3S_EXEC: arguments; its value is a word.
	keyExec = "(exec)"
	// keyVersion is the version, keyRole the role the installer is told.
	keyVersion = "(version)"
	keyRole    = "(role)"
)

// variables of both distributions, behind K3S_ or RKE2_, with their keys (k3s
// pkg/cli/cmds; rke2 pkg/cli/cmds).
var variables = map[string]string{
	"TOKEN": "token", "TOKEN_FILE": "token-file", "AGENT_TOKEN": "agent-token", "AGENT_TOKEN_FILE": "agent-token-file",
	"URL": "server", "NODE_NAME": "node-name", "DATASTORE_ENDPOINT": "datastore-endpoint",
	"DATASTORE_CAFILE": "datastore-cafile", "DATASTORE_CERTFILE": "datastore-certfile", "DATASTORE_KEYFILE": "datastore-keyfile",
	"CLUSTER_INIT": "cluster-init", "RESOLV_CONF": "resolv-conf", "KUBECONFIG_MODE": "write-kubeconfig-mode",
	"KUBECONFIG_OUTPUT": "write-kubeconfig", "KUBECONFIG_GROUP": "write-kubeconfig-group", "LB_SERVER_PORT": "lb-server-port",
	"SELINUX": "selinux", "DATA_DIR": "data-dir", "DEBUG": "debug", "VPN_AUTH": "vpn-auth", "VPN_AUTH_FILE": "vpn-auth-file",
	"SYSTEM_DEFAULT_REGISTRY": "system-default-registry", "CNI": "cni", "CLUSTER_SECRET": "token",
	"CLOUD_PROVIDER_NAME": "cloud-provider-name", "CLOUD_PROVIDER_CONFIG": "cloud-provider-config",
}

var versionLike = regexp.MustCompile(`^v?1\.\d{1,3}(\.\d{1,3})?([+-][0-9A-Za-z.+-]{1,40})?$`)

// variable reads an environment variable of a command.
func (r *reader) variable(name string, value word) []setting {
	at := r.text.of(value)
	if len(value.chars) == 0 {
		return nil
	}
	s := setting{value: value.text(), at: at, keyAt: at}
	for prefix, dist := range map[string]string{"K3S_": profiles.K3s, "RKE2_": profiles.RKE2} {
		if rest, is := strings.CutPrefix(name, "INSTALL_"+prefix); is {
			r.hints[dist] += 2
			return r.install(rest, s, value)
		}
		rest, is := strings.CutPrefix(name, prefix)
		if !is {
			continue
		}
		r.hints[dist] += 2
		if s.key = variables[rest]; s.key == "" {
			s.at.Message = name + " is not carried"
			r.tell(s.at.WithRule("A1").WithFix("set what it stands for in the profile, if it is needed"))
			return nil
		}
		if value.made && s.key != "token" && s.key != "agent-token" {
			s.at.Message = "the value of " + name + " is made by the shell"
			r.say(s.at.WithRule(document.RuleType).WithFix("write the value itself"))
			return nil
		}
		return []setting{s}
	}
	return nil
}

// install reads a variable of the installing script.
func (r *reader) install(name string, s setting, value word) []setting {
	switch name {
	case "EXEC":
		s.key, s.value = keyExec, value
		return []setting{s}
	case "VERSION", "CHANNEL":
		if !versionLike.MatchString(value.text()) {
			if name == "VERSION" {
				s.at.Message = "the version cannot be read"
				r.say(s.at.WithRule(document.RuleType).WithFix("write it like v1.33.1+k3s1"))
			}
			// stable and latest are what counts without a version too.
			return nil
		}
		s.key = keyVersion
		return []setting{s}
	case "TYPE":
		s.key = keyRole
		return []setting{s}
	}
	// The others are about how the script fetches and places the program.
	return nil
}

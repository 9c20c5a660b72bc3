package profiles

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"weft/document"
)

// ownServiceRules are what the services of a profile must keep.
var ownServiceRules = []document.Rule[Profile]{
	{ID: "N63", Source: "names are those of programs, cgroups and sockets", Check: checkServiceNames},
	{ID: "N64", Source: "init starts a service after those it needs", Check: checkServiceNeeds},
	{ID: "N65", Source: "environ(7); sd_notify(3); proc_pid_oom_score_adj(5); capabilities(7)", Check: checkServiceSettings},
}

// ServiceStages are what a service can come after beside other services.
var ServiceStages = []string{"network", "clock", "netd", "data"}

// Bounds of services.
const (
	// maxServiceName keeps the path of the notify socket within the 108 bytes
	// of a socket's name (unix(7)).
	maxServiceName = 40
	// minWatchdog keeps a busy machine from ending services that work.
	minWatchdog = 5    // seconds
	maxWatchdog = 3600 // seconds
	maxMemory   = 1 << 24
)

var serviceName = lazily(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)

// takenNames are the programs that a node has anyway.
var takenNames = append([]string{K3s, RKE2, "init", "services", "kubernetes-files"}, ServiceStages...)

// checkServiceNames wants every service to have a name of its own.
func checkServiceNames(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	seen := map[string]string{}
	for i, s := range p.Services {
		at := document.Index("services", i) + ".name"
		switch {
		case s.Name == "":
			found = append(found, d.Problem(at, "the service has no name").WithFix("give it one, such as web"))
		case !serviceName().MatchString(s.Name) || len(s.Name) > maxServiceName:
			found = append(found, d.Problem(at, fmt.Sprintf("%q is no name of a service", s.Name)).
				WithFix(fmt.Sprintf("use up to %d lower-case letters, digits, dots, hyphens and underscores", maxServiceName)))
		case slices.Contains(takenNames, s.Name):
			found = append(found, d.Problem(at, s.Name+" is something that a node has anyway").WithFix("choose another name"))
		case seen[s.Name] != "":
			found = append(found, d.Problem(at, "two services are called "+s.Name).WithNote(inLine(d, seen[s.Name], "the first is")).WithFix("give one of them another name"))
		default:
			seen[s.Name] = at
		}
	}
	return found
}

// checkServiceNeeds wants every service to need only what there is, and none
// to need itself by way of others.
func checkServiceNeeds(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	needs := map[string][]string{}
	for _, s := range p.Services {
		needs[s.Name] = slices.Concat(s.After, s.Requires)
	}
	for i, s := range p.Services {
		for _, key := range []struct {
			name string
			list []string
		}{{".after", s.After}, {".requires", s.Requires}} {
			for j, need := range key.list {
				at := document.Index(document.Index("services", i)+key.name, j)
				_, service := needs[need]
				switch {
				case need == s.Name:
					found = append(found, d.Problem(at, need+" cannot wait for itself").WithFix("remove it"))
				case !service && !slices.Contains(ServiceStages, need):
					found = append(found, d.Problem(at, fmt.Sprintf("there is no service and no stage %q", need)).
						WithFix("name a service of this profile, or one of "+strings.Join(ServiceStages, ", ")))
				case leadsTo(needs, need, s.Name, nil):
					found = append(found, d.Problem(at, fmt.Sprintf("%s and %s wait for each other", s.Name, need)).
						WithFix("remove one of the two"))
				}
			}
		}
	}
	return found
}

// leadsTo tells whether a service needs another, by way of others or not.
func leadsTo(needs map[string][]string, from, to string, seen []string) bool {
	if slices.Contains(seen, from) {
		return false
	}
	seen = append(seen, from)
	return slices.ContainsFunc(needs[from], func(n string) bool { return n == to || leadsTo(needs, n, to, seen) })
}

// checkServiceSettings checks what the kernel would refuse, or a program
// misunderstand.
func checkServiceSettings(p Profile, d *document.Document) document.Problems {
	var found document.Problems
	for i, s := range p.Services {
		at := document.Index("services", i)
		if !slices.Contains([]string{"", RestartAlways, RestartOnFailure, RestartNever}, s.Restart) {
			found = append(found, d.Problem(at+".restart", fmt.Sprintf("%q is no way to restart", s.Restart)).
				WithFix("use always, on-failure or never"))
		}
		if s.Directory != "" && (!path.IsAbs(s.Directory) || path.Clean(s.Directory) != s.Directory) {
			found = append(found, d.Problem(at+".directory", fmt.Sprintf("%q is no absolute path", s.Directory)).WithFix("write it in full, such as /var/lib/"+s.Name))
		}
		found = append(found, inRange(d, at+".watchdog", s.Watchdog, minWatchdog, maxWatchdog, "seconds")...)
		found = append(found, inRange(d, at+".memory", s.Memory, 1, maxMemory, "MiB")...)
		found = append(found, inRange(d, at+".oomScore", s.OOMScore, -1000, 1000, "as /proc/PID/oom_score_adj")...)
		for key, value := range s.Env {
			found = append(found, checkVariable(d, at+".env", key, value)...)
		}
		for j, c := range s.Capabilities {
			if c == NoCapabilities && len(s.Capabilities) == 1 {
				continue
			}
			if !slices.Contains(Capabilities, c) {
				found = append(found, d.Problem(document.Index(at+".capabilities", j), fmt.Sprintf("there is no capability %q", c)).
					WithFix("use names of capabilities(7), such as CAP_NET_BIND_SERVICE; [none] alone for none"))
			}
		}
	}
	return found
}

// checkVariable checks a variable of the environment.
func checkVariable(d *document.Document, at, key, value string) document.Problems {
	here := document.Join(at, key)
	switch {
	case key == "" || strings.ContainsAny(key, "=\x00\n "):
		return document.Problems{d.Problem(at, fmt.Sprintf("%q is no name of a variable", key)).WithFix("write it as NAME: value")}
	case strings.Contains(value, "\x00"):
		return document.Problems{d.Problem(here, "a value has no zero bytes").WithFix("remove \\0 from it")}
	case slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "INVOCATION_ID"}, key):
		return document.Problems{d.Problem(here, key+" is the supervisor's to set").WithFix("remove it")}
	}
	return nil
}

// Capabilities are the kernel's (include/uapi/linux/capability.h), by number.
var Capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

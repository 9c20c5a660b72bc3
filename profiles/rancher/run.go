package rancher

import (
	"time"

	"weft/profiles"
	"weft/profiles/kube"
)

// A Service is how K3s or RKE2 is run.
type Service struct {
	// Name is the distribution's.
	Name string
	// Path is the program, Args its arguments, Env its whole environment.
	Path string
	Args []string
	Env  []string
	// OOMScore is its oom_score_adj: negative, for its pods should go first.
	OOMScore int
	// RestartAfter is how long it stays down after it ended, at first and at
	// most.
	RestartAfter, RestartAtMost time.Duration
}

// ServiceFor is how the Kubernetes of a node is run; false when none is.
//
// The service says READY=1 on NOTIFY_SOCKET, which must be a path (an abstract
// name belongs to one network namespace), when the API server answers; on a
// Raspberry Pi that can take minutes, so nothing bounds it. To stop, it alone
// is signalled: its pods stay. INVOCATION_ID must not be set: it would take
// the cgroup driver for systemd's (k3s pkg/agent/containerd/config_linux.go).
func ServiceFor(p profiles.Profile, n profiles.Node) (Service, bool) {
	role := RoleOf(p, n)
	if role == 0 {
		return Service{}, false
	}
	name := p.Kubernetes.Distribution
	verb := "agent"
	if role == kube.Server {
		verb = "server"
	}
	return Service{
		Name: name, Path: profiles.BinDir + "/" + name, Args: []string{verb},
		Env: []string{
			"PATH=" + profiles.BinDir + ":/usr/sbin:/usr/bin:/sbin:/bin:/opt/cni/bin",
			"HOME=/root",
		},
		OOMScore: -500,
		// As K3s's own units for OpenRC and systemd (install.sh): 5 s.
		RestartAfter: 5 * time.Second, RestartAtMost: time.Minute,
	}, true
}

// Folders are those that must be there before the files of [RenderAt] are
// written, each with its mode, parents first. They are on the data partition.
func Folders(p profiles.Profile) []File {
	if !p.Kubernetes.On() {
		return nil
	}
	conf, data := confDir(p.Kubernetes), dataDir(p.Kubernetes)
	var all []File
	for _, path := range []string{
		"/etc/rancher", conf, conf + "/config.yaml.d", "/var/lib/rancher", data, data + "/agent", data + "/agent/images",
		data + "/server", data + "/server/manifests", "/var/lib/kubelet", "/opt/cni", "/opt/cni/bin",
	} {
		mode := File{Path: path, Mode: 0o755}
		if path == data+"/server" {
			mode.Mode = 0o700
		}
		all = append(all, mode)
	}
	return all
}

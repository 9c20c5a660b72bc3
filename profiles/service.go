package profiles

// Service is a program of the user's own that init starts when the node's
// network is up, and starts again when it ends.
type Service struct {
	// Name is what the service is called in the log and in the status.
	Name string `yaml:"name"`
	// Program is the program's file, a static one; it is put into
	// /usr/local/bin.
	Program Payload `yaml:"program"`
	// Args are its arguments.
	Args []string `yaml:"args,omitempty"`
	// Env is its environment, over PATH and HOME.
	Env map[string]string `yaml:"env,omitempty"`
	// Directory is where it runs, a folder that is there; / when empty.
	Directory string `yaml:"directory,omitempty"`
	// After names services of this list, and network, clock, netd and data:
	// it is started when they are there, or have failed. network and netd
	// when After and Requires are empty.
	After []string `yaml:"after,omitempty"`
	// Requires names the same, but without them it is not started.
	Requires []string `yaml:"requires,omitempty"`
	// Restart is always, on-failure (when it ends with a code that is not
	// 0) or never; always when empty. A service that ends again and again
	// stays down and the node is degraded.
	Restart string `yaml:"restart,omitempty"`
	// Notify says that it tells when it is ready, by the protocol of
	// sd_notify(3); otherwise it is ready when it has run for a second.
	Notify bool `yaml:"notify,omitempty"`
	// Watchdog is after how many seconds without WATCHDOG=1 it is taken for
	// wedged, ended and started again; never when zero.
	Watchdog int `yaml:"watchdog,omitempty"`
	// Memory is what it may hold, in MiB; beyond it is ended. No bound when
	// zero.
	Memory int `yaml:"memory,omitempty"`
	// OOMScore is -1000 to 1000: who goes first when the node has no memory
	// left; 0 when empty.
	OOMScore int `yaml:"oomScore,omitempty"`
	// Capabilities are all that it can ever have, such as CAP_NET_ADMIN;
	// every one when left out; [none] for none.
	Capabilities []string `yaml:"capabilities,omitempty"`
}

// NoCapabilities is the only element of [Service.Capabilities] for a service
// without any.
const NoCapabilities = "none"

// The values of [Service.Restart].
const (
	RestartAlways    = "always"
	RestartOnFailure = "on-failure"
	RestartNever     = "never"
)

// File is where the service's program is on a node.
func (s Service) File() string { return BinDir + "/" + s.Name }

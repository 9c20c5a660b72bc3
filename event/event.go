// Package event is the one-way channel on which a node tells the host of its
// virtual machine what it is doing.
//
// A node that finds a virtio serial port named [Port] writes one JSON object
// a line to it. Nothing is ever read from the port: the host learns, it does
// not command. Nodes without such a port lose nothing.
package event

import "encoding/json"

// Port is the name of the virtio serial port that events are written to.
const Port = "weft.events"

// Kind says what an event is about.
type Kind string

// The kinds of events.
const (
	// Step is one finished step of the boot timeline; Name is the step, such
	// as "module vxlan", Millis how long it took, Text its result or error.
	Step Kind = "step"
	// Identity says who the node is, once it knows; Data is an [Identified].
	Identity Kind = "identity"
	// Ready says that everything the profile asks for works.
	Ready Kind = "ready"
	// Degraded says that something does not; Text is the reason.
	Degraded Kind = "degraded"
	// Problem is a fault that did not stop the node; Text says what and why.
	Problem Kind = "problem"
	// Service is a line of state from a service; Name is the service.
	Service Kind = "service"
	// Status carries a service's whole status; Name is the service, Data its
	// status as JSON. That of init is a [Held], that of node the document of
	// package init/status.
	Status Kind = "status"
	// Stopping says that the node is shutting down; Text is why.
	Stopping Kind = "stopping"
)

// An Event is one line of the channel.
type Event struct {
	// Uptime is when it happened, in seconds since the kernel started.
	Uptime float64 `json:"uptime"`
	// Kind says what the event is about.
	Kind Kind `json:"kind"`
	// Name is the step or service, where the kind has one.
	Name string `json:"name,omitempty"`
	// Text is for people.
	Text string `json:"text,omitempty"`
	// Millis is a duration in milliseconds, where the kind has one.
	Millis float64 `json:"millis,omitempty"`
	// Data is for programs.
	Data json.RawMessage `json:"data,omitempty"`
}

// Identified is the data of an [Identity] event.
type Identified struct {
	// Hostname is the node's name and HostnameSource where it came from.
	Hostname       string `json:"hostname"`
	HostnameSource string `json:"hostnameSource"`
	// UUID is the node's identity and MachineID its /etc/machine-id.
	UUID      string `json:"uuid"`
	MachineID string `json:"machineID"`
}

// Held is the data of init's own [Status] event, which follows each [Ready]
// and [Degraded]: what the kernel holds, read back from it.
type Held struct {
	// Modules are the modules that have been loaded, sorted. What is built
	// into the kernel is not among them.
	Modules []string `json:"modules"`
	// Sysctls are the present values of the contract's kernel settings, and
	// of accept_ra and forwarding of each network device, by their names as
	// in sysctl(8).
	Sysctls map[string]string `json:"sysctls"`
	// Resident is the memory that programs hold, in bytes by their names:
	// the resident set of all processes called so.
	Resident map[string]int64 `json:"resident"`
}

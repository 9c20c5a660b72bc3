// Package status is what a node shows of itself: one document, written whole
// to a file in memory, served on a socket, and printed as plain text.
//
// It gathers what others did (package timeline's events, the board of package
// ready) and reads from the kernel what only the kernel knows. It decides
// nothing, changes nothing, and holds no secret: neither keys nor tokens pass
// through it.
package status

import (
	"time"

	"weft/init/ntp"
	"weft/init/storage"
	"weft/init/sysctl"
	"weft/init/trace"
)

// Format is the version of the document's form; it grows when a key changes
// its meaning or goes.
const Format = 1

// A Document is everything at one moment. Times that run out are told as what
// is left of them, in seconds, at the moment [Document.At].
type Document struct {
	// Format is [Format].
	Format int `json:"format"`
	// At is the time by the node's clock, Uptime the seconds since the kernel
	// started.
	At     time.Time `json:"at"`
	Uptime float64   `json:"uptime"`
	// State is starting, ready, degraded or stopping; Reason says why it is
	// not ready.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Node says who the node is, Image what it runs.
	Node  Node  `json:"node"`
	Image Image `json:"image"`
	// Contract is what has to work, in the order it is waited for.
	Contract []Need `json:"contract"`
	// Modules are the kernel features of the contract.
	Modules []Module `json:"modules"`
	// Sysctls are the kernel settings, wanted against actual.
	Sysctls []sysctl.Finding `json:"sysctls"`
	// Links, Routes are the node's own; those of pods are left out.
	Links  []Link  `json:"links"`
	Routes []Route `json:"routes"`
	// Resolvers and SearchDomains are what is asked for names.
	Resolvers     []string `json:"resolvers"`
	SearchDomains []string `json:"searchDomains,omitempty"`
	Clock         Clock    `json:"clock"`
	Data          Data     `json:"data"`
	// Services are what the node runs, by name.
	Services []Service `json:"services"`
	// Previous is how the boot before this one ended; nil when nothing is
	// known of it.
	Previous *trace.End `json:"previous,omitempty"`
	// Boot is the timeline, Problems the faults, each oldest first. Dropped
	// counts what no longer fits in either.
	Boot     []Step    `json:"boot"`
	Problems []Problem `json:"problems"`
	Dropped  int       `json:"dropped,omitempty"`
	// Resident is init's own memory, in bytes.
	Resident int64 `json:"resident,omitempty"`
}

// The states of a node.
const (
	Starting = "starting"
	Ready    = "ready"
	Degraded = "degraded"
	Stopping = "stopping"
)

// Node is who the node is.
type Node struct {
	// Hostname is its name, HostnameSource where it came from.
	Hostname       string `json:"hostname,omitempty"`
	HostnameSource string `json:"hostnameSource,omitempty"`
	UUID           string `json:"uuid,omitempty"`
	MachineID      string `json:"machineID,omitempty"`
	// Platform is the cloud the machine belongs to, if the firmware tells.
	Platform string `json:"platform,omitempty"`
}

// Image is what the node runs.
type Image struct {
	Version string `json:"version"`
	ID      string `json:"id"`
	Board   string `json:"board"`
	Profile string `json:"profile"`
	Kernel  string `json:"kernel"`
	// Slot is the one it was started from, when a boot loader counts.
	Slot string `json:"slot,omitempty"`
}

// A Need is one thing that has to work.
type Need struct {
	Name string `json:"name"`
	// State is pending, good or failed; Reason says why it is not good, Fix
	// what a person can do.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Fix    string `json:"fix,omitempty"`
}

// A Module is a kernel feature of the contract.
type Module struct {
	Name string `json:"name"`
	// State is loaded, builtin or failed.
	State string `json:"state"`
	// Error says why it failed, For what does not work without it.
	Error string `json:"error,omitempty"`
	For   string `json:"for,omitempty"`
}

// A Link is a network device.
type Link struct {
	Name string `json:"name"`
	// Kind is the driver kind of a virtual one, such as vxlan.
	Kind string `json:"kind,omitempty"`
	MAC  string `json:"mac,omitempty"`
	MTU  int    `json:"mtu"`
	// Up says that it is switched on, Carrier that the other side is there.
	Up      bool `json:"up"`
	Carrier bool `json:"carrier"`
	// Uplink says that init keeps it configured.
	Uplink    bool      `json:"uplink"`
	Addresses []Address `json:"addresses,omitempty"`
	// DNS and NTP are servers that the network names.
	DNS []string `json:"dns,omitempty"`
	NTP []string `json:"ntp,omitempty"`

	index int
}

// An Address is one of a link.
type Address struct {
	// Prefix is the address with the length of its network's prefix.
	Prefix string `json:"prefix"`
	// Valid and Preferred are what is left of its lifetimes, in seconds; left
	// out when it stays for ever.
	Valid     *int64 `json:"valid,omitempty"`
	Preferred *int64 `json:"preferred,omitempty"`
	// Note says what keeps it from being used: tentative, duplicate,
	// deprecated.
	Note string `json:"note,omitempty"`
}

// A Route is one of the main table.
type Route struct {
	// To is the destination, "default" for everything; Via the next hop, if
	// there is one.
	To     string `json:"to"`
	Via    string `json:"via,omitempty"`
	Device string `json:"device"`
	Metric uint32 `json:"metric,omitempty"`
	// Origin is who made it: kernel, boot, static, ra, dhcp, or a number.
	Origin string `json:"origin"`
	// Expires is what is left of its lifetime, in seconds: that of a router's
	// advertisement. Left out when it stays.
	Expires *int64 `json:"expires,omitempty"`
}

// Clock is how the node's clock stands.
type Clock struct {
	// Sane says that services which need the right time may run.
	Sane bool `json:"sane"`
	ntp.State
}

// Data is the data partition.
type Data struct {
	// Device is its device's name, empty when /data is in memory.
	Device string `json:"device,omitempty"`
	// Size and Free are in bytes.
	Size int64 `json:"size"`
	Free int64 `json:"free"`
	// ReadOnly says that the kernel has stopped writing after damage.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Errors is how often the kernel has met damage in it.
	Errors int64 `json:"errors,omitempty"`
	// Sync is how long the disk takes to make a small write durable.
	Sync *Sync `json:"sync,omitempty"`
	// Card is what the SD card or eMMC it is on says of itself; nil when it is
	// on neither.
	Card *storage.Card `json:"card,omitempty"`
	// Notes are what was done to it at this boot.
	Notes []string `json:"notes,omitempty"`
}

// Sync is a measurement of fdatasync(2), in milliseconds.
type Sync struct {
	At     time.Time `json:"at"`
	Median float64   `json:"median"`
	Worst  float64   `json:"worst"`
	// Slow says that it is slower than etcd's authors advise.
	Slow bool `json:"slow"`
}

// A Service is a program that init runs.
type Service struct {
	Name string `json:"name"`
	// Text is the last it or its supervisor said, at Uptime.
	Text   string  `json:"text"`
	Uptime float64 `json:"uptime"`
}

// A Step is one finished step of the boot.
type Step struct {
	Uptime float64 `json:"uptime"`
	Name   string  `json:"name"`
	Millis float64 `json:"millis"`
	Text   string  `json:"text,omitempty"`
}

// A Problem is a fault that did not stop the node.
type Problem struct {
	Uptime float64 `json:"uptime"`
	Name   string  `json:"name,omitempty"`
	Text   string  `json:"text"`
	// Times is how often it has come, Uptime being the last.
	Times int `json:"times,omitempty"`
}

// Healthy reports whether everything works that has to, and says what does
// not.
func (d Document) Healthy() (bool, []string) {
	var wrong []string
	for _, n := range d.Contract {
		if n.State != "good" {
			wrong = append(wrong, line(n.Name, n.State, n.Reason, n.Fix))
		}
	}
	for _, f := range sysctl.Wrong(d.Sysctls) {
		wrong = append(wrong, line("sysctl "+f.Name, "is "+orDash(f.Have)+", should be "+f.Want, f.Why, ""))
	}
	if d.Data.ReadOnly {
		wrong = append(wrong, "the data partition is read-only after damage: save what matters, then check it with e2fsck on another machine")
	}
	if len(wrong) == 0 && d.State != Ready {
		wrong = append(wrong, "the node is "+d.State)
	}
	return len(wrong) == 0, wrong
}

// line puts a name, what is wrong, why, and what to do in one line.
func line(name, what, why, fix string) string {
	text := name + ": " + what
	if why != "" {
		text += ": " + why
	}
	if fix != "" {
		text += "; " + fix
	}
	return text
}

// orDash is a text, or a dash when there is none.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

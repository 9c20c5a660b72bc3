// Package metadata asks the cloud that a node runs in what it calls the node.
//
// Which cloud it is follows from the firmware's own strings or from the label
// of a disk ([Detect]), before anything is asked: a machine that is in no
// cloud sends nothing. Each platform is a row of a table ([Platforms]); what
// its service answers is read by plain functions. The names are candidates:
// package hostname says which are sound. User data, keys and network
// configuration are not taken.
package metadata

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Data is what a platform says of the node. Any field may be empty.
type Data struct {
	// Platform is the platform's name in the table.
	Platform string `json:"platform"`
	// Hostname is the name of the node as the platform has it, unchecked.
	Hostname string `json:"hostname,omitempty"`
	// Instance is the platform's id of the machine.
	Instance string `json:"instance,omitempty"`
	// From is where the answer came from.
	From string `json:"from,omitempty"`
}

// A Platform is one cloud.
type Platform struct {
	// Name is what it is called here.
	Name string
	// Hint are the strings of the firmware that tell it; any that matches.
	Hint []Hint
	// Hosts are the addresses of its service, both families where it has
	// both. A link-local one is asked through the uplink.
	Hosts []netip.Addr
	// Token is how to get a token first; nil when none is needed.
	Token *Token
	// Headers go with each question.
	Headers map[string]string
	// Path is what is asked, Read takes the answer apart.
	Path string
	Read func(body []byte) (Data, error)
	// Time are time servers that the platform has for its machines.
	Time []string
}

// A Token is a secret that is asked for and then shown with each question.
type Token struct {
	// Path is asked by PUT with Header set to Value.
	Path, Header, Value string
	// Show is the header that carries the token.
	Show string
}

// A Hint is a string of the firmware.
type Hint struct {
	// File is its name below /sys/class/dmi/id.
	File string
	// Text is what it is, or with Prefix how it begins; case does not count.
	Text   string
	Prefix bool
}

// Bounds of asking.
const (
	// Within is the time for all of it: a node must not wait for a cloud that
	// is not there.
	Within = 8 * time.Second
	// answerWithin is the time for one answer.
	answerWithin = 2 * time.Second
	// maxAnswer bounds an answer, in bytes: some carry user data too.
	maxAnswer = 1 << 20
)

// linkLocal4 is where most clouds answer (RFC 3927's block).
var linkLocal4 = netip.MustParseAddr("169.254.169.254")

// linkLocal6 is the same in EUI-64 form, of OpenStack and Hetzner.
var linkLocal6 = netip.MustParseAddr("fe80::a9fe:a9fe")

// Platforms are the clouds known, in the order they are looked for: of two
// that match, the first counts.
func Platforms() []Platform {
	return []Platform{
		{
			Name:  "aws",
			Hint:  []Hint{{File: "sys_vendor", Text: "Amazon EC2"}, {File: "product_uuid", Text: "ec2", Prefix: true}, {File: "bios_vendor", Text: "Amazon EC2"}},
			Hosts: []netip.Addr{linkLocal4, netip.MustParseAddr("fd00:ec2::254")},
			Token: &Token{Path: "/latest/api/token", Header: "X-aws-ec2-metadata-token-ttl-seconds", Value: "300", Show: "X-aws-ec2-metadata-token"},
			Path:  "/latest/meta-data/local-hostname", Read: text,
			Time: []string{"169.254.169.123", "fd00:ec2::123"},
		},
		{
			Name:    "gce",
			Hint:    []Hint{{File: "product_name", Text: "Google Compute Engine"}, {File: "sys_vendor", Text: "Google"}},
			Hosts:   []netip.Addr{linkLocal4, netip.MustParseAddr("fd20:ce::254")},
			Headers: map[string]string{"Metadata-Flavor": "Google"},
			Path:    "/computeMetadata/v1/instance/hostname", Read: firstLabel,
			Time: []string{"169.254.169.254"},
		},
		{
			Name:    "azure",
			Hint:    []Hint{{File: "chassis_asset_tag", Text: "7783-7084-3265-9085-8269-3286-77"}},
			Hosts:   []netip.Addr{linkLocal4},
			Headers: map[string]string{"Metadata": "true"},
			Path:    "/metadata/instance?api-version=2021-08-01", Read: azure,
		},
		{
			Name: "openstack",
			Hint: []Hint{{File: "product_name", Text: "OpenStack Nova"}, {File: "product_name", Text: "OpenStack Compute"},
				{File: "chassis_asset_tag", Text: "OpenStack Nova"}, {File: "chassis_asset_tag", Text: "OpenStack Compute"}},
			Hosts: []netip.Addr{linkLocal4, linkLocal6},
			Path:  "/openstack/latest/meta_data.json", Read: openstack,
		},
		{
			Name:  "digitalocean",
			Hint:  []Hint{{File: "sys_vendor", Text: "DigitalOcean"}},
			Hosts: []netip.Addr{linkLocal4},
			Path:  "/metadata/v1.json", Read: digitalocean,
		},
		{
			Name:  "hetzner",
			Hint:  []Hint{{File: "sys_vendor", Text: "Hetzner"}},
			Hosts: []netip.Addr{linkLocal4, linkLocal6},
			Path:  "/hetzner/v1/metadata/hostname", Read: text,
		},
		{
			Name:    "linode",
			Hint:    []Hint{{File: "sys_vendor", Text: "Akamai"}, {File: "sys_vendor", Text: "Linode"}},
			Hosts:   []netip.Addr{linkLocal4, netip.MustParseAddr("fd00:a9fe:a9fe::1")},
			Token:   &Token{Path: "/v1/token", Header: "Metadata-Token-Expiry-Seconds", Value: "300", Show: "Metadata-Token"},
			Headers: map[string]string{"Accept": "application/json"},
			Path:    "/v1/instance", Read: linode,
		},
		{
			Name:    "vultr",
			Hint:    []Hint{{File: "sys_vendor", Text: "Vultr"}},
			Hosts:   []netip.Addr{linkLocal4},
			Headers: map[string]string{"Metadata-Token": "cloudinit"},
			Path:    "/v1.json", Read: vultr,
		},
		{
			Name:    "oracle",
			Hint:    []Hint{{File: "chassis_asset_tag", Text: "OracleCloud.com"}},
			Hosts:   []netip.Addr{linkLocal4, netip.MustParseAddr("fd00:c1::a9fe:a9fe")},
			Headers: map[string]string{"Authorization": "Bearer Oracle"},
			Path:    "/opc/v2/instance/", Read: oracle,
			Time: []string{"169.254.169.254"},
		},
		{
			Name:  "scaleway",
			Hint:  []Hint{{File: "sys_vendor", Text: "Scaleway"}},
			Hosts: []netip.Addr{netip.MustParseAddr("169.254.42.42"), netip.MustParseAddr("fd00:42::42")},
			Path:  "/conf?format=json", Read: scaleway,
		},
	}
}

// Detect finds the platform by the firmware's strings; false when the machine
// is in none that is known. root is the root directory.
func Detect(root string) (Platform, bool) {
	seen := map[string]string{}
	read := func(file string) string {
		if s, ok := seen[file]; ok {
			return s
		}
		data, err := os.ReadFile(filepath.Join(root, "sys/class/dmi/id", file))
		if err != nil || len(data) > 4096 {
			data = nil // a board without this string
		}
		seen[file] = strings.TrimSpace(string(data))
		return seen[file]
	}
	for _, p := range Platforms() {
		for _, h := range p.Hint {
			have := read(h.File)
			if h.Prefix && len(have) > len(h.Text) {
				have = have[:len(h.Text)]
			}
			if have != "" && strings.EqualFold(have, h.Text) {
				return p, true
			}
		}
	}
	return Platform{}, false
}

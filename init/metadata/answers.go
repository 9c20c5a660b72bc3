package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// ErrAnswer says that a service answered what cannot be used.
var ErrAnswer = errors.New("unusable answer of the metadata service")

// maxName bounds a name; the longest DNS name has 253 characters.
const maxName = 253

// text reads an answer that is the hostname itself.
func text(body []byte) (Data, error) { return named(string(body), "") }

// firstLabel reads an answer that is a full name longer than Linux takes: its
// first label tells the machine.
func firstLabel(body []byte) (Data, error) {
	label, _, _ := strings.Cut(strings.TrimSpace(string(body)), ".")
	return named(label, "")
}

// fields reads a JSON answer into fields and then makes the data of it.
func fields[T any](body []byte, data func(T) (name, instance string)) (Data, error) {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return Data{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return named(data(v))
}

func azure(body []byte) (Data, error) {
	type answer struct {
		Compute struct {
			VMID      string `json:"vmId"`
			Name      string `json:"name"`
			OSProfile struct {
				ComputerName string `json:"computerName"`
			} `json:"osProfile"`
		} `json:"compute"`
	}
	return fields(body, func(a answer) (string, string) {
		name := a.Compute.OSProfile.ComputerName
		if name == "" {
			name = a.Compute.Name
		}
		return name, a.Compute.VMID
	})
}

func openstack(body []byte) (Data, error) {
	type answer struct{ Hostname, Name, UUID string }
	return fields(body, func(a answer) (string, string) {
		if a.Hostname == "" {
			return a.Name, a.UUID
		}
		// Nova appends a domain of its own to the name of the machine.
		return strings.TrimSuffix(a.Hostname, ".novalocal"), a.UUID
	})
}

func digitalocean(body []byte) (Data, error) {
	type answer struct {
		Hostname  string      `json:"hostname"`
		DropletID json.Number `json:"droplet_id"`
	}
	return fields(body, func(a answer) (string, string) { return a.Hostname, a.DropletID.String() })
}

func linode(body []byte) (Data, error) {
	type answer struct {
		Label string      `json:"label"`
		ID    json.Number `json:"id"`
	}
	return fields(body, func(a answer) (string, string) { return a.Label, a.ID.String() })
}

func vultr(body []byte) (Data, error) {
	type answer struct {
		Hostname   string `json:"hostname"`
		InstanceID string `json:"instanceid"`
	}
	return fields(body, func(a answer) (string, string) { return a.Hostname, a.InstanceID })
}

func oracle(body []byte) (Data, error) {
	type answer struct {
		Hostname string `json:"hostname"`
		ID       string `json:"id"`
	}
	return fields(body, func(a answer) (string, string) { return a.Hostname, a.ID })
}

func scaleway(body []byte) (Data, error) {
	type answer struct {
		Hostname string `json:"hostname"`
		ID       string `json:"id"`
	}
	return fields(body, func(a answer) (string, string) { return a.Hostname, a.ID })
}

// named is the data of a name and an id. What is printed and logged must be
// one line of printable text.
func named(name, instance string) (Data, error) {
	name, instance = strings.TrimSpace(name), strings.TrimSpace(instance)
	for _, s := range []string{name, instance} {
		if len(s) > maxName || strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
			return Data{}, fmt.Errorf("%w: %.80q is no name", ErrAnswer, s)
		}
	}
	return Data{Hostname: strings.ToLower(name), Instance: instance}, nil
}

// MaxDrive bounds a file of a configuration drive, in bytes.
const MaxDrive = 1 << 20

// NoCloud reads the meta-data file of a drive labelled cidata: lines of
// key: value, of which only flat ones count (YAML or JSON in its simplest
// form, as every tool writes it).
func NoCloud(metaData []byte) (Data, error) {
	if len(metaData) > MaxDrive {
		return Data{}, fmt.Errorf("%w: meta-data has %d bytes", ErrAnswer, len(metaData))
	}
	if trimmed := strings.TrimSpace(string(metaData)); strings.HasPrefix(trimmed, "{") {
		type answer struct {
			LocalHostname string `json:"local-hostname"`
			Hostname      string `json:"hostname"`
			InstanceID    string `json:"instance-id"`
		}
		return fields([]byte(trimmed), func(a answer) (string, string) {
			if a.LocalHostname != "" {
				return a.LocalHostname, a.InstanceID
			}
			return a.Hostname, a.InstanceID
		})
	}
	values := map[string]string{}
	for line := range strings.Lines(string(metaData)) {
		key, value, found := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !found || strings.HasPrefix(key, " ") || strings.HasPrefix(key, "#") {
			continue
		}
		value, _, _ = strings.Cut(value, " #")
		values[key] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	name := values["local-hostname"]
	if name == "" {
		name = values["hostname"]
	}
	return named(name, values["instance-id"])
}

// ConfigDrive reads openstack/latest/meta_data.json of a drive labelled
// config-2.
func ConfigDrive(metaData []byte) (Data, error) {
	if len(metaData) > MaxDrive {
		return Data{}, fmt.Errorf("%w: meta_data.json has %d bytes", ErrAnswer, len(metaData))
	}
	return openstack(metaData)
}

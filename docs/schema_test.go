package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/boards"
	"weft/profiles"
	"weft/profiles/kube"
)

// enums are the fields that take one of some words.
var enums = map[string][]string{
	"Kubernetes.distribution": {profiles.K3s, profiles.RKE2, profiles.NoKubernetes},
	"Kubernetes.customCNI":    {"canal", "calico", "cilium"},
	"Backend.type":            profiles.Backends,
	"Store.type":              profiles.Stores,
	"Firewall.mode":           {profiles.FirewallNFTables, profiles.FirewallIPTables},
	"Board.arch":              boards.Architectures,
	"Kernel.signatures":       boards.Signatures,
	"Disk.table":              boards.Tables,
	"QEMU.disk":               boards.Disks,
	"QEMU.network":            boards.Networks,
	"Model.filter":            boards.Filters,
	"RaspberryPi.hdmi":        boards.Pictures,
	"RaspberryPi.bootStage":   boards.BootStages,
	"cluster.Node.role":       {"server", "agent", "node"},
	"cluster.Node.storage":    {"sd", "emmc", "ssd", "disk"},
}

// notRequired are fields that are always written, but that a file may leave
// out: to what it extends, to the Kubernetes distribution, or to a default.
var notRequired = []string{
	"Profile.description", "Profile.network", "Network.pods", "Network.backend", "Backend.type", "Board.description",
}

// settings are the fields that hold keys of a Kubernetes distribution.
var settings = []string{"Kubernetes.config", "Kubernetes.server", "Kubernetes.agent", "cluster.Node.config"}

// A schema is a part of a JSON Schema. Maps are written with sorted keys, so
// that equal schemas are equal bytes.
type schema = map[string]any

func TestSchemasSayWhatTheTypesSay(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.file, func(t *testing.T) {
			s, err := schemaOf(kind.file, kind.title, kind.folder, kind.root)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			enc := json.NewEncoder(&out)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(s); err != nil {
				t.Fatal(err)
			}
			fresh(t, filepath.Join("schema", kind.file+".json"), out.Bytes())
		})
	}
}

// schemaOf is the schema of one kind of file, JSON Schema draft 2020-12.
func schemaOf(kind, title, folder, root string) (schema, error) {
	types, err := structs(folder)
	if err != nil {
		return nil, err
	}
	defs := schema{}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if _, done := defs[name]; done {
			continue
		}
		s, ok := types[name]
		if !ok {
			return nil, fmt.Errorf("type %s is not declared", name)
		}
		qualified := short(name)
		if kind == "cluster" && qualified == name {
			qualified = "cluster." + name
		}
		properties, required := schema{}, []string{}
		for _, f := range s.fields {
			p := schemaOfType(f.typ)
			path := qualified + "." + f.key
			switch {
			case slices.Contains(settings, path):
				p = schema{"$ref": "#/$defs/settings"}
				defs["settings"] = settingsSchema()
			case enums[path] != nil:
				p["enum"] = enums[path]
			case name == root && f.key == "weft":
				p["const"] = kind + "/v1"
			}
			p["description"] = f.doc
			properties[f.key] = p
			if !f.optional && !slices.Contains(notRequired, path) {
				required = append(required, f.key)
			}
			if to := f.typ.leadsTo(); to != "" {
				queue = append(queue, to)
			}
		}
		defs[name] = schema{"type": "object", "description": s.doc, "properties": properties,
			"required": required, "additionalProperties": false}
	}
	top := defs[root].(schema)
	delete(defs, root)
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["title"] = "weft: " + title
	top["$defs"] = defs
	return top, nil
}

// schemaOfType is the schema of a value.
func schemaOfType(t typ) schema {
	switch t.kind {
	case "list":
		return schema{"type": "array", "items": schemaOfType(*t.elem)}
	case "map":
		elem := schemaOfType(*t.elem)
		if t.elem.name == "text" {
			// The value of a sysctl or label may look like a number.
			elem = schema{"type": []string{"string", "number", "boolean"}}
		}
		return schema{"type": "object", "additionalProperties": elem}
	case "struct":
		return schema{"$ref": "#/$defs/" + t.name}
	}
	switch t.name {
	case "bool":
		return schema{"type": "boolean"}
	case "int":
		return schema{"type": "integer"}
	case "prefix":
		return schema{"type": "string", "pattern": `^[0-9A-Fa-f.:]+/[0-9]{1,3}$`}
	case "address":
		return schema{"type": "string", "pattern": `^[0-9A-Fa-f.:]+(%.+)?$`}
	case "duration":
		return schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`}
	case "text":
		return schema{"type": "string"}
	}
	return schema{}
}

// settingsSchema is the schema of the keys of both distributions.
func settingsSchema() schema {
	properties := schema{}
	for _, distribution := range []string{profiles.K3s, profiles.RKE2} {
		for _, k := range kube.Keys(distribution) {
			p := schema{}
			switch k.Kind {
			case kube.Bool:
				p["type"] = "boolean"
			case kube.Int:
				p["type"] = "integer"
			case kube.List, kube.Args:
				p["type"] = []string{"array", "string"}
			default:
				p["type"] = []string{"string", "number"}
			}
			if k.Values != nil {
				p["enum"] = k.Values
			}
			about := "for all nodes"
			if k.Roles == kube.Server {
				about = "for servers"
			}
			if k.Default != "" {
				about += "; " + k.Default + " by default"
			}
			if k.Critical {
				about += "; the same on all servers"
			}
			p["description"] = strings.ToUpper(about[:1]) + about[1:] + "."
			properties[k.Name] = p
		}
	}
	return schema{"type": "object", "description": "Keys of K3s or RKE2, as in config.yaml.", "properties": properties, "additionalProperties": false}
}

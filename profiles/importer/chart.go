package importer

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"weft/document"
)

// A chart is what one HelmChartConfig says.
type chart struct {
	name   string
	values map[string]any
	place  document.Problem
	doc    *document.Document
	// custom says that it installs a network plugin on K3s.
	custom bool
}

// placeholder is a text of the documentation that stands for a value.
var placeholder = regexp.MustCompile(`^<[A-Z0-9_ -]+>$`)

// customCNI is the network plugin that a HelmChart installs on K3s, as package
// rancher writes it; "" for other objects.
func customCNI(values map[string]any) string {
	meta, _ := values["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if values["kind"] == "HelmChart" && slices.Contains([]string{"canal", "calico", "cilium"}, name) {
		return name
	}
	return ""
}

// readManifest reads a Kubernetes object.
func (im *importer) readManifest(d *document.Document, values map[string]any, text string) {
	kind := fmt.Sprint(values["kind"])
	custom := customCNI(values)
	if kind != "HelmChartConfig" && custom == "" {
		im.tell(d.Problem("kind", fmt.Sprintf("a manifest of kind %s is not copied", kind)).WithRule("A1").
			WithFix("put the file beside the profile, and name it in kubernetes.manifests: [{path: FILE}]"))
		return
	}
	meta, _ := values["metadata"].(map[string]any)
	spec, _ := values["spec"].(map[string]any)
	name, _ := meta["name"].(string)
	switch namespace, _ := meta["namespace"].(string); {
	case name == "":
		im.say(d.KeyProblem("metadata.name", "the HelmChartConfig has no name").WithRule("G6").WithFix("write the name of the chart, such as rke2-canal"))
		return
	case namespace != "kube-system":
		im.say(d.Problem("metadata.namespace", "the packaged charts are in namespace kube-system").WithRule("G6").
			WithNote("this one has no effect").WithFix("write namespace: kube-system, or leave the file out"))
		return
	}
	im.hint(strings.SplitN(name, "-", 2)[0])
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if key != "valuesContent" && custom == "" {
			im.tell(d.KeyProblem(document.Join("spec", key), fmt.Sprintf("spec.%s of a HelmChartConfig is not carried", key)).WithRule("A1").
				WithFix("put the file beside the profile, and name it in kubernetes.manifests"))
		}
	}
	content, is := spec["valuesContent"].(string)
	if !is && custom != "" {
		im.charts = append(im.charts, chart{name: name, custom: true, place: d.Problem("metadata.name", ""), doc: d})
		return
	}
	if !is {
		im.say(d.KeyProblem("spec.valuesContent", "there are no values").WithRule("G6").WithFix("write valuesContent: |- and the values below"))
		return
	}
	c := chart{name: name, custom: custom != "", place: d.Problem("metadata.name", "")}
	inner, problems := document.Parse(d.File(), []byte(nested(d, content, text)))
	if !inner.Parsed() {
		for _, p := range problems {
			im.say(p.WithRule("G6"))
		}
		return
	}
	c.doc = inner
	c.values, problems = inner.Values()
	im.problems = append(im.problems, problems...)
	im.placeholders(c.values, "", inner)
	im.charts = append(im.charts, c)
}

// nested is the text of a block value with the lines and columns it has in the
// file: what is around it becomes empty. A value that is no block keeps none.
func nested(d *document.Document, content, text string) string {
	key := d.KeyProblem("spec.valuesContent", "")
	all := strings.SplitAfter(text, "\n")
	if key.Line < 1 || key.Line > len(all) {
		return content
	}
	_, head, _ := strings.Cut(all[key.Line-1], ":")
	if head = strings.TrimSpace(head); !strings.HasPrefix(head, "|") {
		return content
	}
	var b strings.Builder
	b.WriteString(strings.Repeat("\n", key.Line))
	for _, line := range all[key.Line:] {
		body := strings.TrimLeft(line, " ")
		if strings.TrimSpace(body) != "" && len(line)-len(body) < key.Column {
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// placeholders refuses texts that stand for a value.
func (im *importer) placeholders(v any, path string, d *document.Document) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			im.placeholders(v[key], document.Join(path, key), d)
		}
	case []any:
		for i, e := range v {
			im.placeholders(e, document.Index(path, i), d)
		}
	case string:
		if !placeholder.MatchString(v) {
			return
		}
		rule, fix := document.RuleType, "write the value itself"
		switch v {
		case "<KUBE_API_SERVER_IP>":
			rule, fix = "G2", "write localhost: each RKE2 node has the API server at localhost, port 6443"
		case "<KUBE_API_SERVER_PORT>":
			rule, fix = "G2", "write 6443: each RKE2 node has the API server at localhost, port 6443"
		}
		im.say(d.Problem(path, v+" stands for a value").WithRule(rule).WithFix(fix))
	}
}

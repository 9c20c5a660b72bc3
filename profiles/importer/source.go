package importer

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// A setting is one key with its value, and where that stands.
type setting struct {
	key   string
	value any
	// at is the value's place, keyAt the key's, and words those of the
	// elements of a list.
	at, keyAt document.Problem
	words     []document.Problem
	// add says that the value goes behind what is there already.
	add bool
}

// problem is a problem at the value.
func (s setting) problem(message string) document.Problem { return at(s.at, message) }

// word is the place of element i of the value.
func (s setting) word(i int) document.Problem {
	if i < len(s.words) {
		return s.words[i]
	}
	return s.at
}

// at is a problem at a place.
func at(place document.Problem, message string) document.Problem {
	place.Message = message
	return place
}

// A config is one config.yaml or a drop-in of one.
type config struct {
	// folder is where config.yaml lies, stem its name; a drop-in has those of
	// the file it belongs to.
	folder, stem string
	dropIn       bool
	name         string
	settings     []setting
	place        document.Problem
}

// maxDocuments is how many YAML documents one file may have.
const maxDocuments = 64

// read sorts a source by its kind, and reads it.
func (im *importer) read(s Source) {
	whole := document.Problem{File: s.Name}
	if len(s.Text) > document.MaxSize {
		im.say(at(whole, fmt.Sprintf("the file is larger than %d KiB", document.MaxSize>>10)).WithRule(document.RuleText).
			WithFix("give the configuration alone"))
		return
	}
	im.hint(filepath.ToSlash(s.Name))
	text := string(s.Text)
	for line := range strings.Lines(text) {
		// The documentation begins an example with the path of its file.
		if c, is := strings.CutPrefix(strings.TrimSpace(line), "#"); is && strings.Contains(c, "/rancher/") {
			im.hint(c)
		}
	}
	switch kindOf(s.Name, text) {
	case kindYAML:
		im.readYAML(s.Name, text)
	case kindUnit:
		im.readCommands(s.Name, unitLines(text))
	case kindJSON:
		im.say(at(whole, "this is no configuration of K3s or RKE2").WithRule(document.RuleSyntax).WithFix(fragmentFix))
	default:
		im.readCommands(s.Name, text)
	}
}

// The kinds of sources.
type kind int

const (
	kindCommands kind = iota
	kindYAML
	kindUnit
	kindJSON
)

var (
	yamlLine = regexp.MustCompile(`^["']?[A-Za-z0-9_.+-]+["']?:(\s|$)`)
	unitLine = regexp.MustCompile(`^\[(Unit|Service|Install)\]`)
)

// kindOf tells what a text is, by its name and its first line that says
// something.
func kindOf(name, text string) kind {
	switch path.Ext(filepath.ToSlash(name)) {
	case ".yaml", ".yml":
		return kindYAML
	case ".service":
		return kindUnit
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "\uFEFF"))
		switch {
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";"):
			continue
		case unitLine.MatchString(line):
			return kindUnit
		case yamlLine.MatchString(line), strings.HasPrefix(line, "---"):
			return kindYAML
		case strings.HasPrefix(line, "{"), strings.HasPrefix(line, `"`):
			return kindJSON
		}
		return kindCommands
	}
	return kindYAML
}

// readYAML reads a file of one or more YAML documents.
func (im *importer) readYAML(name, text string) {
	all := documents(text)
	if len(all) > maxDocuments {
		im.say(document.Problem{File: name, Message: fmt.Sprintf("%d documents are too many", len(all))}.
			WithRule(document.RuleDocuments).WithFix("give the HelmChartConfigs alone"))
		return
	}
	for _, text := range all {
		im.readDocument(name, text, len(all) > 1)
	}
}

// documents takes a stream of YAML documents apart. Each keeps its lines'
// numbers: what is before it becomes empty lines. Documents of comments alone
// are left out, unless there is nothing else.
func documents(text string) []string {
	var (
		all    []string
		b      strings.Builder
		before int
		count  int
		says   bool
	)
	flush := func() {
		if says {
			all = append(all, b.String())
		}
		b.Reset()
		says = false
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "---") && strings.TrimSpace(line[3:]) == "" {
			flush()
			before = count + 1
		} else {
			if b.Len() == 0 {
				b.WriteString(strings.Repeat("\n", before))
				before = 0
			}
			b.WriteString(line)
			trimmed := strings.TrimSpace(line)
			says = says || trimmed != "" && !strings.HasPrefix(trimmed, "#")
		}
		count++
		if len(all) > maxDocuments {
			return all
		}
	}
	flush()
	if len(all) == 0 {
		return []string{text}
	}
	return all
}

// readDocument reads one document.
func (im *importer) readDocument(name, text string, several bool) {
	d, problems := document.Parse(name, []byte(text))
	if !d.Parsed() && len(problems) == 1 && problems[0].Rule == document.RuleDocuments && silent(text) {
		// An agent may need no setting at all.
		im.readConfig(d, name, nil)
		return
	}
	if !d.Parsed() {
		im.problems = append(im.problems, problems...)
		return
	}
	values, problems := d.Values()
	im.problems = append(im.problems, problems...)
	if values == nil {
		return
	}
	_, mirrors := values["mirrors"]
	_, configs := values["configs"]
	switch {
	case values["kind"] != nil || values["apiVersion"] != nil:
		im.readManifest(d, values, text)
	case values["container_settings"] != nil:
		im.say(d.KeyProblem("container_settings", "this is a part of a network plugin's configuration, not of K3s's or RKE2's").
			WithRule("A1").WithFix(fragmentFix))
	case mirrors || configs || strings.HasPrefix(filepath.Base(name), "registries."):
		im.readRegistries(d, values)
	case several:
		im.say(d.Problem("", "a config.yaml is one document").WithRule(document.RuleDocuments).WithFix("give it in a file of its own"))
	default:
		im.readConfig(d, name, values)
	}
}

// silent tells whether a text has comments alone.
func silent(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return strings.TrimSpace(text) != ""
}

// fragmentFix is what to do with a part of a network plugin's manifest.
const fragmentFix = "leave it out: write kubernetes.customCNI: canal or calico in the profile, and weft sets allow_ip_forwarding itself"

// readConfig reads a config.yaml or a drop-in.
func (im *importer) readConfig(d *document.Document, name string, values map[string]any) {
	c := config{name: name, place: document.Problem{File: name}}
	c.folder, c.stem = filepath.Split(filepath.Clean(name))
	c.folder = filepath.Clean(c.folder)
	if strings.HasSuffix(c.folder, ".d") {
		c.dropIn = true
		c.folder, c.stem = filepath.Dir(c.folder), strings.TrimSuffix(filepath.Base(c.folder), ".d")
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		path := document.Join("", key)
		s := setting{key: key, value: values[key], at: d.Problem(path, ""), keyAt: d.KeyProblem(path, "")}
		if list, is := s.value.([]any); is {
			for i := range list {
				s.words = append(s.words, d.Problem(document.Index(path, i), ""))
			}
		}
		s.key, s.add = strings.CutSuffix(key, "+")
		im.hintKey(s.key)
		c.settings = append(c.settings, s)
	}
	slices.SortStableFunc(c.settings, func(a, b setting) int {
		if a.keyAt.Line != b.keyAt.Line {
			return a.keyAt.Line - b.keyAt.Line
		}
		return a.keyAt.Column - b.keyAt.Column
	})
	im.configs = append(im.configs, c)
}

// readRegistries reads a registries.yaml.
func (im *importer) readRegistries(d *document.Document, values map[string]any) {
	r := profiles.Registries{Mirrors: map[string]profiles.Mirror{}, Configs: map[string]map[string]any{}}
	mirrors, _ := values["mirrors"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(mirrors)) {
		var m profiles.Mirror
		said, _ := mirrors[name].(map[string]any)
		m.Endpoints = kube.Words(said["endpoint"])
		rewrite, _ := said["rewrite"].(map[string]any)
		for from, to := range rewrite {
			if m.Rewrite == nil {
				m.Rewrite = map[string]string{}
			}
			m.Rewrite[from] = fmt.Sprint(to)
		}
		if len(m.Endpoints) == 0 {
			im.say(d.KeyProblem(document.Join("mirrors", name), "this mirror has no endpoint").WithRule(document.RuleType).WithFix("write endpoint: and a list of URLs"))
			continue
		}
		r.Mirrors[name] = m
	}
	configs, _ := values["configs"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		said, _ := configs[name].(map[string]any)
		if auth, is := said["auth"].(map[string]any); is {
			for _, v := range auth {
				im.hide(fmt.Sprint(v))
			}
			path := document.Join(document.Join("configs", name), "auth")
			im.tell(d.KeyProblem(path, "the login of a registry is a secret and is not copied").WithRule("H7").
				WithFix("put it into the cluster's secrets file; it is handed over at first boot"))
			delete(said, "auth")
		}
		if len(said) > 0 {
			r.Configs[name] = said
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key != "mirrors" && key != "configs" {
			im.say(d.KeyProblem(document.Join("", key), fmt.Sprintf("registries.yaml has no key %s", key)).
				WithRule("A1").WithFix(document.DidYouMean(key, []string{"mirrors", "configs"})))
		}
	}
	im.registries = &r
}

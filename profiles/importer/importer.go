// Package importer reads how a cluster of K3s or RKE2 is set up today (its
// config.yaml with the drop-ins, the command line that installed it, its
// systemd units, its HelmChartConfig manifests) and says the same as a profile
// and, where nodes have something of their own, a cluster file.
//
// What it cannot carry it tells, with the place, the reason and the way out.
// What breaks a rule is corrected where only one correction is possible, and
// told; else it is refused with the rule. Secrets are never copied and never
// printed.
//
// The text it reads may be hostile: sizes and counts are bounded, and nothing
// in it is run. It knows the shell's quoting but none of its programs.
package importer

import (
	"fmt"
	"strings"

	"weft/document"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/profiles/kube"
)

// Limits of what is read.
const (
	// maxSources is how many files are read at once.
	maxSources = 512
	// maxWords is how many words one file of commands may have.
	maxWords = 20_000
)

// A Source is one file that was given.
type Source struct {
	// Name is the file's path; it is used in messages, and its folder tells
	// which files belong together.
	Name string
	// Text is what is in it, at most [document.MaxSize] bytes.
	Text []byte
}

// Options are what the person who imports knows beside the files.
type Options struct {
	// Distribution is k3s or rke2; the files tell when it is empty.
	Distribution string
	// Version is the release, over the one the files tell.
	Version string
	// Role is server or agent, for nodes whose files do not tell.
	Role string
	// Name is the name of the profile; the distribution's when empty.
	Name string
}

// A File is one that was made.
type File struct {
	// Name is its name, in whichever folder it will be.
	Name string
	// Text is what is in it.
	Text []byte
	// Secret says that only its owner may read it, and that one that is there
	// already stays.
	Secret bool
}

// A Result is what became of the files.
type Result struct {
	// Profile is the profile, and Cluster the cluster, which is nil when no
	// node has anything of its own.
	Profile profiles.Profile
	Cluster *cluster.Cluster
	// Files are the two as commented YAML; none when something was refused.
	Files []File
	// Problems are what was refused (errors), and what was corrected, left
	// out or is worth knowing (warnings).
	Problems document.Problems
	// Steps are what a person still has to do, in order.
	Steps []string
}

// An importer gathers what the sources say.
type importer struct {
	options  Options
	problems document.Problems
	// secrets are texts that are never printed.
	secrets []string
	// dist is k3s or rke2.
	dist string
	// hints are the words that tell the distribution, with how often.
	hints    map[string]int
	configs  []config
	commands []command
	charts   []chart
	// registries is the content of registries.yaml.
	registries *profiles.Registries
	// sysctls are settings of the kernel.
	sysctls []setting
	// legacy is the legacy backend that was replaced; "" for none.
	legacy string
	// tokenLeft says that a token was left out.
	tokenLeft bool
}

// Import reads sources and makes the files. It touches no file but temporary
// ones, in which it checks what it made.
func Import(sources []Source, o Options) Result {
	im := &importer{options: o, hints: map[string]int{}}
	switch {
	case len(sources) == 0:
		im.say(document.Problem{Message: "there is nothing to read"}.WithFix("name a config.yaml, or a file with the command that installed the cluster"))
	case len(sources) > maxSources:
		im.say(document.Problem{Message: fmt.Sprintf("%d files are too many", len(sources))}.WithFix(fmt.Sprintf("import at most %d at once", maxSources)))
		sources = nil
	}
	for _, s := range sources {
		im.read(s)
	}
	var r Result
	if im.distribution() {
		r = im.build()
	}
	r.Problems = im.masked(append(im.problems, r.Problems...))
	if r.Problems.Errors() != nil {
		r.Files, r.Steps = nil, nil
	}
	return r
}

// say notes a problem.
func (im *importer) say(p document.Problem) { im.problems = append(im.problems, p) }

// tell notes something that was corrected or left out.
func (im *importer) tell(p document.Problem) { im.say(p.WithLevel(document.Warning)) }

// masked puts the problems in the order of their places, each once and
// without secrets.
func (im *importer) masked(all document.Problems) document.Problems {
	all.Sort()
	seen := map[document.Problem]bool{}
	kept := all[:0:0]
	for _, p := range all {
		for _, s := range im.secrets {
			hidden := strings.Repeat("*", len([]rune(s)))
			p.Source = strings.ReplaceAll(p.Source, s, hidden)
			for _, text := range []*string{&p.Message, &p.Note, &p.Fix} {
				*text = strings.ReplaceAll(*text, s, "***")
			}
		}
		if !seen[p] {
			seen[p] = true
			kept = append(kept, p)
		}
	}
	return kept
}

// hide notes a text as one that is not printed. One letter is no secret, and
// would make every line unreadable.
func (im *importer) hide(text string) {
	if len(text) > 3 {
		im.secrets = append(im.secrets, text)
	}
}

// distribution finds out what the files are for.
func (im *importer) distribution() bool {
	if im.dist = im.options.Distribution; im.dist != "" {
		return true
	}
	switch k3s, rke2 := im.hints[profiles.K3s], im.hints[profiles.RKE2]; {
	case k3s > rke2:
		im.dist = profiles.K3s
	case rke2 > k3s:
		im.dist = profiles.RKE2
	default:
		if im.problems.Errors() == nil {
			im.say(document.Problem{Message: "nothing tells whether this is for K3s or RKE2"}.
				WithRule("A1").WithFix("add --distribution k3s or --distribution rke2"))
		}
		return false
	}
	return true
}

// hint notes what a name or a key says about the distribution.
func (im *importer) hint(text string) {
	text = strings.ToLower(text)
	for _, d := range []string{profiles.K3s, profiles.RKE2} {
		if strings.Contains(text, d) {
			im.hints[d] += 2
		}
	}
}

// hintKey notes what a key of config.yaml says about the distribution: one
// that only one of them has.
func (im *importer) hintKey(key string) {
	_, k3s := kube.Find(kube.Keys(profiles.K3s), key)
	_, rke2 := kube.Find(kube.Keys(profiles.RKE2), key)
	switch {
	case k3s && !rke2:
		im.hints[profiles.K3s]++
	case rke2 && !k3s:
		im.hints[profiles.RKE2]++
	}
}

package importer

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"weft/document"
	"weft/profiles"
	"weft/profiles/kube"
)

// shape gives a value the type its key takes, where that changes nothing: a
// command line has text alone, and K3s turns its config.yaml into flags.
func (im *importer) shape(s *setting) {
	key, known := kube.Find(kube.Keys(im.dist), s.key)
	if !known {
		return
	}
	switch v := s.value.(type) {
	case string:
		im.shapeText(s, key, v)
	case bool, int, float64:
		switch key.Kind {
		case kube.Text:
			s.value = fmt.Sprint(v)
		case kube.List, kube.Args:
			if _, is := v.(bool); !is {
				s.value = []any{fmt.Sprint(v)}
			}
		}
	case []any:
		if len(v) == 1 && key.Kind == kube.Text {
			if text, is := v[0].(string); is {
				s.value = text
			}
		}
		for i, e := range v {
			if n, is := e.(int); is && (key.Kind == kube.List || key.Kind == kube.Args) {
				v[i] = strconv.Itoa(n)
			}
		}
		if key.Kind == kube.List && key.Name != "node-label" {
			s.value, s.words = parted(v, s)
		}
	}
}

// parted takes the elements of a list apart at their commas.
func parted(list []any, s *setting) (all []any, places []document.Problem) {
	for i, e := range list {
		text, is := e.(string)
		if !is {
			all, places = append(all, e), append(places, s.word(i))
			continue
		}
		for _, w := range kube.Words(text) {
			all, places = append(all, w), append(places, narrow(s.word(i), w))
		}
	}
	return all, places
}

// shapeText gives a text the type its key takes.
func (im *importer) shapeText(s *setting, key kube.Key, v string) {
	switch key.Kind {
	case kube.Bool:
		b, err := strconv.ParseBool(v)
		switch word := strings.ToLower(v); {
		case err == nil:
			s.value = b
		case word == "yes" || word == "on" || word == "no" || word == "off":
			s.value = word == "yes" || word == "on"
			im.tell(s.problem(fmt.Sprintf("%s: %s is %v to K3s, and a text to newer readers", s.key, v, s.value)).
				WithRule(document.RuleType).WithFix(fmt.Sprintf("nothing is to do: the profile says %v", s.value)))
		}
	case kube.Int:
		if n, err := strconv.Atoi(v); err == nil {
			s.value = n
		}
	case kube.Args:
		s.value = []any{v}
	case kube.List:
		var all []any
		for _, w := range kube.Words(v) {
			all = append(all, w)
			s.words = append(s.words, narrow(s.at, w))
		}
		s.value = all
	}
}

// narrow is the place of one word of a value with commas.
func narrow(place document.Problem, word string) document.Problem {
	line := []rune(place.Source)
	from := min(max(place.Column-1, 0), len(line))
	part := string(line[from:min(from+place.Width, len(line))])
	if i := strings.Index(part, word); i >= 0 && place.Line > 0 {
		place.Column += utf8.RuneCountInString(part[:i])
		place.Width = utf8.RuneCountInString(word)
	}
	return place
}

// sound leaves out of a machine what its program would skip anyway, and
// refuses what it would skip though it is meant.
func (im *importer) sound(m *machine) {
	keys := kube.Keys(im.dist)
	for _, name := range slices.Clone(m.order) {
		s := m.settings[name]
		im.secret(name, s)
		key, known := kube.Find(keys, name)
		_, ofK3s := kube.Find(kube.Keys(profiles.K3s), name)
		switch {
		case known && key.Roles&m.role == 0:
			im.tell(at(s.keyAt, fmt.Sprintf("%s is for servers; an agent skips it", name)).WithRule("A3").
				WithFix("nothing is to do: it is left out; the network is what the servers say"))
			m.drop(name)
		case known:
			for i, w := range kube.Words(s.value) {
				if placeholder.MatchString(w) {
					im.say(at(s.word(i), w+" stands for a value").WithRule(document.RuleType).WithFix("write the value itself"))
				}
			}
		case im.dist == profiles.RKE2 && ofK3s && strings.HasPrefix(name, "flannel"):
			im.say(at(s.keyAt, fmt.Sprintf("%s is a key of K3s; RKE2 skips it", name)).WithRule("A2").
				WithFix("choose the plugin with cni, and set it up with a HelmChartConfig"))
			m.drop(name)
		case im.dist == profiles.RKE2 && ofK3s:
			im.tell(at(s.keyAt, fmt.Sprintf("%s is a key of K3s; RKE2 skips it", name)).WithRule("A2").
				WithFix("nothing is to do: it is left out"))
			m.drop(name)
		default:
			p := at(s.keyAt, fmt.Sprintf("unknown key %s; %s skips it", name, map[string]string{profiles.K3s: "K3s", profiles.RKE2: "RKE2"}[im.dist])).WithRule("A1")
			if near := document.Closest(strings.TrimLeft(name, "-"), kube.Names(keys, kube.Every, profiles.Kubernetes{}.Release())); near != "" {
				p = p.WithFix("write " + near + " if that is meant, or remove it")
			} else {
				p = p.WithFix("remove it; the cluster has been running without it")
			}
			im.say(p)
			m.drop(name)
		}
	}
}

// secret hides a value that is one, and the password of a URL.
func (im *importer) secret(name string, s setting) {
	key, _ := kube.Find(kube.Keys(im.dist), name)
	if !key.Secret {
		return
	}
	for _, w := range kube.Words(s.value) {
		im.hide(w)
	}
	if text, is := s.value.(string); is {
		im.hide(text)
	}
}

// prefixes reads ranges, and clears the bits beyond their length.
func (im *importer) prefixes(s setting) []netip.Prefix {
	var all []netip.Prefix
	for i, w := range kube.Words(s.value) {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			fix := "write a range such as 10.42.0.0/16 or fd42:42::/56"
			if _, err := netip.ParseAddr(w); err == nil {
				fix = "add its length, as in 10.42.0.0/16"
			}
			im.say(at(s.word(i), fmt.Sprintf("%q is no range", w)).WithRule("B1").WithFix(fix))
			continue
		}
		if p != p.Masked() {
			im.tell(at(s.word(i), fmt.Sprintf("%s has bits beyond its length, which Kubernetes cuts off", p)).WithRule("B1").
				WithFix("nothing is to do: the profile says " + p.Masked().String()))
		}
		all = append(all, p.Masked())
	}
	return all
}

// addresses reads addresses; what is none stays with the caller.
func addresses(words []string) ([]netip.Addr, bool) {
	var all []netip.Addr
	for _, w := range words {
		a, err := netip.ParseAddr(w)
		if err != nil || a.Zone() != "" {
			return nil, false
		}
		all = append(all, a)
	}
	return all, len(all) > 0
}

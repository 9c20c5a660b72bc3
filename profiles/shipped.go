package profiles

import (
	"embed"
	"io/fs"

	"weft/document"
)

// shipped holds the profiles that come with weft. Only Names and Find refer
// to it, so the linker leaves it out of init and netd.
//
//go:embed *.yaml
var shipped embed.FS

// shelf is how they are found.
func shelf() document.Shelf[Profile] {
	return document.Shelf[Profile]{Kind: "profile", Dir: "profiles", Files: shipped, Read: Load}
}

// Names lists the profiles that come with weft, sorted.
func Names() []string { return shelf().Names() }

// Find reads a profile: a shipped one by its name, or a file by its path; see
// [document.Shelf.Find].
func Find(nameOrPath string) (Profile, *document.Document, document.Problems, error) {
	return shelf().Find(nameOrPath)
}

// An Offer is a profile that comes with weft.
type Offer struct {
	// Name is what it is called on the command line, Description what it is
	// for.
	Name        string `json:"name"`
	Description string `json:"description"`
	// Extends is the profile it is laid over; empty for none.
	Extends string `json:"extends,omitempty"`
	// Distribution is k3s, rke2 or none.
	Distribution string `json:"distribution"`
}

// Shipped lists the profiles that come with weft, sorted by name.
func Shipped() []Offer {
	var all []Offer
	for _, name := range Names() {
		data, err := fs.ReadFile(shipped, name+".yaml")
		if err != nil {
			continue // Names has just found it
		}
		d, _ := document.Parse(name+".yaml", data)
		offer := Offer{Name: name, Distribution: NoKubernetes}
		offer.Description, _ = d.Scalar("description")
		offer.Extends, _ = d.Scalar("extends")
		if p, _, _, err := Find(name); err == nil && p.Kubernetes.On() {
			offer.Distribution = p.Kubernetes.Distribution
		}
		all = append(all, offer)
	}
	return all
}

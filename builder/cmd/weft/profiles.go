package main

import (
	"fmt"

	"weft/profiles"

	"github.com/spf13/cobra"
)

// profilesCommand is weft profiles.
func (a *app) profilesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "profiles",
		Short: "List the profiles that come with weft",
		Long: `List the profiles that come with weft, each with what it is for. To make your
own, extend one of them:
  weft: profile/v1
  name: mine
  description: what it is for
  extends: k3s-flannel-vxlan`,
		Example: `  weft profiles
  weft profiles --json | jq -r '.[] | select(.distribution == "k3s") | .name'`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			offers := profiles.Shipped()
			if asJSON {
				return writeJSON(a.out, offers)
			}
			for _, o := range offers {
				if err := writeOffer(a, o); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// offerColumn is where descriptions begin: the longest name and two blanks.
const offerColumn = 24

// writeOffer prints a profile on a line, and what does not fit on the next.
func writeOffer(a *app, o profiles.Offer) error {
	for i, line := range wrap(o.Description, lineWidth-offerColumn) {
		name := o.Name
		if i > 0 {
			name = ""
		}
		if _, err := fmt.Fprintf(a.out, "%-*s%s\n", offerColumn, name, line); err != nil {
			return err
		}
	}
	return nil
}

// profileNames are those of the shipped profiles.
func profileNames() []string {
	var names []string
	for _, o := range profiles.Shipped() {
		names = append(names, o.Name)
	}
	return names
}

// completeProfiles completes a flag with the shipped profiles and what they
// are for.
func completeProfiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, o := range profiles.Shipped() {
		all = append(all, o.Name+"\t"+o.Description)
	}
	return all, cobra.ShellCompDirectiveDefault
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"weft/builder/fleet"

	"github.com/spf13/cobra"
)

// identityVariable names the file with the key that opens sealed secrets, when
// no --identity does.
const identityVariable = "WEFT_AGE_IDENTITY"

// identityFlag adds the flag --identity to a verb that reads secrets.
func (a *app) identityFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.identity, "identity", "", "key that opens sealed secrets: a file of age-keygen or a private SSH key (default $"+identityVariable+")")
}

// sealCommand is weft cluster seal.
func (a *app) sealCommand() *cobra.Command {
	var recipients, files []string
	var keep bool
	cmd := &cobra.Command{
		Use:   "seal CLUSTER.yaml",
		Short: "Seal the keys of a cluster, to keep them under version control",
		Long: `Seal the secrets file of a cluster for one or more recipients, by age
(age-encryption.org): NAME.secrets becomes NAME.secrets.age, a text that may be
under version control and that only the recipients' keys open. The open file is
overwritten and removed.

Builds read the sealed file with --identity FILE, or with the file that
` + identityVariable + ` names. To change keys: unseal, weft cluster keys, seal.`,
		Example: `  weft cluster seal home.yaml --recipient age1...
  weft cluster seal home.yaml --recipients-file ~/.ssh/id_ed25519.pub`,
		Args:              oneArg("cluster file"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, name := range files {
				data, err := os.ReadFile(name)
				if err != nil {
					return named(err)
				}
				recipients = append(recipients, string(data))
			}
			to, err := fleet.ParseRecipients(recipients)
			if err != nil {
				return usage("%w\nsee: weft cluster seal --help", err)
			}
			f, err := a.newFleet(args[0])
			if err != nil {
				return err
			}
			path := f.SecretsFile()
			s, err := fleet.ReadSecrets(path)
			if err != nil {
				return err
			}
			if s.Weft == "" {
				return usage("there is no file %s to seal; make it: weft cluster keys %s", path, args[0])
			}
			if err := s.Seal(f.Sealed(), to); err != nil {
				return err
			}
			if keep {
				fmt.Fprintf(a.out, "sealed for %d in %s; %s stays, and counts as long as it is there\n", len(to), f.Sealed(), path)
				return nil
			}
			if err := fleet.Erase(path); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "sealed for %d in %s; %s is erased\n", len(to), f.Sealed(), path)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "whom to seal for: age1..., ssh-ed25519 ... or ssh-rsa ...")
	cmd.Flags().StringArrayVar(&files, "recipients-file", nil, "file with recipients, one a line")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the open file there")
	return cmd
}

// unsealCommand is weft cluster unseal.
func (a *app) unsealCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unseal CLUSTER.yaml",
		Short: "Open the sealed keys of a cluster, to change them",
		Long: `Open the sealed secrets of a cluster, NAME.secrets.age, into NAME.secrets, which
only you can read and which counts as long as it is there. Builds need none of
this: they read the sealed file with --identity.`,
		Example:           `  weft cluster unseal home.yaml --identity ~/.ssh/id_ed25519`,
		Args:              oneArg("cluster file"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := a.newFleet(args[0])
			if err != nil {
				return err
			}
			path := f.SecretsFile()
			if _, err := os.Lstat(path); err == nil {
				return usage("%s is there already, and may have newer keys; seal it or remove it first", path)
			}
			if _, err := os.Stat(f.Sealed()); errors.Is(err, fs.ErrNotExist) {
				return usage("there is no sealed file %s", f.Sealed())
			}
			s, err := fleet.Unseal(f.Sealed(), a.identityFile())
			if err != nil {
				return named(err)
			}
			if err := s.Write(path); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "opened into %s: seal it again before it goes anywhere\n", path)
			return nil
		},
	}
	a.identityFlag(cmd)
	return cmd
}

// identityFile is where the key is that opens sealed secrets; empty for none.
func (a *app) identityFile() string {
	if a.identity != "" {
		return a.identity
	}
	return os.Getenv(identityVariable)
}

// newFleet reads a cluster file whose secrets may still be to be made.
func (a *app) newFleet(file string) (*fleet.Fleet, error) {
	if err := ofKind(file, "cluster"); err != nil {
		return nil, err
	}
	f, err := fleet.Finder{Version: version, Board: defaultBoard, NewSecrets: true, Identity: a.identityFile()}.Read(file)
	if err != nil {
		return nil, unfound(err)
	}
	return f, nil
}

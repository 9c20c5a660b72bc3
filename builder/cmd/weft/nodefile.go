package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weft/builder/file"
	"weft/profiles"

	"github.com/spf13/cobra"
)

// nodeFileCommand is weft node-file.
func (a *app) nodeFileCommand() *cobra.Command {
	var name, out, to string
	cmd := &cobra.Command{
		Use:   "node-file CLUSTER.yaml --node NAME",
		Short: "Write the node file of a node, for a card that is flashed already",
		Long: `Write the node file of one node of a cluster: the few lines that make an image
this node's, with its keys. Nothing is built.

With --to, it goes onto the boot partition of a card, mounted anywhere, whole or
not at all; a folder that is none is refused. Otherwise it is a file of yours,
CLUSTER-NODE.node.yaml or what --out says, that only you can read; it belongs
in the folder weft of the boot partition, as node.yaml.`,
		Example: `  weft node-file home.yaml --node pi-1
  weft node-file home.yaml --node pi-1 --to /media/me/BOOT`,
		Args:              oneArg("cluster file"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case name == "":
				return usage("which node? name it: --node NAME\nsee: weft node-file --help")
			case out != "" && to != "":
				return usage("--out and --to are two places; name one\nsee: weft node-file --help")
			}
			f, err := a.fleet(args[0])
			if err != nil {
				return err
			}
			i, err := f.Find(name)
			if err != nil {
				return err
			}
			all, err := members(f)
			if err != nil {
				return err
			}
			data, err := all[i].Node.YAML()
			if err != nil {
				return err
			}
			if to != "" {
				path, err := putNodeFile(to, data)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s  node %s; unmount the card before you pull it\n", path, name)
				return nil
			}
			if out == "" {
				out = f.Cluster.Name + "-" + name + ".node.yaml"
			}
			if out == "-" {
				_, err := a.out.Write(data)
				return err
			}
			if info, err := os.Stat(out); err == nil && info.IsDir() {
				return usage("--out %s: this is a folder; name a file in it\nsee: weft node-file --help", out)
			}
			if err := file.WritePrivate(out, func(f *os.File) error { _, err := f.Write(data); return err }); err != nil {
				return named(err)
			}
			fmt.Fprintf(a.out, "%s  node %s\n", out, name)
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "node", "", "name of the node")
	completeNodes(cmd, "node", cobra.ShellCompDirectiveNoFileComp)
	cmd.Flags().StringVar(&out, "out", "", "file to write, or - for the standard output (default CLUSTER-NODE.node.yaml)")
	cmd.Flags().StringVar(&to, "to", "", "folder a weft boot partition is mounted at")
	a.identityFlag(cmd)
	return cmd
}

// putNodeFile writes a node file onto the boot partition that is mounted at a
// folder, whole or not at all. The mode is left alone: a FAT file system has
// none, and refuses to change what it shows.
func putNodeFile(folder string, data []byte) (path string, err error) {
	// Every image has it beside the place of the node file.
	example := filepath.Join(folder, filepath.Dir(profiles.NodeFile), "node.example.yaml")
	info, err := os.Stat(example)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
		return "", usage("%s is no boot partition of weft: it has no file %s\nfix: mount the first FAT partition of the card, and name the folder it is mounted at", folder, "weft/node.example.yaml")
	case err != nil:
		return "", err
	}
	path = filepath.Join(folder, filepath.FromSlash(profiles.NodeFile))
	f, err := os.CreateTemp(filepath.Dir(path), "node-*.new")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return "", err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return path, errors.Join(dir.Sync(), dir.Close())
}

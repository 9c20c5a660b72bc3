package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"weft/builder/inspect"

	"github.com/spf13/cobra"
)

// inspectCommand is weft inspect.
func (a *app) inspectCommand() *cobra.Command {
	var asJSON, files bool
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Say what is in an image",
		Long: `Say what is in an image: what it was built from, its partitions, the files of
its boot partition, the node file, the state of the slots, the modules of the
root, and what is damaged. Nothing is changed and nothing needs root.`,
		Example: `  weft inspect out/x86-64-cloud-vxlan.img
  weft inspect --files out/x86-64-cloud-vxlan.img
  weft inspect --json out/x86-64-cloud-vxlan.img | jq .system.kernel`,
		Args:              oneArg("image"),
		ValidArgsFunction: completeFiles("img"),
		RunE: func(_ *cobra.Command, args []string) error {
			image, done, err := openImage(args[0])
			if err != nil {
				return err
			}
			defer done()
			report := image.Report()
			if files {
				return a.listFiles(image, asJSON)
			}
			if asJSON {
				err = writeJSON(a.out, report)
			} else {
				err = report.Write(a.out)
			}
			if err == nil && len(report.Faults) > 0 {
				return quiet{exitInput}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&files, "files", false, "list every file of the boot partition and the root")
	return cmd
}

// openImage opens an image file; the caller calls done.
func openImage(path string) (image *inspect.Image, done func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, named(err)
	}
	info, err := f.Stat()
	switch {
	case err == nil && info.IsDir():
		err = errors.New("it is a folder")
	case err == nil:
		image, err = inspect.Open(f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, nil, usage("%s is not an image weft can read: %w", path, err)
	}
	return image, func() { f.Close() }, nil
}

// listFiles prints the files of both file systems.
func (a *app) listFiles(image *inspect.Image, asJSON bool) error {
	lists := map[string][]inspect.File{}
	for _, part := range []struct {
		name string
		fsys fs.FS
		ok   bool
	}{{"boot", image.Boot, image.Boot != nil}, {"root", image.Root, image.Root != nil}} {
		if !part.ok {
			continue
		}
		files, err := inspect.Files(part.fsys)
		if err != nil {
			return err
		}
		lists[part.name] = files
	}
	if asJSON {
		return writeJSON(a.out, lists)
	}
	for _, name := range []string{"boot", "root"} {
		for _, f := range lists[name] {
			fmt.Fprintf(a.out, "%s %s %10d %s\n", name, f.Mode, f.Size, f.Path)
		}
	}
	return nil
}

package docs

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the reference pages")

// pages are the reference pages, each with the type its file is read into.
var pages = []struct{ file, title, folder, root string }{
	{"board.md", "Board files", "../boards", "Board"},
	{"profile.md", "Profile files", "../profiles", "Profile"},
	{"node.md", "Node files", "../profiles", "Node"},
	{"netd.md", "netd's configuration", "../profiles", "Netd"},
}

func TestReferencePagesSayWhatTheTypesSay(t *testing.T) {
	for _, page := range pages {
		t.Run(page.file, func(t *testing.T) {
			types, err := structs(page.folder)
			if err != nil {
				t.Fatal(err)
			}
			want, err := render(page.title, page.root, types)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join("reference", page.file)
			if *update {
				if err := os.WriteFile(name, want, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s does not say what the types say: run go test ./docs -update", name)
			}
		})
	}
}

// A structType is a struct with its doc comment and fields.
type structType struct {
	doc    string
	fields []field
}

// A field is one key of a YAML file.
type field struct{ key, typ, doc string }

// structs reads the struct types of the package in folder.
func structs(folder string) (map[string]structType, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, f)
	}
	pkg, err := doc.NewFromFiles(fset, parsed, "weft/"+filepath.Base(folder))
	if err != nil {
		return nil, err
	}
	values := constants(parsed)
	found := map[string]structType{}
	for _, typ := range pkg.Types {
		for _, spec := range typ.Decl.Specs {
			if s, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType); ok {
				found[typ.Name] = structType{plain(typ.Doc, values), fields(s, values)}
			}
		}
	}
	return found, nil
}

// constants maps the names of string constants to their values, quoted.
func constants(files []*ast.File) map[string]string {
	values := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if ok && len(spec.Values) == 1 {
				if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					values[spec.Names[0].Name] = lit.Value
				}
			}
			return true
		})
	}
	return values
}

// fields lists the fields of s that a YAML file can set.
func fields(s *ast.StructType, values map[string]string) []field {
	var list []field
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		raw, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			continue
		}
		key, _, _ := strings.Cut(reflect.StructTag(raw).Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		text := plain(f.Doc.Text(), values)
		if text == "" && len(list) > 0 {
			text = list[len(list)-1].doc // fields documented together
		}
		list = append(list, field{key, typeName(f.Type), text})
	}
	return list
}

// typeName writes a type the way a person who edits YAML thinks of it.
func typeName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.ArrayType:
		return "list of " + typeName(t.Elt)
	case *ast.MapType:
		return "map of " + typeName(t.Key) + " to " + typeName(t.Value)
	case *ast.SelectorExpr:
		return map[string]string{"Prefix": "prefix", "Addr": "address"}[t.Sel.Name]
	case *ast.Ident:
		if name, ok := map[string]string{"bool": "true or false", "int": "number"}[t.Name]; ok {
			return name
		}
		return t.Name
	}
	return "value"
}

// render writes the page of the type root and of all types it leads to.
func render(title, root string, types map[string]structType) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# %s\n\nWritten from the Go types by `go test ./docs -update`; do not edit.\n", title)
	seen := map[string]bool{}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if seen[name] {
			continue
		}
		seen[name] = true
		s, ok := types[name]
		if !ok {
			return nil, fmt.Errorf("type %s is not declared", name)
		}
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", name, s.doc)
		for _, f := range s.fields {
			if f.doc == "" {
				return nil, fmt.Errorf("%s.%s has no doc comment", name, f.key)
			}
			inner := strings.TrimPrefix(f.typ, "list of ")
			shown := f.typ
			if _, ok := types[inner]; ok {
				queue = append(queue, inner)
				shown = strings.Replace(f.typ, inner, fmt.Sprintf("[%s](#%s)", inner, strings.ToLower(inner)), 1)
			}
			fmt.Fprintf(&out, "- **`%s`** (%s): %s\n", f.key, shown, f.doc)
		}
	}
	return out.Bytes(), nil
}

// link matches a reference to another Go name in a doc comment.
var link = regexp.MustCompile(`\[([A-Za-z.]+)\]`)

// plain turns a doc comment into one paragraph of Markdown, with constants
// replaced by what they are.
func plain(comment string, values map[string]string) string {
	text := strings.Join(strings.Fields(comment), " ")
	return link.ReplaceAllStringFunc(text, func(ref string) string {
		name := strings.Trim(ref, "[]")
		if value, ok := values[name]; ok {
			return "`" + strings.Trim(value, "\"") + "`"
		}
		return "`" + name + "`"
	})
}

package docs

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// A structType is a struct with its doc comment and fields.
type structType struct {
	doc    string
	fields []field
}

// A field is one key of a YAML file.
type field struct {
	key, doc string
	typ      typ
	// optional says that the file may leave it out.
	optional bool
}

// A typ is the type of a key. Elem is that of the elements of a list or a map;
// name is that of a struct, or of a plain type: text, bool, int, prefix,
// address, duration, any.
type typ struct {
	kind string // list, map, struct, plain
	name string
	elem *typ
}

// kinds are the kinds of files, each with the type it is read into, where that
// is, and from where types are that it refers to by the name of their package.
var kinds = []struct{ file, title, folder, root string }{
	{"board", "Board files", "../boards", "Board"},
	{"profile", "Profile files", "../profiles", "Profile"},
	{"cluster", "Cluster files", "../profiles/cluster", "Cluster"},
	{"node", "Node files", "../profiles", "Node"},
	{"netd", "netd's configuration", "../profiles", "Netd"},
}

// structs reads the struct types of the package in folder, and those of
// package profiles under the name of that package.
func structs(folder string) (map[string]structType, error) {
	found, err := structsOf(folder, "")
	if err != nil {
		return nil, err
	}
	others, err := structsOf("../profiles", "profiles.")
	if err != nil {
		return nil, err
	}
	maps.Copy(found, others)
	inline(found)
	return found, nil
}

// structsOf reads the struct types of one package, with a prefix before their
// names.
func structsOf(folder, prefix string) (map[string]structType, error) {
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
	for _, t := range pkg.Types {
		for _, spec := range t.Decl.Specs {
			if s, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType); ok {
				found[prefix+t.Name] = structType{plain(t.Doc, values), fields(s, values, prefix)}
			}
		}
	}
	return found, nil
}

// inline puts the fields of inlined structs where they stand.
func inline(all map[string]structType) {
	for name, s := range all {
		var flat []field
		for _, f := range s.fields {
			if f.key == "" {
				flat = append(flat, all[f.typ.name].fields...)
				continue
			}
			flat = append(flat, f)
		}
		s.fields = flat
		all[name] = s
	}
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

// fields lists the fields of s that a YAML file can set. An inlined struct is
// a field without a key.
func fields(s *ast.StructType, values map[string]string, prefix string) []field {
	var list []field
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		raw, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			continue
		}
		key, options, _ := strings.Cut(reflect.StructTag(raw).Get("yaml"), ",")
		if key == "-" || key == "" && options != "inline" {
			continue
		}
		text := plain(f.Doc.Text(), values)
		if text == "" && len(list) > 0 {
			text = list[len(list)-1].doc // fields documented together
		}
		list = append(list, field{key, text, typeOf(f.Type, prefix), strings.Contains(options, "omitempty")})
	}
	return list
}

// typeOf is the type a person who edits YAML thinks of.
func typeOf(e ast.Expr, prefix string) typ {
	switch t := e.(type) {
	case *ast.StarExpr:
		return typeOf(t.X, prefix)
	case *ast.ArrayType:
		elem := typeOf(t.Elt, prefix)
		return typ{kind: "list", elem: &elem}
	case *ast.MapType:
		elem := typeOf(t.Value, prefix)
		return typ{kind: "map", elem: &elem}
	case *ast.SelectorExpr:
		if name, ok := map[string]string{"Prefix": "prefix", "Addr": "address", "Duration": "duration"}[t.Sel.Name]; ok {
			return typ{kind: "plain", name: name}
		}
		return typ{kind: "struct", name: t.X.(*ast.Ident).Name + "." + t.Sel.Name}
	case *ast.Ident:
		if name, ok := map[string]string{"bool": "bool", "int": "int", "string": "text", "any": "any"}[t.Name]; ok {
			return typ{kind: "plain", name: name}
		}
		return typ{kind: "struct", name: prefix + t.Name}
	}
	return typ{kind: "plain", name: "any"}
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

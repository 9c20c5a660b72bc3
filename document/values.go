package document

// Values returns what a parsed document says, by its top keys: text, true or
// false, numbers, lists and mappings of these. It is for files of other
// programs, whose keys no struct of weft names.
func (d *Document) Values() (map[string]any, Problems) {
	if !d.Parsed() {
		return nil, nil
	}
	dec := decoder{doc: d}
	free, _ := dec.free(d.root, nil, "")
	all, is := free.(map[string]any)
	if !is {
		dec.report(dec.mismatch(d.root, nil, "", "a mapping of keys to values").WithFix("write each as key: value"))
	}
	dec.problems.Sort()
	return all, dec.problems
}

package kubernetestest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
)

// mergeKeys are the lists of a node that a strategic merge patch merges, and
// by what (the patchMergeKey tags of k8s.io/api/core/v1 types.go).
var mergeKeys = map[string]string{"conditions": "type", "addresses": "type"}

// patch answers a patch of a node or its status.
func (s *Server) patch(q question) {
	strategic := false
	switch kind := q.r.Header.Get("Content-Type"); kind {
	case "application/strategic-merge-patch+json":
		strategic = true
	case "application/merge-patch+json":
	default:
		Refuse(q.w, http.StatusUnsupportedMediaType, "UnsupportedMediaType", fmt.Sprintf("the body of the request was in an unknown format %q", kind))
		return
	}
	var p Object
	if err := json.Unmarshal(q.body, &p); err != nil {
		Refuse(q.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	s.data.Lock()
	defer s.data.Unlock()
	was, found := s.objects[q.name]
	if !found {
		notFound(q)
		return
	}
	meta, _ := p["metadata"].(Object)
	if v, given := meta["resourceVersion"]; given && v != was["metadata"].(Object)["resourceVersion"] {
		Refuse(q.w, http.StatusConflict, "Conflict", "the object has been modified; please apply your changes to the latest version and try again")
		return
	}
	is := merge(clone(was), p, strategic)
	// The status subresource takes metadata and status, the object itself
	// all but status (registry/core/node strategy).
	if q.sub == "status" {
		is["spec"] = was["spec"]
	} else {
		is["status"] = was["status"]
	}
	if is = clone(is); !reflect.DeepEqual(is, clone(was)) {
		is = s.put(is)
	}
	reply(q.w, http.StatusOK, is)
}

// merge applies a patch: JSON merge (RFC 7396), or strategic merge.
func merge(to, patch Object, strategic bool) Object {
	if to == nil {
		to = Object{}
	}
	for key, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(to, key)
		case Object:
			inner, _ := to[key].(Object)
			to[key] = merge(maps.Clone(inner), v, strategic)
		case []any:
			by := mergeKeys[key]
			if !strategic || by == "" {
				to[key] = v
				continue
			}
			inner, _ := to[key].([]any)
			to[key] = mergeList(inner, v, by)
		default:
			to[key] = v
		}
	}
	return to
}

// mergeList merges lists of objects that have a key.
func mergeList(to, patch []any, by string) []any {
	to = slices.Clone(to)
	for _, p := range patch {
		p := p.(Object)
		i := slices.IndexFunc(to, func(e any) bool { return e.(Object)[by] == p[by] })
		if i < 0 {
			to = append(to, p)
			continue
		}
		to[i] = merge(maps.Clone(to[i].(Object)), p, true)
	}
	return to
}

// Package docs holds weft's documentation and keeps its reference pages true:
// they are written from the Go types that read the files they describe.
//
// To rewrite them after a type changed: go test ./docs -update
package docs

//go:build !race

package kubernetes

// raced is true when the race detector is on, which takes memory of its own.
const raced = false

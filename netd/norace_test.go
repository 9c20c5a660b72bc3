//go:build !race

package main

// measured is false when the race detector makes figures meaningless.
const measured = true

// Package qemutests boots the images that package builder makes and checks
// that the nodes keep weft's promises.
//
// It has tests only. Images are built in the test's own process, with init
// and netd compiled from the same tree; guests run under software emulation,
// which every host has and which makes their CPU time comparable. Guests are
// started and judged by package vm; file systems and partition tables are
// judged by the tools that other systems check them with.
package qemutests

// Package vm starts and watches QEMU guests: the ones `weft run` shows to a
// person and the ones the boot tests judge, by the same code.
//
// A [Config] says what the guest is; [Start] runs it as a [VM] whose console,
// events and end can be waited for. A kernel that oopses, a limit that is
// passed and a QEMU that fails end the guest at once with a [Failure] that
// carries the reason, the last lines of the console and a command line to
// reproduce it. Package hub joins guests by Ethernet without privilege, and
// [StartCluster] runs several as one.
//
// Every channel to a guest is a socket pair that QEMU inherits: there are no
// socket files, no names to collide and nothing to connect to from outside.
// Nothing outlives the process that started it: on Linux the kernel kills
// QEMU when its parent dies, elsewhere a guard process does.
//
// The package is a library: it imports no testing package (package vmtest
// does), keeps no global state and never exits. It does not build images.
package vm

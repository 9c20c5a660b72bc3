// Package bench measures a whole netd on a real etcd, in network namespaces,
// and prints each figure as a line: name value unit, and its budget if there
// is one.
//
// Everything is measured from outside, on the program as it ships: when READY
// is told, when a route is there, what CPU time the process took. Beside it
// stands what the kernel itself takes for the same messages, sent by the
// simplest of programs in the same run.
//
// The legacy backend ipsec is also measured call by call, in the process of the
// test and with a clock that stands still: a whole netd would soon have charon
// begin key exchanges with thousands of peers that do not exist.
//
// A plain go test measures a little, to see that measuring works; with -full
// it measures all of it. Run it in this folder, so that go test shows the
// lines.
package bench

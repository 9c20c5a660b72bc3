// Package chaos proves that nothing that happens to netd or to its store costs
// a packet: for a while it kills, freezes, cuts off, corrupts and clones at
// random, under continuous pings between the pods of five nodes.
//
// There are things that cannot pass without a loss, such as an address that
// changes. Each lost packet is held against what happened at that moment
// between those two nodes; one that nothing excuses is netd's fault, and fails
// the run.
package chaos

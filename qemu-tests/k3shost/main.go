//go:build linux

// Command k3shost stands in for K3s on a node of a test: it is started as K3s
// is, looks at the host as K3s, kubelet and containerd do, and says what it
// found: a line each, "ok" or "FAIL", and "host: all green" or how many are
// not as its status.
//
// What is checked is in checks.go and its neighbours, each with the place in
// K3s or Kubernetes that depends on it.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// A check is one thing that the host owes.
type check struct {
	name string
	do   func() error
}

func main() {
	if family() {
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	all := checks()
	bad := 0
	first := ""
	for _, c := range all {
		if err := c.do(); err != nil {
			bad++
			if first == "" {
				first = c.name + ": " + err.Error()
			}
			fmt.Printf("FAIL %s: %v\n", c.name, err)
			continue
		}
		fmt.Println("ok", c.name)
	}
	text := fmt.Sprintf("host: all green, %d checks", len(all))
	if bad > 0 {
		text = fmt.Sprintf("host: %d of %d checks failed, the first: %s", bad, len(all), first)
	}
	// Exactly as K3s does (coreos/go-systemd/daemon, SdNotify).
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err != nil {
		fmt.Println("FAIL notify:", err)
		os.Exit(1)
	}
	for _, message := range []string{"READY=1\n", "STATUS=" + text} {
		if _, err := conn.Write([]byte(message)); err != nil {
			fmt.Println("FAIL notify:", err)
			os.Exit(1)
		}
	}
	<-stop
}

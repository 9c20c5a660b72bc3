package vm

import "golang.org/x/sys/unix"

// bootID names the present boot of the host; empty when unknown.
func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

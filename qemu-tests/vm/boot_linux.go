package vm

import (
	"os"
	"strings"
)

// bootID names the present boot of the host (random(4)); empty when unknown.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

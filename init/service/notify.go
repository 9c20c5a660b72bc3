package service

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxNotify is the longest notification read, in bytes; sd_notify(3) sends a
// few lines.
const maxNotify = 4096

// A Notice is one message of a service, in the protocol of sd_notify(3). The
// service's process is the one that was started; MAINPID is passed over.
type Notice struct {
	// Ready says that the service has started.
	Ready bool
	// Reloading says that it reads its configuration again.
	Reloading bool
	// Stopping says that it is about to end.
	Stopping bool
	// Alive says that it works (WATCHDOG=1), Wedged that it knows that it
	// does not (WATCHDOG=trigger).
	Alive, Wedged bool
	// Every, when not 0, is the new bound between two signs of life
	// (WATCHDOG_USEC).
	Every time.Duration
	// Status, when HasStatus, describes what it is doing, for people.
	Status    string
	HasStatus bool
}

// maxWatchdog bounds the WATCHDOG_USEC of a service: beyond it there might as
// well be none.
const maxWatchdog = 24 * time.Hour

// ParseNotice reads a message: NAME=VALUE lines. What it does not know is
// passed over, as the protocol asks.
func ParseNotice(message []byte) Notice {
	var n Notice
	for line := range strings.Lines(string(message)) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		switch name {
		case "READY":
			n.Ready = n.Ready || value == "1"
		case "RELOADING":
			n.Reloading = n.Reloading || value == "1"
		case "STOPPING":
			n.Stopping = n.Stopping || value == "1"
		case "WATCHDOG":
			n.Alive = n.Alive || value == "1"
			n.Wedged = n.Wedged || value == "trigger"
		case "WATCHDOG_USEC":
			if usec, err := strconv.ParseInt(value, 10, 64); err == nil && usec > 0 && usec <= maxWatchdog.Microseconds() {
				n.Every = time.Duration(usec) * time.Microsecond
			}
		case "STATUS":
			n.Status, n.HasStatus = value, true
		}
	}
	return n
}

// listenNotify opens the socket at path that a service sends notices to. The
// directory is root's alone, which is the whole of its access control. It is
// no abstract one: those do not reach across network namespaces.
func listenNotify(path string) (*net.UnixConn, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	return conn, nil
}

// readNotices calls each for every notice until the socket is closed.
func readNotices(conn *net.UnixConn, each func(Notice)) {
	buf := make([]byte, maxNotify)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		each(ParseNotice(buf[:n]))
	}
}

package status

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// A Notifier tells the service manager how netd does, by the protocol of
// sd_notify(3). The zero value tells nobody.
type Notifier struct {
	// Socket is the value of NOTIFY_SOCKET.
	Socket string
}

// Ready says that the service has started, with a line about it.
func (n Notifier) Ready(line string) error { return n.send("READY=1\nSTATUS=" + oneLine(line)) }

// Status says a line about how the service does.
func (n Notifier) Status(line string) error { return n.send("STATUS=" + oneLine(line)) }

// Stopping says that the service is about to end.
func (n Notifier) Stopping(line string) error { return n.send("STOPPING=1\nSTATUS=" + oneLine(line)) }

// Alive says that the service works. It must come from what has to work.
func (n Notifier) Alive() error { return n.send("WATCHDOG=1") }

// WatchdogEvery is how often [Notifier.Alive] is due, by the value of
// WATCHDOG_USEC: half of it, as sd_watchdog_enabled(3) advises; 0 when nobody
// waits for it.
func WatchdogEvery(usec string) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > (24*time.Hour).Microseconds() {
		return 0
	}
	return time.Duration(n) * time.Microsecond / 2
}

func (n Notifier) send(text string) error {
	if n.Socket == "" {
		return nil
	}
	name := n.Socket
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:] // an abstract socket
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// oneLine keeps a message from being read as several.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }

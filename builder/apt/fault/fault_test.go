package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestMessages(t *testing.T) {
	inner := &Error{Kind: Network, File: "http://m.example/x", Reason: "cannot be downloaded", Err: io.ErrUnexpectedEOF, Fix: "check the network"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{New(NoMirror, "", "no mirror is set", ""), "no mirror is set"},
		{inner, "http://m.example/x: cannot be downloaded: unexpected EOF\nfix: check the network"},
		{&Error{Kind: Missing, Reason: "suite trixie", Err: inner}, "suite trixie: http://m.example/x: cannot be downloaded: unexpected EOF\nfix: check the network"},
		{&Error{Kind: Missing, Reason: "suite trixie", Err: inner, Fix: "name another"}, "suite trixie: http://m.example/x: cannot be downloaded: unexpected EOF\nfix: name another"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestKindsAreFoundThroughWrapping(t *testing.T) {
	err := fmt.Errorf("build: %w", &Error{Kind: Missing, Err: New(Network, "", "x", "")})
	if !errors.Is(err, Missing) || !errors.Is(err, Network) || errors.Is(err, Expired) {
		t.Error("errors.Is does not tell the kinds")
	}
}

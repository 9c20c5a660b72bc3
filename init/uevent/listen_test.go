package uevent

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestListeningEndsWithItsContext needs no privilege: the kernel's group may
// be heard by anyone.
func TestListeningEndsWithItsContext(t *testing.T) {
	l, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, func(Event) {}, func() {}) }()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not end")
	}
}

func TestAClosedListenerSaysSo(t *testing.T) {
	l, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context(), func(Event) {}, func() {}); err == nil {
		t.Error("no error")
	}
}

package kubernetestest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// faults are the ways in which watches misbehave.
type faults struct {
	fault  sync.Mutex
	silent bool
	cut    int
}

// Silence makes watches keep everything to themselves, though their
// connections work, until it is called with false.
func (f *faults) Silence(on bool) {
	f.fault.Lock()
	defer f.fault.Unlock()
	f.silent = on
}

// CutEvent makes the next event of a watch end after some bytes, and the
// watch with it, in good order as far as HTTP goes.
func (f *faults) CutEvent(bytes int) {
	f.fault.Lock()
	defer f.fault.Unlock()
	f.cut = bytes
}

// misbehave is what to do with an event.
func (f *faults) misbehave() (silent bool, cut int) {
	f.fault.Lock()
	defer f.fault.Unlock()
	cut, f.cut = f.cut, 0
	return f.silent, cut
}

// Intercept puts f before every request; a request for which it returns true
// is answered. Nil takes it away.
func (s *Server) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// TooManyRequests answers times requests with 429 and a Retry-After, for
// [Server.Intercept].
func TooManyRequests(times int, after time.Duration) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, _ *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if times--; times < 0 {
			return false
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(after/time.Second)))
		Refuse(w, http.StatusTooManyRequests, "TooManyRequests", "the server has received too many requests and has asked us to try again later")
		return true
	}
}

// Redirect sends every request elsewhere, for [Server.Intercept].
func Redirect(to string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return true
	}
}

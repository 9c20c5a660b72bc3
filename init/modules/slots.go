package modules

import "sync"

// Urgency says who goes first when more modules wait than may be initialised
// at once.
type Urgency int

// The urgencies. What a device or the boot itself waits for goes first: the
// answer of a DHCP server takes time that the rest can be loaded in.
const (
	Urgent Urgency = iota
	Patient
)

// slots is a semaphore that serves the urgent first.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting [2][]chan struct{} // by Urgency
}

func newSlots(n int) *slots { return &slots{free: n} }

// take waits for a slot.
func (s *slots) take(u Urgency) {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	s.waiting[u] = append(s.waiting[u], turn)
	s.mu.Unlock()
	<-turn
}

// give hands a slot on, or back.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range s.waiting {
		if w := s.waiting[u]; len(w) > 0 {
			s.waiting[u] = w[1:]
			close(w[0])
			return
		}
	}
	s.free++
}

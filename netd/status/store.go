package status

import "time"

// StoreFacts are what is known of the store, by whoever listens to it.
type StoreFacts struct {
	// Type is static, etcd or kubernetes.
	Type string
	// Error is what is wrong now; nil when the last delivery was sound.
	Error error
	// Kept says that the leases are those kept on disk of an earlier time: the
	// store has not answered yet.
	Kept bool
	// Revision is the store's number of what it last delivered; 0 when it
	// numbers nothing.
	Revision int64
	// Updated is when leases were last delivered, Errors how often something
	// was wrong instead.
	Updated time.Time
	Errors  int
	// Leases are how many there are, without this node's own.
	Leases int
	// Problems are the entries that are skipped, by key, each with what is
	// wrong with it.
	Problems []Problem
	// Granted is when this node's own lease was first and last written, zero
	// when it never was; OwnError why it cannot be.
	Granted, Renewed time.Time
	OwnError         error
	// KeepError is why what the store last said is not on disk, KeepErrors how
	// often it could not be written.
	KeepError  error
	KeepErrors int
}

// Problem is an entry of the store that is skipped.
type Problem struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// Store is the state of the store.
type Store struct {
	Type     string `json:"type,omitempty"`
	Answered bool   `json:"answered"`
	Error    string `json:"error,omitempty"`
	// Kept says that the leases are those kept on disk of an earlier time.
	Kept bool `json:"kept,omitempty"`
	// Revision is the store's number of what it last delivered.
	Revision int64 `json:"revision,omitempty"`
	// Leases are the leases of other nodes, Updated when they were last
	// delivered, Errors how often something was wrong instead.
	Leases  int        `json:"leases"`
	Updated *time.Time `json:"updated,omitempty"`
	Errors  int        `json:"errors"`
	// Problems are the entries that are skipped.
	Problems []Problem `json:"problems,omitempty"`
	// OwnSince is when this node's own lease was written, OwnRenewed when it
	// was last confirmed, OwnError why it is not.
	OwnSince   *time.Time `json:"ownSince,omitempty"`
	OwnRenewed *time.Time `json:"ownRenewed,omitempty"`
	OwnError   string     `json:"ownError,omitempty"`
	// KeepError is why what the store last said is not on disk, KeepErrors how
	// often it could not be written.
	KeepError  string `json:"keepError,omitempty"`
	KeepErrors int    `json:"keepErrors,omitempty"`
}

func storeOf(f Facts) Store {
	s := f.Store
	wrong := s.Error
	if wrong == nil {
		wrong = f.Snapshot.StoreError
	}
	return Store{Type: s.Type, Answered: f.Snapshot.StoreAnswered, Error: text(wrong), Kept: s.Kept, Revision: s.Revision,
		Leases: s.Leases, Updated: moment(s.Updated), Errors: s.Errors, Problems: s.Problems,
		OwnSince: moment(s.Granted), OwnRenewed: moment(s.Renewed), OwnError: text(s.OwnError),
		KeepError: text(s.KeepError), KeepErrors: s.KeepErrors}
}

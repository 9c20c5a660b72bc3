// Package fault is the error type of the Debian source: which file is wrong,
// why, and what a person can do about it.
//
// It knows nothing of Debian itself; the packages under builder/apt make the
// errors, and a caller decides by [Kind] with errors.Is.
package fault

import "strings"

// A Kind is what went wrong, coarse enough to decide by. Kinds are error
// values, so errors.Is(err, fault.Expired) asks whether err is of that kind.
type Kind string

// The kinds of fault.
const (
	// BadInput: what a person wrote (a mirror, a package name, a lock) is wrong.
	BadInput Kind = "bad input"
	// NoMirror: no mirror was given and none was found.
	NoMirror Kind = "no mirror"
	// UnknownPackage: the suite has no package of that name.
	UnknownPackage Kind = "unknown package"
	// NotLocked: the lock does not have what is asked for.
	NotLocked Kind = "not in the lock"
	// Unsigned: a file that must be signed is not, or not readably.
	Unsigned Kind = "unsigned"
	// ForeignKey: the signature is by a key that is not trusted.
	ForeignKey Kind = "foreign key"
	// Tampered: contents do not match the signature or the checksum.
	Tampered Kind = "tampered"
	// WrongSuite: the file is of another suite, architecture or component.
	WrongSuite Kind = "wrong suite"
	// Expired: the file's Valid-Until has passed.
	Expired Kind = "expired"
	// NotYetValid: the file is dated in the future.
	NotYetValid Kind = "not yet valid"
	// TooLarge: a limit on size or count was passed.
	TooLarge Kind = "too large"
	// Malformed: the file's structure is broken or of a form not supported.
	Malformed Kind = "malformed"
	// Missing: the mirror does not have the file.
	Missing Kind = "missing"
	// Network: the mirror could not be reached or broke off.
	Network Kind = "network"
	// Rotten: an object of the cache no longer has the contents it was
	// stored with.
	Rotten Kind = "rotten"
)

// Error makes Kind usable as the target of errors.Is.
func (k Kind) Error() string { return string(k) }

// An Error says which file is at fault, why, and the way out.
type Error struct {
	// Kind is what callers decide by.
	Kind Kind
	// File names the file, URL or object that is at fault.
	File string
	// Reason says what is wrong with it, without a full stop.
	Reason string
	// Fix tells the way out; empty when there is none beyond trying again.
	Fix string
	// Err is the cause; nil when Reason says all.
	Err error
}

// New makes an Error without a cause.
func New(kind Kind, file, reason, fix string) *Error {
	return &Error{Kind: kind, File: file, Reason: reason, Fix: fix}
}

// Error prints "file: reason: cause" and, on a line of its own, "fix: …". Of
// faults that caused each other, the outermost fix is printed.
func (e *Error) Error() string {
	text, fix := e.text()
	if fix != "" {
		text += "\nfix: " + fix
	}
	return text
}

// text returns the message without the fix, and the fix.
func (e *Error) text() (text, fix string) {
	var parts []string
	for _, s := range []string{e.File, e.Reason} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if cause, ok := e.Err.(*Error); ok {
		inner, innerFix := cause.text()
		parts, fix = append(parts, inner), innerFix
	} else if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if e.Fix != "" {
		fix = e.Fix
	}
	return strings.Join(parts, ": "), fix
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the kind of e.
func (e *Error) Is(target error) bool {
	kind, ok := target.(Kind)
	return ok && kind == e.Kind
}

package strictjson

import (
	"errors"
	"fmt"
)

// Every error of this package is an *Error that wraps one of these.
var (
	// ErrSyntax: not JSON, or JSON outside the strict subset.
	ErrSyntax = errors.New("not strict JSON")
	// ErrDuplicate: an object names a member twice.
	ErrDuplicate = errors.New("duplicate member name")
	// ErrDepth: nested deeper than MaxDepth.
	ErrDepth = errors.New("nested too deeply")
	// ErrType: well-formed, but not the type that was asked for.
	ErrType = errors.New("unexpected JSON type")
	// ErrRange: a number that does not fit.
	ErrRange = errors.New("number out of range")
)

// Error says what is wrong with a document and where. It never quotes the
// document, which may hold secrets.
type Error struct {
	Offset int    // byte offset into the text that was passed in
	Reason string // what was expected or found
	Kind   error  // one of the sentinels of this package
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v at byte %d: %s", e.Kind, e.Offset, e.Reason)
}

func (e *Error) Unwrap() error { return e.Kind }

func syntax(offset int, reason string) error {
	return &Error{Offset: offset, Reason: reason, Kind: ErrSyntax}
}

func wrongType(reason string) error {
	return &Error{Reason: reason, Kind: ErrType}
}

func outOfRange(reason string) error {
	return &Error{Reason: reason, Kind: ErrRange}
}

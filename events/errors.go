package events

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. What wraps them names the cause.
var (
	// ErrInvalid: the statement or the configuration is wrong; nothing was
	// published. Fix the input, a retry cannot help. See FieldError.
	ErrInvalid = errors.New("invalid revocation")
	// ErrUnavailable: the stream could not be asked or did not confirm. The
	// statement may or may not be stored; publish it again with the same ID.
	ErrUnavailable = errors.New("revocation stream unavailable")
	// ErrFull: the stream or its server has no room and refuses statements
	// rather than dropping living ones. An operator must make room.
	ErrFull = errors.New("revocation stream full")
	// ErrUndecodable: an event this version cannot read: a newer publisher, or
	// not a revocation. It may cover tokens, so it must not be skipped silently.
	ErrUndecodable = errors.New("undecodable revocation event")
	// ErrLayout: the stream is not configured as this version needs it.
	// `quash stream check` prints the differences, an operator resolves them.
	ErrLayout = errors.New("revocation stream layout")
	// ErrRedeemed: the one-time token was used before. See Redeemer.
	ErrRedeemed = errors.New("one-time token used before")
	// ErrNoLedger: nobody keeps a ledger of living statements. See AskWhole.
	ErrNoLedger = errors.New("nobody keeps a ledger of revocations")
)

// FieldError names the field of a Revocation or a configuration that is wrong.
// It wraps ErrInvalid.
type FieldError struct {
	Field   string // as in the JSON encoding: "key", "until", ...
	Problem string // what is wrong and what is allowed
}

func (e *FieldError) Error() string { return fmt.Sprintf("%v: %s: %s", ErrInvalid, e.Field, e.Problem) }

func (e *FieldError) Unwrap() error { return ErrInvalid }

func badField(field, format string, args ...any) error {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

package refresh

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrConfig means a field of Config is wrong. The message names it.
	ErrConfig = errors.New("refresh: invalid configuration")
	// ErrSignedOut means the session is over: the issuer refused the refresh token, and all tokens
	// have been dropped. Send the user to log in, then call SetTokens.
	ErrSignedOut = errors.New("refresh: signed out")
	// ErrClient means the issuer refused this client or its request (invalid_client and the like). The user is
	// not signed out and the tokens are kept: correct the client's configuration.
	ErrClient = errors.New("refresh: the issuer refused the client")
	// ErrUnavailable means the issuer could not be reached or could not answer. The tokens are kept: wait,
	// then send the request again. errors.As with *Error tells for how long.
	ErrUnavailable = errors.New("refresh: the issuer is not available")
	// ErrSave means Config.Save failed. The new tokens are in use in memory, but are not stored.
	ErrSave = errors.New("refresh: the new tokens could not be saved")
)

// Error is a refresh that failed. It wraps ErrSignedOut, ErrClient or ErrUnavailable.
type Error struct {
	Kind       error         // one of the sentinels
	Status     int           // status of the token endpoint; 0 if there was no answer
	Code       string        // error code of RFC 6749 section 5.2; may be empty
	RetryAfter time.Duration // no refresh is tried before this has passed; 0 if waiting does not help
	Err        error         // what went wrong on the way, if anything
}

func (e *Error) Error() string {
	text := e.Kind.Error()
	if e.Status != 0 {
		text += fmt.Sprintf(": status %d", e.Status)
	}
	if e.Code != "" {
		text += fmt.Sprintf(", error %q", e.Code)
	}
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(", next try in %s", e.RetryAfter.Round(time.Millisecond))
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives errors.Is the sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

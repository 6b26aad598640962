package verifier

import (
	"errors"
	"fmt"
)

// What a caller can branch on. Verify returns errors that wrap exactly one of the kinds of ErrInvalid, or ErrStale.
var (
	// ErrConfig means: the configuration is wrong; the text names the field. Nothing was started.
	ErrConfig = errors.New("verifier: wrong configuration")
	// ErrMissing means: the request has no access token. Ask for one (401 without an error code).
	ErrMissing = errors.New("verifier: no access token")
	// ErrRequest means: the request presents its token in a way RFC 6750 does not allow (400).
	ErrRequest = errors.New("verifier: broken request")
	// ErrScope means: the token is good and has not the scope that is needed (403).
	ErrScope = errors.New("verifier: insufficient scope")
	// ErrStale means: the token cannot be judged now, because this node's view of the revocations is too old or
	// because the issuer's keys could not be fetched, or its key set holds none. It says nothing about the token: answer 503, never 401.
	ErrStale = errors.New("verifier: cannot judge tokens now")
	// ErrUndecodable means: a statement was met that this version cannot read. Upgrade this node.
	ErrUndecodable = errors.New("verifier: a revocation could not be read")
	// ErrFull means: the denylist has no room for a new statement. Raise Config.MaxEntries.
	ErrFull = errors.New("verifier: the denylist is full")
	// ErrRetention means: the stream forgets statements before the tokens die that this verifier accepts.
	ErrRetention = errors.New("verifier: the stream forgets too early")

	// ErrInvalid is what all the kinds below are: the token is not to be accepted (401 invalid_token).
	ErrInvalid = errors.New("verifier: invalid token")
)

// The kinds of ErrInvalid.
var (
	ErrMalformed = kind("malformed")                                 // not a compact JWS, or not strict JSON inside
	ErrAlgorithm = kind("algorithm not allowed")                     // alg is not one of the issuer's
	ErrSignature = kind("bad signature")                             // the key exists and did not sign this
	ErrNoKey     = kind("no such key")                               // the issuer's key set has no key for it
	ErrType      = kind("not an access token")                       // typ, or claims of an ID, logout or event token
	ErrIssuer    = kind("unknown issuer")                            // iss is not exactly one of ours
	ErrAudience  = kind("wrong audience")                            // aud names none of ours
	ErrExpired   = kind("expired")                                   // exp is over, leeway included
	ErrNotYet    = kind("not valid yet")                             // nbf or iat lies in the future
	ErrLifetime  = kind("lives longer than revocations are kept")    // see Config.MaxTokenLife
	ErrClaims    = kind("a required claim is missing or not valid")  // absent, of the wrong type, empty or too long
	ErrOnce      = kind("a one-time token, or one where it belongs") // see Redeem
	ErrUsed      = kind("a one-time token that was used")            // by Redeem, here or on another node
	ErrRevoked   = kind("revoked")                                   // a living statement covers it
)

func kind(text string) error { return fmt.Errorf("%w: %s", ErrInvalid, text) }

// keysError says that an issuer's key set could not be had. It is ErrNoKey to whoever asks for readiness and
// ErrStale to whoever answers a request; it is not ErrInvalid, for the token may be good.
type keysError struct {
	issuer string
	why    error // nil: not asked yet
}

func (e *keysError) Error() string {
	if e.why == nil {
		return fmt.Sprintf("verifier: the keys of issuer %q were not fetched yet", e.issuer)
	}
	return fmt.Sprintf("verifier: the keys of issuer %q cannot be fetched: %v", e.issuer, e.why)
}

func (e *keysError) Is(target error) bool { return target == ErrNoKey || target == ErrStale }

func (e *keysError) Unwrap() error { return e.why }

func configError(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s %w", ErrConfig, field, fmt.Errorf(format, args...))
}

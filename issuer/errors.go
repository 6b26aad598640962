package issuer

import "errors"

// Errors that a caller may branch on.
var (
	// ErrConfig: a field of Config is unusable; the text names it. Fix the configuration.
	ErrConfig = errors.New("issuer: bad configuration")
	// ErrKey: a file in the keys directory cannot be used; the text names it. Restore it or move it away.
	ErrKey = errors.New("issuer: unusable signing key")
	// ErrNoUser: no user has this name or subject.
	ErrNoUser = errors.New("issuer: no such user")
	// ErrUserExists: the name is taken. Choose another.
	ErrUserExists = errors.New("issuer: user exists")
	// ErrUser: a field of the user is unusable; the text names it.
	ErrUser = errors.New("issuer: bad user")
	// ErrConflict: somebody else wrote the record first. Read it again and retry.
	ErrConflict = errors.New("issuer: record changed meanwhile")
	// ErrUnavailable: NATS did not answer, or the issuer has not caught up with the stream. Retry later; nothing is promised.
	ErrUnavailable = errors.New("issuer: temporarily unavailable")
	// ErrRecord: a record in the bucket is not one that the issuer wrote; the text names it. Whatever depends on it is refused
	// (it is ErrUnavailable too). Find out who may write to the bucket, see Config.Records, and restore the record.
	ErrRecord = errors.New("issuer: foreign or damaged record")
	// ErrCredentials: wrong name or wrong password; the two are never told apart.
	ErrCredentials = errors.New("issuer: wrong name or password")
	// ErrDisabled: the password was right and the account is disabled.
	ErrDisabled = errors.New("issuer: account disabled")
	// ErrThrottled: too many attempts for this account; the *ThrottledError around it says for how long.
	ErrThrottled = errors.New("issuer: too many attempts")
	// ErrGrant: the refresh token is unknown, used, expired, revoked or somebody else's. Log in again.
	ErrGrant = errors.New("issuer: invalid grant")
	// ErrOnce: a one-time token that is asked for cannot be; the text names the field.
	ErrOnce = errors.New("issuer: bad one-time token")
	// ErrToken: the access token is not one of ours, has expired or was revoked.
	ErrToken = errors.New("issuer: invalid token")
)

package verifier

import (
	"fmt"
	"time"

	"github.com/quash-auth/quash/events"
)

// StalePolicy says what happens to good tokens when the view of the revocations is older than its bound.
type StalePolicy uint8

const (
	// Deny refuses them with ErrStale. The zero value.
	Deny StalePolicy = iota
	// Allow accepts them. It is loud: Status, Stats and the log say so. It never applies before the first sync.
	Allow
)

// String returns "deny" or "allow".
func (p StalePolicy) String() string {
	if p == Allow {
		return "allow"
	}
	return "deny"
}

// FreshnessRule replaces the verifier's rule for one call.
type FreshnessRule struct {
	// MaxStaleness is the bound. Zero: the verifier's.
	MaxStaleness time.Duration
	// OnStale is the policy beyond it.
	OnStale StalePolicy
	// Set says that the rule counts. A rule that is not Set is the verifier's.
	Set bool
}

// resolve returns the rule to apply.
func (f FreshnessRule) resolve(own FreshnessRule) (FreshnessRule, error) {
	if !f.Set {
		return own, nil
	}
	if f.MaxStaleness < 0 {
		return own, configError("FreshnessRule.MaxStaleness", "is negative")
	}
	if f.OnStale > Allow {
		return own, configError("FreshnessRule.OnStale", "is neither Deny nor Allow")
	}
	if f.MaxStaleness == 0 {
		f.MaxStaleness = own.MaxStaleness
	}
	return f, nil
}

// stale is the one freshness rule. It says whether the view is too old, and whether that is an error.
func (f FreshnessRule) stale(seen events.Freshness) (bool, error) {
	switch {
	case !seen.Synced:
		return true, errNotSynced
	case seen.Staleness <= f.MaxStaleness:
		return false, nil
	case f.OnStale == Allow:
		return true, nil
	}
	return true, &staleError{seen.Staleness, f.MaxStaleness}
}

var errNotSynced = fmt.Errorf("%w: not synced with the stream of revocations yet", ErrStale)

// staleError is formatted only if somebody reads it: under an outage every request makes one.
type staleError struct{ is, bound time.Duration }

func (e *staleError) Error() string {
	return fmt.Sprintf("%v: the view of the revocations is %v old, the bound is %v", ErrStale, e.is.Round(time.Millisecond), e.bound)
}

func (e *staleError) Unwrap() error { return ErrStale }

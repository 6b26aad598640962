package events

import "time"

// Retention says how long a statement must be remembered so that no token it
// covers can outlive it. Everything that computes an Until uses it.
type Retention struct {
	// MaxTokenLife is the longest life of an access token. Verifiers refuse
	// tokens that live longer. Zero means 1 h.
	MaxTokenLife time.Duration
	// Leeway is how long after its exp a verifier may still accept a token. Zero
	// means 1 min.
	Leeway time.Duration
	// Skew is the largest difference between any two clocks of issuers,
	// publishers, verifiers and NATS.
	// Zero means 1 min.
	Skew time.Duration
}

// The defaults of a Retention.
const (
	DefaultMaxTokenLife = time.Hour
	DefaultLeeway       = time.Minute
	DefaultSkew         = time.Minute
)

// withDefaults fills what is zero.
func (r Retention) withDefaults() Retention {
	if r.MaxTokenLife == 0 {
		r.MaxTokenLife = DefaultMaxTokenLife
	}
	if r.Leeway == 0 {
		r.Leeway = DefaultLeeway
	}
	if r.Skew == 0 {
		r.Skew = DefaultSkew
	}
	return r
}

// Total is how long after a statement a covered token may still be alive.
func (r Retention) Total() time.Duration {
	r = r.withDefaults()
	return r.MaxTokenLife + r.Leeway + r.Skew
}

// Until returns until when a statement made at now must be remembered, rounded
// up to a second.
func (r Retention) Until(now time.Time) time.Time { return ceil(now.Add(r.Total())) }

// UntilExpiry returns until when a statement about one token must be
// remembered, given the token's exp; rounded up to a second.
func (r Retention) UntilExpiry(exp time.Time) time.Time {
	r = r.withDefaults()
	return ceil(exp.Add(r.Leeway + r.Skew))
}

// check refuses what no stream can promise.
func (r Retention) check() error {
	const longest = 10 * 365 * 24 * time.Hour
	for _, f := range [...]struct {
		name string
		d    time.Duration
	}{{"max_token_life", r.MaxTokenLife}, {"leeway", r.Leeway}, {"skew", r.Skew}} {
		if f.d < 0 || f.d > longest {
			return badField(f.name, "%v is not between 0 (the default) and %v", f.d, longest)
		}
	}
	return nil
}

package verifier

import (
	"errors"
	"sync/atomic"
)

// Stats are counters since New. They only grow.
type Stats struct {
	Accepted      uint64 // tokens accepted
	AcceptedStale uint64 // of them, accepted under OnStale Allow while the view was too old
	MemoHits      uint64 // tokens that were verified before, whatever became of them
	MemoMisses    uint64 // tokens that had to be verified

	// Refused tokens by kind; each token counts once.
	Malformed, Algorithm, Signature, NoKey, Type, Issuer, Audience uint64
	Expired, NotYet, Lifetime, Claims, Revoked, Once, Used         uint64
	Stale                                                          uint64 // not judged: ErrStale

	KeyReads        uint64 // readings of key sets
	KeyReadFailures uint64 // of them, failed
	WatchesRevoked  uint64 // watches ended by a statement
	WatchesExpired  uint64 // watches ended by exp
	WatchesStale    uint64 // watches ended because the view was too old
	Unusable        uint64 // events of the feed that no denylist can hold
	Redeemed        uint64 // one-time tokens used up here
}

// kinds are the refusals that are counted, in the order of counters.refused.
var kinds = [...]error{
	ErrRevoked, ErrExpired, ErrStale, ErrSignature, ErrMalformed, ErrAlgorithm, ErrNoKey, ErrType, ErrIssuer, ErrAudience,
	ErrNotYet, ErrLifetime, ErrClaims, ErrOnce, ErrUsed,
}

type counters struct {
	accepted, acceptedStale, hits, misses        atomic.Uint64
	redeemed                                     atomic.Uint64
	watchesRevoked, watchesExpired, watchesStale atomic.Uint64
	refused                                      [len(kinds)]atomic.Uint64
}

// refuse counts err under its kind and returns it.
func (c *counters) refuse(err error) error {
	for i, kind := range kinds {
		if errors.Is(err, kind) {
			c.refused[i].Add(1)
			break
		}
	}
	return err
}

func (c *counters) accept(stale bool) {
	c.accepted.Add(1)
	if stale {
		c.acceptedStale.Add(1)
	}
}

// Stats returns the counters. They are read one after the other, not at one instant.
func (v *Verifier) Stats() Stats {
	c := &v.counters
	s := Stats{
		Accepted: c.accepted.Load(), AcceptedStale: c.acceptedStale.Load(),
		MemoHits: c.hits.Load(), MemoMisses: c.misses.Load(),
		WatchesRevoked: c.watchesRevoked.Load(), WatchesExpired: c.watchesExpired.Load(), WatchesStale: c.watchesStale.Load(),
		Unusable: v.unusable.Load(), Redeemed: c.redeemed.Load(),
	}
	for i, field := range [...]*uint64{
		&s.Revoked, &s.Expired, &s.Stale, &s.Signature, &s.Malformed, &s.Algorithm, &s.NoKey, &s.Type, &s.Issuer, &s.Audience,
		&s.NotYet, &s.Lifetime, &s.Claims, &s.Once, &s.Used,
	} {
		*field = c.refused[i].Load()
	}
	for _, iss := range v.issuers {
		s.KeyReads += iss.keys.reads.Load()
		s.KeyReadFailures += iss.keys.failures.Load()
	}
	return s
}

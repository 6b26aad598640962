package issuer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// step is how a session goes on: rotate within itself, or renew by an heir.
type step func(ctx context.Context, s *session, secret []byte, asked []string, issued time.Time) (*grant, error)

// refresh takes the next step. client is nil if the request named none. Errors: ErrGrant, errBadScope, ErrUnavailable.
func (i *Issuer) refresh(ctx context.Context, raw string, client *Client, want string, next step) (*grant, error) {
	if err := i.current(); err != nil {
		return nil, err
	}
	sid, secret, ok := parseRefreshToken(raw)
	if !ok {
		return nil, ErrGrant
	}
	for round := range maxRounds {
		issued := i.cfg.Now() // before the marks are read, see raise
		var s *session
		var err error
		if round == 0 {
			s = i.recent.recall(sid, secret, issued)
		}
		if s == nil {
			s, err = i.session(ctx, sid)
		}
		if err != nil {
			return nil, err
		}
		if s == nil || !s.madeHere(secret) || !i.mayUse(s, client) || s.Next == "" && (s.State != live || s.expired(issued)) {
			return nil, ErrGrant
		}
		if c, _ := i.client(s.Client); !c.may(GrantRefresh) {
			return nil, errGrantNotAllowed
		}
		if s.Next != "" {
			return i.renewed(ctx, s, secret, want, issued)
		}
		again := false // the same successor once more
		if !same(s.Current, secret) {
			if again = i.mayRepeat(s, secret, issued); !again {
				return nil, i.reused(ctx, s)
			}
		}
		asked, err := s.narrow(want)
		if err != nil {
			return nil, err
		}
		if again {
			scope, err := i.stillGranted(ctx, s, asked)
			if err != nil {
				return nil, err
			}
			return i.grant(s, s.successor(secret, s.Salt), scope, issued)
		}
		g, err := i.goOn(ctx, s, secret, asked, issued, next)
		if errors.Is(err, ErrGrant) { // perhaps only because another request has renewed it and published that
			if now, err := i.session(ctx, sid); err == nil && now != nil && now.Next != "" {
				continue
			}
		}
		if errors.Is(err, ErrConflict) {
			continue // somebody else rotated or ended it: look what became of it
		}
		return g, err
	}
	return nil, errContended
}

// goOn looks at the denylist before the step: a client that is refused must not hold a token that was used up meanwhile, or its
// next attempt looks like theft.
func (i *Issuer) goOn(ctx context.Context, s *session, secret []byte, asked []string, issued time.Time, next step) (*grant, error) {
	covered, err := i.covered(s)
	if err != nil {
		return nil, err
	}
	if covered {
		return nil, ErrGrant
	}
	return next(ctx, s, secret, asked, issued)
}

// rotate stores the successor, and meanwhile looks whether something wider has ended the session, in which case it does no harm
// that it was rotated, and signs.
func (i *Issuer) rotate(ctx context.Context, s *session, secret []byte, asked []string, issued time.Time) (*grant, error) {
	if err := i.step("rotate"); err != nil {
		return nil, err
	}
	next := s.rotate(secret, issued, i.cfg.RefreshIdle)
	type answer struct {
		g   *grant
		err error
	}
	judged := make(chan answer, 1)
	go func(s session) { // a copy: the other one gets a new revision
		var g *grant
		err := contained(func() error {
			scope, err := i.stillGranted(ctx, &s, asked)
			if err == nil {
				g, err = i.grant(&s, next, scope, issued)
			}
			return err
		})
		judged <- answer{g, err}
	}(*s)
	era := i.recent.now()
	err := i.writeSession(ctx, s)
	a := <-judged
	switch {
	case errors.Is(a.err, ErrGrant):
		return nil, a.err
	case errors.Is(err, ErrConflict):
		return nil, err
	}
	if err == nil {
		err = i.step("rotated")
	}
	if err = errors.Join(err, a.err); err != nil { // the client keeps its token and must be able to try again
		i.unanswered.add(s, issued)
		return nil, unavailable(err)
	}
	i.recent.keep(s, era, issued.Add(i.retention.MaxTokenLife))
	return a.g, nil
}

// mayUse: the token is bound to its client (RFC 6749 §6). A confidential client must have authenticated.
func (i *Issuer) mayUse(s *session, client *Client) bool {
	if client != nil {
		return client.ID == s.Client
	}
	c, ok := i.usable(s.Client)
	return ok && c.Public
}

// mayRepeat: the presented token is the one just before, and either the grace runs, counted from the rotation or renewal, or
// this replica knows that it was never answered.
func (i *Issuer) mayRepeat(s *session, secret []byte, now time.Time) bool {
	before := s.Prev
	if s.Next != "" {
		before = s.Current
	}
	if !same(before, secret) {
		return false
	}
	// It may have been rotated after now was taken, or by a replica whose clock is ahead.
	since := now.Sub(time.UnixMilli(s.Rotated)).Abs()
	return since < i.cfg.ReuseGrace || i.unanswered.has(s, now)
}

// reused ends the session everywhere.
func (i *Issuer) reused(ctx context.Context, s *session) error {
	_, err := i.Revoke(ctx, events.Revocation{Scope: events.Session, Key: s.sid, By: "system", Reason: "refresh token used twice"})
	if err != nil {
		return err
	}
	return ErrGrant
}

var errBadScope = errors.New("issuer: the scope exceeds the one granted")

// stillGranted reads everything wider than the session that may have ended it, and returns those of the asked scopes that the user
// and the client still have.
func (i *Issuer) stillGranted(ctx context.Context, s *session, asked []string) ([]string, error) {
	m, u, err := i.standing(ctx, s.Sub, s.Client)
	switch {
	case errors.Is(err, ErrNoUser):
		return nil, ErrGrant
	case err != nil:
		return nil, err
	case u.Disabled, m.over(s):
		return nil, ErrGrant
	}
	covered, err := i.covered(s) // again: a statement may have arrived during the reads
	if err != nil {
		return nil, err
	}
	if covered {
		return nil, ErrGrant
	}
	client, ok := i.usable(s.Client)
	if !ok {
		return nil, ErrGrant
	}
	has := client.grant(u.Scopes)
	return slices.DeleteFunc(slices.Clone(asked), func(x string) bool { return !identityScope(x) && !slices.Contains(has, x) }), nil
}

// covered asks the denylist for statements of others that are not in the records yet. The session is as old as its login.
func (i *Issuer) covered(s *session) (bool, error) {
	ref := i.deny.Ref(cache.Claims{Issuer: i.cfg.Issuer, Session: s.sid, Subject: s.Sub, Client: s.Client,
		IssuedAt: s.Auth, HasIssuedAt: true, Gen: s.Gen, HasGen: true})
	if !i.deny.Check(&ref).Revoked {
		return false, nil
	}
	if err := i.current(); err != nil { // stopped meanwhile: a closed denylist covers everything
		return false, err
	}
	return true, nil
}

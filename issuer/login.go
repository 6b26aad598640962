package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// grant is what a login or a refresh gives.
type grant struct {
	session *session
	access  string
	life    time.Duration
	refresh string
	scope   []string
}

// login checks the password and starts a session. Errors: ErrCredentials, ErrDisabled, ErrThrottled, ErrUnavailable.
func (i *Issuer) login(ctx context.Context, name, password string, client Client, address string) (*grant, error) {
	if err := i.current(); err != nil {
		return nil, err
	}
	account := foldName(name)
	attempt, err := i.throttle.take(ctx, account, address)
	if err != nil {
		return nil, err
	}
	g, err := i.start(ctx, name, password, client)
	if err != nil && !errors.Is(err, ErrDisabled) {
		return nil, err
	}
	if err := i.throttle.give(ctx, attempt, account, address); err != nil && !errors.Is(err, ErrThrottled) {
		i.log.Warn("login attempt not given back", "error", err)
	}
	return g, err
}

// start reads in an order that leaves no gap for a revocation, a disabling or a new password: first the marks, then the user,
// and the marks again when the session is stored. Disabling writes the user first and the mark second, so whoever
// misses the first sees the second.
func (i *Issuer) start(ctx context.Context, name, password string, client Client) (*grant, error) {
	checked := "" // the hash that the password matched: hashing again would tell nothing new and cost a lot
	for range maxRounds {
		issued := i.cfg.Now()
		u, err := i.users.ByName(ctx, name)
		known := err == nil
		if !known {
			if !errors.Is(err, ErrNoUser) {
				return nil, unavailable(err)
			}
			u.Sub = "unknown" // the same reads, so that it takes the same time
		}
		m, err := i.marks(ctx, u.Sub, client.ID)
		if err != nil {
			return nil, err
		}
		if u, err = i.users.Get(ctx, u.Sub); err != nil && !errors.Is(err, ErrNoUser) {
			return nil, unavailable(err)
		}
		if !known {
			u = User{}
		}
		if checked == "" || u.PasswordHash != checked {
			ok, err := i.passwords.matches(ctx, u.PasswordHash, password)
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, ErrCredentials
			}
			checked = u.PasswordHash
		}
		if u.Disabled {
			return nil, ErrDisabled
		}
		again, err := i.hold(ctx, m, u.Sub, client.ID)
		if err != nil {
			return nil, err
		}
		if again {
			continue
		}
		s, secret := newSession(issued, i.cfg.RefreshIdle, i.cfg.RefreshAbsolute)
		s.Sub, s.Client, s.Gen, s.Scope = u.Sub, client.ID, m.subject.Gen, client.grant(u.Scopes)
		if err := i.writeSession(ctx, s); err != nil {
			return nil, err
		}
		if err := i.step("session"); err != nil {
			return nil, err
		}
		if m, err = i.marks(ctx, u.Sub, client.ID); err != nil {
			return nil, err
		}
		if m.over(s) { // a revocation came between: this session is older than it
			if _, err := i.store.put(ctx, write{key: sessionKey(s.sid), revision: s.revision}); err != nil {
				return nil, err
			}
			continue
		}
		return i.grant(s, secret, s.Scope, issued)
	}
	return nil, errContended
}

// holdAtMost is how long a login waits for the second after a cutoff.
const holdAtMost = 2 * time.Second

// hold makes a fresh login differ from what was revoked: it raises the generation to one that somebody else published, and waits
// for the next second after a cutoff (iat is in whole seconds, so tokens of the same second are covered by it). It
// reports whether the login must look again.
func (i *Issuer) hold(ctx context.Context, m marks, sub, client string) (again bool, err error) {
	if e, ok := i.deny.Lookup(cache.Subject, i.cfg.Issuer, sub); ok && e.Gen > m.subject.Gen {
		m.subject.Gen = e.Gen
		if err := i.writeMark(ctx, &m.subject); err != nil && !errors.Is(err, ErrConflict) {
			return false, err
		}
		return true, nil
	}
	now := i.cfg.Now()
	cutoff := m.cutoff()
	for _, k := range []struct {
		scope cache.Scope
		key   string
	}{{cache.Subject, sub}, {cache.Client, client}, {cache.Issuer, ""}} {
		if e, ok := i.deny.Lookup(k.scope, i.cfg.Issuer, k.key); ok {
			cutoff = max(cutoff, e.Before)
		}
	}
	if now.Unix() > cutoff {
		return false, nil
	}
	wait := time.Unix(cutoff+1, 0).Sub(now)
	if wait > holdAtMost {
		return false, fmt.Errorf("%w: a statement covers logins for another %v", ErrUnavailable, wait)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true, nil
	case <-ctx.Done():
		return false, unavailable(ctx.Err())
	}
}

func (i *Issuer) grant(s *session, secret []byte, scope []string, issued time.Time) (*grant, error) {
	access, life, err := i.mint(s, scope, issued)
	if err != nil {
		return nil, err
	}
	return &grant{s, access, life, s.refreshToken(secret), scope}, nil
}

// refresh rotates. client is nil if the request named none. Errors: ErrGrant, errBadScope, ErrUnavailable.
func (i *Issuer) refresh(ctx context.Context, raw string, client *Client, want string) (*grant, error) {
	if err := i.current(); err != nil {
		return nil, err
	}
	sid, secret, ok := parseRefreshToken(raw)
	if !ok {
		return nil, ErrGrant
	}
	for range maxRounds {
		issued := i.cfg.Now() // before the marks are read, see raise
		s, err := i.session(ctx, sid)
		if err != nil {
			return nil, err
		}
		if s == nil || s.State != live || s.expired(issued) || !s.madeHere(secret) || !i.mayUse(s, client) {
			return nil, ErrGrant
		}
		again := false // the same successor once more
		if !same(s.Current, secret) {
			if again = i.mayRepeat(s, secret, issued); !again {
				return nil, i.reused(ctx, s)
			}
		}
		scope, err := i.stillGranted(ctx, s, want)
		if err != nil {
			return nil, err
		}
		if again {
			return i.grant(s, s.successor(secret, s.Salt), scope, issued)
		}
		if err := i.step("rotate"); err != nil {
			return nil, err
		}
		next := s.rotate(secret, issued, i.cfg.RefreshIdle)
		err = i.writeSession(ctx, s)
		if errors.Is(err, ErrConflict) {
			continue // somebody else rotated or ended it: look what became of it
		}
		if err == nil {
			err = i.step("rotated")
		}
		var g *grant
		if err == nil {
			g, err = i.grant(s, next, scope, issued)
		}
		if err != nil { // the client keeps its token and must be able to try again
			i.unanswered.add(s, issued)
			return nil, unavailable(err)
		}
		return g, nil
	}
	return nil, errContended
}

// mayUse: the token is bound to its client (RFC 6749 §6). A confidential client must have authenticated.
func (i *Issuer) mayUse(s *session, client *Client) bool {
	if client != nil {
		return client.ID == s.Client
	}
	c, ok := i.client(s.Client)
	return ok && c.Public
}

// mayRepeat: the presented token is the one just before, and either the grace runs, counted from the rotation, or this
// replica knows that the rotation was never answered.
func (i *Issuer) mayRepeat(s *session, secret []byte, now time.Time) bool {
	if !same(s.Prev, secret) {
		return false
	}
	since := now.Sub(time.UnixMilli(s.Rotated))
	return since >= 0 && since < i.cfg.ReuseGrace || i.unanswered.has(s, now)
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

// stillGranted reads everything wider than the session that may have ended it, and returns the scopes for the access token.
func (i *Issuer) stillGranted(ctx context.Context, s *session, want string) ([]string, error) {
	type answer struct {
		u   User
		err error
	}
	users := make(chan answer, 1)
	go func() {
		u, err := i.users.Get(ctx, s.Sub)
		users <- answer{u, err}
	}()
	m, err := i.marks(ctx, s.Sub, s.Client)
	a := <-users
	switch {
	case err != nil:
		return nil, err
	case errors.Is(a.err, ErrNoUser), a.err == nil && a.u.Disabled, m.over(s):
		return nil, ErrGrant
	case a.err != nil:
		return nil, unavailable(a.err)
	}
	// Statements of others that are not in the records yet. The session is as old as its login.
	ref := i.deny.Ref(cache.Claims{Issuer: i.cfg.Issuer, Session: s.sid, Subject: s.Sub, Client: s.Client,
		IssuedAt: s.Auth, HasIssuedAt: true, Gen: s.Gen, HasGen: true})
	if i.deny.Check(&ref).Revoked {
		if err := i.current(); err != nil { // stopped meanwhile: a closed denylist covers everything
			return nil, err
		}
		return nil, ErrGrant
	}
	client, ok := i.client(s.Client)
	if !ok {
		return nil, ErrGrant
	}
	has := client.grant(a.u.Scopes)
	scope := slices.DeleteFunc(slices.Clone(s.Scope), func(x string) bool { return !slices.Contains(has, x) })
	if want == "" {
		return scope, nil
	}
	asked := strings.Fields(want)
	for _, x := range asked {
		if !slices.Contains(scope, x) {
			return nil, errBadScope
		}
	}
	return asked, nil
}

package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	// identity is the ID token, for the scope openid.
	identity string
	cookies  bool // the tokens go there, and not into the body
}

// login checks the password and starts a session. Errors: ErrCredentials, ErrDisabled, ErrThrottled, ErrUnavailable.
func (i *Issuer) login(ctx context.Context, name, password string, client Client, from origin) (g *grant, err error) {
	err = i.attempt(ctx, name, from.address, func(try *attempt) error {
		g, err = i.start(ctx, try, name, password, client, from)
		return err
	})
	return g, err
}

// attempt calls f, which judges a password, if the account and the address may try one now. Every place that asks for a
// password does it through here.
func (i *Issuer) attempt(ctx context.Context, name, address string, f func(*attempt) error) (err error) {
	defer func() { i.counts.password(err) }()
	if err := i.current(); err != nil {
		return err
	}
	if err := i.haste.spent(hasteLogin + foldName(name)); err != nil {
		return err
	}
	try := i.throttle.begin(ctx, foldName(name), address)
	failed := f(try)
	if err := try.granted(); err != nil {
		return err
	}
	if failed == nil || errors.Is(failed, ErrDisabled) {
		_ = i.haste.take(hasteLogin + foldName(name)) // what is spent already was so by others at the same time
	}
	if err := try.settled(ctx); err != nil && !errors.Is(err, ErrThrottled) {
		i.log.Warn("login attempt not given back", "error", err)
	}
	return failed
}

// start makes a session of a password. It reads in an order that leaves no gap for a revocation, a disabling or a new
// password: the marks before the session's generation is chosen, so that it is older than whatever comes later; and the
// marks again when it is stored, so that nobody is given a session that has ended meanwhile.
func (i *Issuer) start(ctx context.Context, try *attempt, name, password string, client Client, from origin) (*grant, error) {
	var checked judged
	for range maxRounds {
		p, err := i.prove(ctx, try, name, password, client, &checked)
		if err != nil {
			return nil, err
		}
		s, secret := newSession(p.at, i.cfg.RefreshIdle, i.cfg.RefreshAbsolute)
		s.Sub, s.Client, s.Gen, s.Scope = p.user.Sub, client.ID, p.gen, client.grant(p.user.Scopes)
		s.Agent = from.agent
		if err := i.replace(ctx, from.replaces, s.Sub); err != nil {
			return nil, err
		}
		era := i.recent.now()
		if err := i.createSession(ctx, s); err != nil {
			return nil, err
		}
		if err := i.step("session"); err != nil {
			return nil, err
		}
		m, err := i.marks(ctx, s.Sub, client.ID)
		if err != nil {
			return nil, err
		}
		if m.over(s) { // a revocation came between: this session is older than it
			if err := i.dropSession(ctx, s); err != nil {
				return nil, err
			}
			continue
		}
		i.recent.keep(s, era, p.at.Add(i.retention.MaxTokenLife))
		return i.grant(s, secret, s.Scope, p.at)
	}
	return nil, errContended
}

// proof is that a user has shown the password: at that time, with that generation. It was taken before the marks were read.
type proof struct {
	user User
	gen  uint64
	at   time.Time
}

// judged is what the password matched in an earlier round: hashing again would tell nothing new and cost a lot.
type judged struct {
	done bool
	hash string
}

// prove compares the password, and meanwhile reads whether the user may have tokens: the marks and then the user again, whose hash
// must still be the one that was compared.
func (i *Issuer) prove(ctx context.Context, try *attempt, name, password string, client Client, checked *judged) (proof, error) {
	for range maxRounds {
		issued := i.cfg.Now()
		u, err := i.users.ByName(ctx, name)
		known := err == nil
		if !known && !errors.Is(err, ErrNoUser) {
			return proof{}, unavailable(err)
		}
		sub := u.Sub
		if !known {
			u, sub = User{}, "unknown" // the same reads, so that it takes the same time
		}
		var m marks
		var now User
		var unread error
		var both sync.WaitGroup
		both.Go(func() {
			unread = contained(func() (err error) {
				m, now, err = i.standing(ctx, sub, client.ID)
				return err
			})
		})
		var wrong error
		if !known || !checked.done || u.PasswordHash != checked.hash {
			wrong = i.judge(ctx, try, u, password)
			if wrong == nil {
				checked.done, checked.hash = true, u.PasswordHash
			}
		}
		both.Wait()
		gone := errors.Is(unread, ErrNoUser)
		switch judged := wrong == nil || errors.Is(wrong, ErrCredentials); {
		case judged && known && (gone || unread == nil && now.PasswordHash != u.PasswordHash):
			continue // it was changed, or the user is gone: once more
		case wrong != nil:
			return proof{}, wrong
		case unread != nil:
			return proof{}, unread
		}
		try.right(ctx)
		if now.Disabled {
			return proof{}, ErrDisabled
		}
		again, err := i.hold(ctx, m, sub, client.ID)
		if err != nil {
			return proof{}, err
		}
		if !again {
			i.renewHash(ctx, now, password)
			return proof{now, m.subject.Gen, issued}, nil
		}
	}
	return proof{}, errContended
}

// holdAtMost is how long a login waits for the second after a cutoff.
const holdAtMost = 2 * time.Second

// hold makes a fresh login differ from what was revoked: it raises the generation to one that somebody else published, and waits
// for the next second after a cutoff (iat is in whole seconds, so tokens of the same second are covered by it). It
// reports whether the login must look again.
func (i *Issuer) hold(ctx context.Context, m marks, sub, client string) (again bool, err error) {
	if e, ok := i.deny.Lookup(cache.Subject, i.cfg.Issuer, sub); ok && e.Gen > m.subject.Gen {
		if m.subject.Gen >= events.MaxGen {
			return false, fmt.Errorf("%w: until it is forgotten, a statement covers every generation of this user", ErrUnavailable)
		}
		m.subject.Gen = min(e.Gen, events.MaxGen)
		if err := i.writeMark(ctx, &m.subject); err != nil && !errors.Is(err, ErrConflict) {
			return false, err
		}
		return true, nil
	}
	cutoff := max(m.cutoff(), i.cutoffOf("", client))
	if e, ok := i.deny.Lookup(cache.Subject, i.cfg.Issuer, sub); ok {
		cutoff = max(cutoff, e.Before) // GenBefore is for tokens without gen
	}
	return i.await(ctx, cutoff)
}

// await waits for the second after a cutoff, if that has not begun, and reports whether it waited.
func (i *Issuer) await(ctx context.Context, cutoff int64) (waited bool, err error) {
	now := i.cfg.Now()
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
	access, life, err := i.mintSession(s, scope, issued)
	if err != nil {
		return nil, err
	}
	g := &grant{session: s, access: access, life: life, scope: scope}
	if c, ok := i.usable(s.Client); ok && c.may(GrantRefresh) {
		g.refresh = s.refreshToken(secret)
	}
	if slices.Contains(scope, scopeOpenID) {
		g.identity, err = i.identify(s, access, life, issued)
	}
	return g, err
}

package issuer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	defaultOnceLife = 10 * time.Minute
	maxOnceLife     = time.Hour
	// ownScopes begin the scope values that mean something to the issuer. It gives none of them away in a one-time token.
	ownScopes = "quash."
)

// Once is a one-time token to be minted.
type Once struct {
	// Subject it speaks for. Required, and not disabled.
	Subject string
	// Client it is issued to (client_id). Required. Revoking or disabling it ends the token.
	Client string
	// Audience of the token; empty: the client's.
	Audience []string
	// Scope of the token, at least one value and none that begins with "quash.". It need not be a scope of the user or the
	// client: that is for the caller to judge.
	Scope []string
	// Life until exp; zero: 10 minutes. At most one hour, and at most the retention's MaxTokenLife.
	Life time.Duration
	// Actor, Reason and Txn go to the log.
	Actor, Reason, Txn string
}

// Minted is a new one-time token.
type Minted struct {
	Token   string // secret: whoever has it can use it
	ID      string // jti, by which it can be revoked: scope token
	Expires time.Time
}

// MintOnce makes a token that is good for one request (typ once+jwt, claim once), across all nodes: see verifier.Verifier.Redeem. It ends before
// that when the user is disabled or revoked, when its client or key is, or when it is revoked itself.
//
// Errors: ErrOnce (names the field), ErrNoUser, ErrDisabled, ErrUnavailable.
func (i *Issuer) MintOnce(ctx context.Context, o Once) (Minted, error) {
	client, ok := i.client(o.Client)
	if !ok {
		return Minted{}, badOnce("client", "there is no client with this ID")
	}
	if err := o.complete(i.audience(client), min(maxOnceLife, i.retention.MaxTokenLife)); err != nil {
		return Minted{}, err
	}
	if err := i.current(); err != nil {
		return Minted{}, err
	}
	gen, issued, err := i.speakFor(ctx, o.Subject, o.Client)
	if err != nil {
		return Minted{}, err
	}
	if !i.issuing(o.Client, issued) {
		return Minted{}, badOnce("client", "is disabled")
	}
	key, err := i.keys.signer()
	if err != nil {
		return Minted{}, unavailable(err)
	}
	m := Minted{ID: token(16), Expires: time.Unix(issued.Add(o.Life).Unix(), 0)}
	claims := accessClaims{
		Issuer: i.cfg.Issuer, Subject: o.Subject, Audience: o.Audience, Client: o.Client,
		Expires: m.Expires.Unix(), Issued: issued.Unix(), ID: m.ID, Gen: gen, Scope: strings.Join(o.Scope, " "), Once: true,
	}
	if m.Token, err = key.sign(typOnce, claims.append(make([]byte, 0, 512))); err != nil {
		return Minted{}, err
	}
	i.counts.minted.Add(1)
	i.log.Info("one-time token minted", "sub", o.Subject, "client", o.Client, "jti", m.ID, "audience", o.Audience, "scope", o.Scope,
		"expires", m.Expires.UTC(), "actor", o.Actor, "reason", o.Reason, "txn", o.Txn)
	return m, nil
}

// speakFor returns the generation of a user who may have tokens, and a time for iat that no cutoff covers.
func (i *Issuer) speakFor(ctx context.Context, sub, client string) (gen uint64, issued time.Time, err error) {
	for range maxRounds {
		issued = i.cfg.Now()
		m, u, err := i.standing(ctx, sub, client)
		if err != nil {
			return 0, issued, err
		}
		if u.Disabled {
			return 0, issued, ErrDisabled
		}
		again, err := i.hold(ctx, m, sub, client)
		if err != nil {
			return 0, issued, err
		}
		if !again {
			return m.subject.Gen, issued, nil
		}
	}
	return 0, issued, errContended
}

// complete fills the defaults and names what is wrong.
func (o *Once) complete(audience []string, longest time.Duration) error {
	if len(o.Audience) == 0 {
		o.Audience = audience
	}
	if o.Life == 0 {
		o.Life = min(defaultOnceLife, longest)
	}
	switch {
	case !printable(o.Subject, maxSubject):
		return badOnce("sub", "is missing or not a subject")
	case slices.Contains(o.Audience, ""):
		return badOnce("audience", "has an empty member")
	case len(o.Audience) > 16:
		return badOnce("audience", "has more than 16 members")
	case len(o.Scope) == 0:
		return badOnce("scope", "is required: say what the token may be used for")
	case len(o.Scope) > 100:
		return badOnce("scope", "has more than 100 values")
	case o.Life < time.Second || o.Life > longest:
		return badOnce("expires_in", fmt.Sprintf("must be from 1 to %d", longest/time.Second))
	}
	for _, a := range o.Audience {
		if len(a) > 512 {
			return badOnce("audience", "has a member of more than 512 bytes")
		}
	}
	for n, s := range o.Scope {
		switch {
		case !scopeToken(s):
			return badOnce("scope", "has a value that is not a scope token (RFC 6749 section 3.3)")
		case strings.HasPrefix(s, ownScopes):
			return badOnce("scope", "has a value that begins with "+ownScopes+": the issuer's own scopes are not given away")
		case slices.Contains(o.Scope[:n], s):
			return badOnce("scope", "repeats a value")
		}
	}
	for _, f := range [...]struct{ name, text string }{{"reason", o.Reason}, {"txn", o.Txn}} {
		if len(f.text) > 1024 {
			return badOnce(f.name, "is longer than 1024 bytes")
		}
	}
	return nil
}

func badOnce(field, problem string) error { return fmt.Errorf("%w: %s: %s", ErrOnce, field, problem) }

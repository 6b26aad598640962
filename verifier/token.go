package verifier

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/quash-auth/quash/cache"
	"github.com/quash-auth/quash/events"
)

// Token is a verified access token. It is shared between all requests that carry it: do not change it.
type Token struct {
	Issuer  string // iss
	Subject string // sub
	ID      string // jti
	Session string // sid
	Client  string // client_id, else azp
	KeyID   string // the kid under which the key set holds the key that signed it
	Type    string // typ of the header, as it was written

	Audience []string // aud
	Scope    []string // scope, else (relaxed) scp

	IssuedAt  time.Time // iat; zero: the token has none
	NotBefore time.Time // nbf; zero: the token has none
	Expires   time.Time // exp
	AuthTime  time.Time // auth_time; zero: the token has none

	Gen    uint64 // gen, the subject's generation
	HasGen bool   // whether the token has one

	Once bool // once: good for one request, see Verifier.Redeem

	payload []byte
	by      *Verifier // that verified it and filled the rest; nil: a Token made by hand
	ref     cache.Ref
	until   time.Time // when Verify stops to accept it: Expires plus leeway
}

// HasScope reports whether the token has the scope value s.
func (t *Token) HasScope(s string) bool { return slices.Contains(t.Scope, s) }

// Claims returns a copy of the token's claims, JSON as the issuer signed it.
func (t *Token) Claims() []byte { return slices.Clone(t.payload) }

// Decode unmarshals the claims into dst, as encoding/json does: mind that it folds the case of names. Use the fields of
// Token for whatever decides over access.
func (t *Token) Decode(dst any) error {
	if err := json.Unmarshal(t.payload, dst); err != nil {
		return fmt.Errorf("decode the token's claims: %w", err)
	}
	return nil
}

// Unenforceable returns the scopes of revocation that can never cover this token, because it lacks the claim.
// It is empty for every token of the strict profile that carries sid, or that belongs to no session: one that a client got for
// itself (sub names the client, RFC 9068 §2.2), or a one-time token.
func (t *Token) Unenforceable() []events.Scope { return t.lacking().scopes() }

// sessionless tokens have no sid because there is no session that could be ended.
func (t *Token) sessionless() bool {
	return t.Once || t.Client != "" && (t.Subject == t.Client || t.Subject == "client:"+t.Client)
}

func (t *Token) lacking() scopeSet {
	var s scopeSet
	for _, c := range [...]struct {
		claim string
		scope events.Scope
	}{{t.ID, events.Token}, {t.Session, events.Session}, {t.Subject, events.Subject}, {t.Client, events.Client}, {t.KeyID, events.Key}} {
		if c.claim == "" {
			s |= 1 << c.scope
		}
	}
	if t.sessionless() {
		s &^= 1 << events.Session
	}
	return s
}

// scopeSet is a set of scopes, one bit each.
type scopeSet uint32

func (s scopeSet) scopes() []events.Scope {
	var list []events.Scope
	for scope := events.Token; scope <= events.Issuer; scope++ {
		if s&(1<<scope) != 0 {
			list = append(list, scope)
		}
	}
	return list
}

func (t *Token) claims() Claims {
	return Claims{
		Issuer: t.Issuer, ID: t.ID, Session: t.Session, Subject: t.Subject, Client: t.Client, KeyID: t.KeyID,
		IssuedAt: t.IssuedAt, Gen: t.Gen, HasGen: t.HasGen, Once: t.Once,
	}
}

type contextKey struct{}

// NewContext returns a context that carries t.
func NewContext(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, contextKey{}, t)
}

// FromContext returns the token that the middleware put into the context of a request.
func FromContext(ctx context.Context) (*Token, bool) {
	t, ok := ctx.Value(contextKey{}).(*Token)
	return t, ok && t != nil
}

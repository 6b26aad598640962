package cache

import "hash/maphash"

// Claims are the parts of a verified token that statements can name. Empty strings
// mean that the token does not carry the claim.
type Claims struct {
	Issuer, ID, Session, Subject, Client, KeyID string

	IssuedAt    int64 // iat, Unix seconds, rounded down
	HasIssuedAt bool  // a token without iat is covered by every cutoff
	Gen         uint64
	HasGen      bool
}

// Ref is what Check needs to know about one token: its keys, hashed. Compute it once
// with Denylist.Ref and keep it with the verified claims; it stays right whatever is
// applied later. It belongs to the denylist that made it: any other one denies it.
type Ref struct {
	list   uint64 // identity of the denylist
	has    uint8  // bit s: the token carries a key of scope s
	hasIat bool
	hasGen bool
	hash   [scopes]uint64
	iat    int64
	gen    uint64
	issuer string
	keys   [scopes]string // for the second hash, which only a hit needs
}

// Ref hashes the keys of a token. It allocates nothing.
func (d *Denylist) Ref(c Claims) (r Ref) {
	r.issuer, r.iat, r.gen, r.hasIat, r.hasGen = c.Issuer, c.IssuedAt, c.Gen, c.HasIssuedAt, c.HasGen
	if d == nil {
		return r
	}
	r.list = d.id
	if c.Issuer == "" {
		return r // no statement can name it
	}
	r.keys[Token], r.keys[Session], r.keys[Subject], r.keys[Client], r.keys[Key] = c.ID, c.Session, c.Subject, c.Client, c.KeyID
	h := &d.hash
	ih := h.issuerHash(c.Issuer)
	r.has = 1 << Issuer
	if h.forge != nil {
		for s := Token; s < Issuer; s++ {
			if r.keys[s] != "" {
				r.has |= 1 << s
				r.hash[s] = h.first(s, ih, c.Issuer, r.keys[s])
			}
		}
		r.hash[Issuer] = h.first(Issuer, ih, c.Issuer, "")
		return r
	}
	// The same, scope by scope: this is asked for every new token.
	if c.ID != "" {
		r.has |= 1 << Token
		r.hash[Token] = mix(ih, maphash.String(h.key[Token][0], c.ID))
	}
	if c.Session != "" {
		r.has |= 1 << Session
		r.hash[Session] = mix(ih, maphash.String(h.key[Session][0], c.Session))
	}
	if c.Subject != "" {
		r.has |= 1 << Subject
		r.hash[Subject] = mix(ih, maphash.String(h.key[Subject][0], c.Subject))
	}
	if c.Client != "" {
		r.has |= 1 << Client
		r.hash[Client] = mix(ih, maphash.String(h.key[Client][0], c.Client))
	}
	if c.KeyID != "" {
		r.has |= 1 << Key
		r.hash[Key] = mix(ih, maphash.String(h.key[Key][0], c.KeyID))
	}
	r.hash[Issuer] = mix(ih, h.whole)
	return r
}

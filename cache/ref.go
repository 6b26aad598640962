package cache

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
	ih := d.hash.issuerHash(c.Issuer)
	for s := Token; s < Issuer; s++ {
		if r.keys[s] != "" {
			r.has |= 1 << s
			r.hash[s] = d.hash.first(s, ih, c.Issuer, r.keys[s])
		}
	}
	r.has |= 1 << Issuer
	r.hash[Issuer] = d.hash.first(Issuer, ih, c.Issuer, "")
	return r
}

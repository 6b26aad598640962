package verifier

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/quash-auth/quash/internal/jws"
)

// issuer is one configured issuer at work.
type issuer struct {
	name         string
	audience     []string
	allowed      jws.AlgSet
	profile      Profile
	allowUndated bool   // tokens without iat
	source       string // "url", "file" or "static", for Status
	keys         *keySource

	lacking atomic.Uint32 // scopeSet: union over the tokens accepted so far
	undated atomic.Bool   // a token without iat was accepted
}

// noIssuer tells a token without iss from one of somebody else.
func noIssuer(c *claimSet) error {
	if c.has&hasIss == 0 {
		return claimsError("iss", "is missing")
	}
	return errIssuer
}

// check is what the issuer's configuration demands of a token's header and claims, the signature apart.
func (i *issuer) check(h *jws.Header, c *claimSet) error {
	if !accessType(h, i.profile, c.once) {
		return errTyp
	}
	if name := c.required(i.profile, i.allowUndated); name != "" {
		return claimsError(name, "is missing")
	}
	if err := c.profileScope(i.profile); err != nil {
		return err
	}
	for _, aud := range c.aud {
		if slices.Contains(i.audience, aud) {
			return nil
		}
	}
	return errAudience
}

// profileScope settles which claim is the scope. Strict knows one, a string.
func (c *claimSet) profileScope(p Profile) error {
	switch {
	case p == Strict && c.scopeIsList:
		return claimsError("scope", "is not a string of scope values")
	case p == Strict || c.has&hasScope != 0:
		return nil
	case c.scpIsWrong:
		return claimsError("scp", "is neither a string of scope values nor a list of them")
	}
	c.scope = c.scp
	return nil
}

// saw notes what cannot be enforced for a token that was accepted.
func (i *issuer) saw(t *Token) {
	if more := uint32(t.lacking()); i.lacking.Load()|more != i.lacking.Load() {
		i.lacking.Or(more)
	}
	if t.IssuedAt.IsZero() && !i.undated.Load() {
		i.undated.Store(true)
	}
}

// newIssuer checks one Issuer of the configuration.
func newIssuer(field string, c Issuer) (*issuer, error) {
	i := &issuer{name: c.Issuer, audience: slices.Clone(c.Audience), profile: c.Profile, allowUndated: c.AllowUndated}
	switch {
	case c.Issuer == "":
		return nil, configError(field+".Issuer", "is empty")
	case len(c.Issuer) > maxName:
		return nil, configError(field+".Issuer", "is longer than %d bytes", maxName)
	case len(c.Audience) == 0:
		return nil, configError(field+".Audience", "is empty: without it tokens for any other API would be accepted")
	case slices.Contains(c.Audience, ""):
		return nil, configError(field+".Audience", "has an empty entry")
	case c.Profile > Relaxed:
		return nil, configError(field+".Profile", "is neither Strict nor Relaxed")
	case c.AllowUndated && c.Profile == Strict:
		return nil, configError(field+".AllowUndated", "contradicts the Strict profile, which requires iat: set Profile to Relaxed")
	case c.Refresh < 0:
		return nil, configError(field+".Refresh", "is negative")
	}
	names := c.Algorithms
	if len(names) == 0 {
		names = []string{"ES256", "RS256", "EdDSA"}
	}
	for _, name := range names {
		alg, ok := jws.AlgByName(name)
		if !ok {
			return nil, configError(field+".Algorithms", "has %q, which is none of %s", name, jws.AlgNames())
		}
		i.allowed = i.allowed.With(alg)
	}
	return i, i.checkSources(field, c)
}

// checkSources demands exactly one source of keys, and that HS algorithms have symmetric keys only and the reverse.
func (i *issuer) checkSources(field string, c Issuer) error {
	var sources []string
	if c.JWKSURL != "" {
		sources = append(sources, "JWKSURL")
	}
	if c.JWKSFile != "" {
		sources = append(sources, "JWKSFile")
	}
	if len(c.Keys) > 0 {
		sources = append(sources, "Keys")
	}
	if len(sources) != 1 {
		return configError(field, "needs exactly one of JWKSURL, JWKSFile and Keys, and has %d", len(sources))
	}
	symmetric := 0
	for _, k := range c.Keys {
		if _, ok := k.Key.([]byte); ok {
			symmetric++
		}
	}
	if i.allowed.HasHMAC() && symmetric == 0 {
		return configError(field+".Algorithms", "has an HS algorithm, but Keys has no symmetric key")
	}
	if c.AllowHTTP && c.JWKSURL == "" {
		return configError(field+".AllowHTTP", "is set without JWKSURL")
	}
	if c.JWKSURL != "" {
		if problem := checkKeyURL(c.JWKSURL, c.AllowHTTP); problem != "" {
			return configError(field+".JWKSURL", "%s", problem)
		}
	}
	return nil
}

// fieldOf names an issuer in an error.
func fieldOf(n int) string { return fmt.Sprintf("Issuers[%d]", n) }

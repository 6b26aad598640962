package interop

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
)

// verifies is somebody else's verifier, set up for one issuer: the subject of a
// good token. The algorithm is the only one it is told to accept.
type verifies func(ctx context.Context, raw string) (sub string, err error)

// goVerifiers set themselves up as an API would, from the key set's address.
var goVerifiers = map[string]func(ctx context.Context, issuer, jwksURL, alg string) (verifies, error){
	"keyfunc and golang-jwt": newKeyfunc,
	"lestrrat jwx":           newJWX,
	"go-jose":                newGoJOSE,
	"go-oidc key set":        newRemoteKeySet,
}

func newKeyfunc(ctx context.Context, issuer, jwksURL, alg string) (verifies, error) {
	k, err := keyfunc.NewDefaultCtx(ctx, []string{jwksURL})
	if err != nil {
		return nil, err
	}
	return golangJWT(k, issuer, alg), nil
}

func golangJWT(k keyfunc.Keyfunc, issuer, alg string) verifies {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding())
	return func(_ context.Context, raw string) (string, error) {
		t, err := parser.Parse(raw, k.Keyfunc)
		if err != nil {
			return "", err
		}
		if typ := t.Header["typ"]; typ != "at+jwt" { // golang-jwt leaves that to its user
			return "", fmt.Errorf("typ %v", typ)
		}
		return t.Claims.GetSubject()
	}
}

func newJWX(ctx context.Context, issuer, jwksURL, alg string) (verifies, error) {
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		return nil, err
	}
	if err := cache.Register(ctx, jwksURL); err != nil {
		return nil, err
	}
	set, err := cache.CachedSet(jwksURL)
	if err != nil {
		return nil, err
	}
	return jwxSet(set, issuer, alg), nil
}

func jwxSet(set jwk.Set, issuer, alg string) verifies {
	return func(_ context.Context, raw string) (string, error) {
		// The key's own alg decides: jwx refuses a token with another one.
		t, err := jwxjwt.ParseString(raw, jwxjwt.WithKeySet(set), jwxjwt.WithIssuer(issuer), jwxjwt.WithAudience(audience),
			jwxjwt.WithRequiredClaim("exp"))
		if err != nil {
			return "", err
		}
		message, err := jws.ParseString(raw)
		if err != nil {
			return "", err
		}
		header := message.Signatures()[0].ProtectedHeaders()
		if typ, _ := header.Type(); typ != "at+jwt" {
			return "", fmt.Errorf("typ %q", typ)
		}
		if a, _ := header.Algorithm(); a.String() != alg {
			return "", fmt.Errorf("alg %v", a)
		}
		sub, _ := t.Subject()
		return sub, nil
	}
}

func newGoJOSE(ctx context.Context, issuer, jwksURL, alg string) (verifies, error) {
	var set jose.JSONWebKeySet
	if err := getJSON(ctx, jwksURL, &set); err != nil {
		return nil, err
	}
	return func(_ context.Context, raw string) (string, error) {
		t, err := josejwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			return "", err
		}
		if typ := t.Headers[0].ExtraHeaders[jose.HeaderType]; typ != "at+jwt" {
			return "", fmt.Errorf("typ %v", typ)
		}
		var claims josejwt.Claims
		if err := t.Claims(set, &claims); err != nil {
			return "", err
		}
		return claims.Subject, claims.ValidateWithLeeway(josejwt.Expected{
			Issuer: issuer, AnyAudience: josejwt.Audience{audience}, Time: time.Now()}, 0)
	}, nil
}

// newRemoteKeySet uses go-oidc's key set and its verifier of ID tokens, which knows
// nothing of typ: what it says of an access token is about signature, iss, aud and exp.
func newRemoteKeySet(ctx context.Context, issuer, jwksURL, alg string) (verifies, error) {
	v := oidc.NewVerifier(issuer, oidc.NewRemoteKeySet(ctx, jwksURL), &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{alg}})
	return func(ctx context.Context, raw string) (string, error) {
		t, err := v.Verify(ctx, raw)
		if err != nil {
			return "", err
		}
		return t.Subject, nil
	}, nil
}

func TestStrangersVerifyOurTokens(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, alg)
			p := newProbes(t, alg, w.login().Access)
			t.Run("jwx's thumbprint is our kid", func(t *testing.T) {
				set, err := jwk.Parse(w.get(w.jwks()))
				if err != nil {
					t.Fatal(err)
				}
				key, ok := set.LookupKeyID(p.kid)
				if !ok {
					t.Fatalf("the key set has no %s", p.kid)
				}
				sum, err := key.Thumbprint(crypto.SHA256)
				if got := base64.RawURLEncoding.EncodeToString(sum); err != nil || got != p.kid {
					t.Errorf("got %s %v, but the kid is %s", got, err, p.kid)
				}
			})
			for name, open := range goVerifiers {
				t.Run(name, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					verify, err := open(ctx, w.issuer, w.jwks(), alg)
					if err != nil {
						t.Fatal(err)
					}
					got := map[string]verdict{}
					for name, raw := range p.all() {
						sub, err := verify(ctx, raw)
						got[name] = verdict{Sub: sub, Error: text(err)}
					}
					p.check(t, got)
				})
			}
			for _, s := range scripts {
				if s.lacks(alg) {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					p.check(t, s.judge(t, w, alg, p))
				})
			}
		})
	}
}

// TestStrangersRefuseOtherAlgorithms is for the set-up above: a verifier for one
// algorithm refuses a token of another although its key is in the set.
func TestStrangersRefuseOtherAlgorithms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ES256")
	raw := w.login().Access
	for name, open := range goVerifiers {
		verify, err := open(t.Context(), w.issuer, w.jwks(), "RS256")
		if err != nil {
			t.Fatal(err)
		}
		if sub, err := verify(t.Context(), raw); err == nil {
			t.Errorf("%s: accepted ES256 for %q although told RS256", name, sub)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return errors.Join(err).Error()
}

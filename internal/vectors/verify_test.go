package vectors

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/quash-auth/quash/internal/jws"
	"github.com/quash-auth/quash/verifier"
	"github.com/quash-auth/quash/verifier/verifiertest"
)

// configured is an issuer with the keys of a group of vectors: a JWK Set in a file, or a symmetric key. ok is false if it
// has none that can be used.
func configured(t *testing.T, doc json.RawMessage) (_ verifier.Issuer, ok bool) {
	t.Helper()
	conf := verifier.Issuer{Issuer: verifiertest.IssuerURL, Audience: []string{verifiertest.APIAudience}}
	keys, err := keysOf(doc)
	if err != nil || keys.Len() == 0 {
		return conf, false
	}
	for _, kid := range keys.IDs() {
		if secret, symmetric := keys.Find(kid).Public.([]byte); symmetric {
			conf.Algorithms = []string{"HS256", "HS384", "HS512"}
			conf.Keys = append(conf.Keys, verifier.PublicKey{ID: kid, Key: secret})
		}
	}
	if conf.Keys != nil {
		return conf, true
	}
	conf.Algorithms = []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
	conf.JWKSFile = filepath.Join(t.TempDir(), "keys.json")
	var set struct{ Keys []json.RawMessage }
	if json.Unmarshal(doc, &set); set.Keys == nil {
		doc = json.RawMessage(`{"keys":[` + string(doc) + `]}`)
	}
	if err := os.WriteFile(conf.JWKSFile, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	return conf, true
}

// TestM9_Verify takes the same tokens through the public door. None has our claims, so each is refused, and as invalid; that
// their keys do work there is shown by a token with our claims that the vector's own private key signs.
func TestM9_Verify(t *testing.T) {
	t.Parallel()
	refused, accepted := 0, 0
	for _, file := range []string{"json_web_signature", "json_web_key", "json_web_crypto", "json_web_encryption"} {
		for _, g := range load(t, file+"_test.json") {
			doc := g.Private
			if g.Public != nil {
				doc = g.Public
			}
			conf, ok := configured(t, doc)
			var opts []verifiertest.Option
			if ok {
				opts = append(opts, verifiertest.WithConfig(func(c *verifier.Config) { c.Issuers = []verifier.Issuer{conf} }))
			}
			iss := verifiertest.New(t, opts...)
			for _, v := range g.Tests {
				got, err := iss.Verifier().Verify(context.Background(), string(v.JWS+v.JWE))
				if got != nil || !errors.Is(err, verifier.ErrInvalid) {
					t.Errorf("%s case %d: got %v, %v", file, v.ID, got, err)
				}
				refused++
			}
			if !ok || g.Public != nil {
				continue
			}
			for _, raw := range signed(t, iss, g.Private) {
				if _, err := iss.Verifier().Verify(context.Background(), raw); err != nil {
					t.Errorf("%s, %s: a token of the group's own key: %v", file, g.Comment, err)
				}
				accepted++
			}
		}
	}
	t.Logf("vectors refused %d, tokens of the vectors' keys accepted %d", refused, accepted)
	if refused < 600 || accepted < 10 {
		t.Errorf("only %d and %d were tried", refused, accepted)
	}
}

// signed makes a token that is good but for its key with each private key that we would use.
func signed(t *testing.T, iss *verifiertest.Issuer, doc json.RawMessage) (list []string) {
	t.Helper()
	usable, err := keysOf(doc)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []json.RawMessage }
	if json.Unmarshal(doc, &set); set.Keys == nil {
		set.Keys = []json.RawMessage{doc}
	}
	p, err := jws.Split(iss.Mint())
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || !usable.Has(k.KeyID) || k.Algorithm == "" || k.IsPublic() {
			continue
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", k.KeyID))
		if err != nil {
			t.Fatal(err)
		}
		object, err := signer.Sign(p.Payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := object.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, text)
	}
	return list
}

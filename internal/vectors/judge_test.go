package vectors

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/quash-auth/quash/internal/jws"
)

// all is every algorithm an issuer can be configured with.
var all = func() (set jws.AlgSet) {
	for _, name := range strings.Split(jws.AlgNames(), ", ") {
		alg, _ := jws.AlgByName(name)
		set = set.With(alg)
	}
	return set
}()

// keysOf makes the key set of a JWK or a JWK Set, the way verifier does: asymmetric keys come in a document, symmetric ones
// are configured one by one. A document that mixes them has no symmetric key.
func keysOf(doc json.RawMessage) (*jws.KeySet, error) {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, err
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{doc}
		doc = json.RawMessage(`{"keys":[` + string(doc) + `]}`)
	}
	keys := jws.NewKeySet()
	for _, raw := range set.Keys {
		var k struct{ Kty, Kid, Alg, K, Use string }
		if err := json.Unmarshal(raw, &k); err != nil {
			return nil, err
		}
		if k.Kty != "oct" {
			return jws.ParseKeySet(doc, all)
		}
		secret, err := base64.RawURLEncoding.Strict().DecodeString(k.K)
		if err != nil {
			return nil, err
		}
		key, err := jws.NewKey(k.Kid, k.Alg, secret, all)
		if err != nil {
			return nil, err
		}
		if keys.Has(key.ID) {
			return nil, fmt.Errorf("the kid %q is taken", key.ID)
		}
		if err := keys.Add(key); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// judge does what verifier does with a token, the claims left out.
func judge(keys *jws.KeySet, raw string) (payload []byte, err error) {
	p, err := jws.Split(raw)
	if err != nil {
		return nil, err
	}
	alg, ok := jws.AlgByName(p.Header.Alg)
	if !ok {
		return nil, errors.New("unknown algorithm")
	}
	key := keys.Find(p.Header.KeyID)
	if key == nil {
		return nil, errors.New("no such key")
	}
	if err := key.Verify(alg, p.Signed, p.Signature); err != nil {
		return nil, err
	}
	return p.Payload, nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

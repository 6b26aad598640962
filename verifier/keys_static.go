package verifier

import (
	"bytes"
	"fmt"

	"github.com/quash-auth/quash/internal/jws"
)

// staticKeys makes a set of configured keys.
func staticKeys(prefix string, list []PublicKey, allowed jws.AlgSet) (*jws.KeySet, error) {
	set := jws.NewKeySet()
	for i, p := range list {
		field := fmt.Sprintf("%s.Keys[%d]", prefix, i)
		if p.ID == "" && len(list) > 1 {
			return nil, configError(field+".ID", "is empty: with several keys each needs its kid")
		}
		if p.Key == nil {
			return nil, configError(field+".Key", "is missing")
		}
		if secret, ok := p.Key.([]byte); ok {
			if !allowed.HasHMAC() {
				return nil, configError(field+".Key", "is symmetric, but Algorithms lists no HS algorithm")
			}
			p.Key = bytes.Clone(secret)
		}
		k, err := jws.NewKey(p.ID, p.Algorithm, p.Key, allowed)
		if err != nil {
			return nil, configError(field, "cannot be used: %v", err)
		}
		if set.Has(k.ID) {
			return nil, configError(field+".ID", "%q is taken by another key", k.ID)
		}
		if err := set.Add(k); err != nil {
			return nil, configError(field, "cannot be used: %v", err)
		}
	}
	return set, nil
}

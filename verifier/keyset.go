package verifier

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// maxName bounds what a statement can name (RFC 7519 StringOrURI of ours): a longer kid, jti, sid, sub or client_id
// could never be revoked and is refused.
const maxName = 512

// key is one verification key. It is immutable.
type key struct {
	id     string
	public any // what the signing method of golang-jwt takes
	algs   algSet
	same   []byte // equal for equal keys, whatever their id and algorithms
}

// newKey binds a key to algorithms: those it can do, those the issuer allows and, if declared, the one it is for
// (RFC 8725 section 3.1).
func newKey(id, declared string, public any, allowed algSet) (*key, error) {
	algs, err := algsOf(public)
	if err != nil {
		return nil, err
	}
	if declared != "" {
		i, ok := algByName(declared)
		if !ok {
			return nil, fmt.Errorf("the algorithm %q is none of %s", declared, algNames())
		}
		if !algs.has(i) {
			return nil, fmt.Errorf("the key cannot do %s", declared)
		}
		algs = 1 << i
	}
	if algs &= allowed; algs == 0 {
		return nil, fmt.Errorf("none of the issuer's algorithms can use the key")
	}
	same, err := identity(public)
	if err != nil {
		return nil, err
	}
	if _, secret := public.([]byte); id == "" && secret {
		id = "symmetric" // not its hash: ids are shown
	} else if id == "" {
		id = base64.RawURLEncoding.EncodeToString(same)
	}
	if len(id) > maxName {
		return nil, fmt.Errorf("the kid has %d bytes; at most %d are accepted", len(id), maxName)
	}
	return &key{id: id, public: public, algs: algs, same: same}, nil
}

// identity is the RFC 7638 thumbprint, or a hash of a symmetric key.
func identity(public any) ([]byte, error) {
	if secret, ok := public.([]byte); ok {
		sum := sha256.Sum256(secret)
		return sum[:], nil
	}
	jwk := jose.JSONWebKey{Key: public}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("compute the key's thumbprint: %w", err)
	}
	return sum, nil
}

func (k *key) equal(o *key) bool {
	return k.id == o.id && k.algs == o.algs && bytes.Equal(k.same, o.same)
}

// keySet is the keys of an issuer as one reading found them. It is immutable.
type keySet struct {
	byID    map[string]*key
	skipped int      // keys of the document that cannot be used here
	notes   []string // why, and what else an operator should know
}

// add refuses a set in which a kid does not name one key.
func (s *keySet) add(k *key) error {
	if old, ok := s.byID[k.id]; ok {
		if old.equal(k) {
			return nil
		}
		return fmt.Errorf("two different keys have the kid %q", k.id)
	}
	s.byID[k.id] = k
	return nil
}

// find returns the key for a kid. Without kid only a key that is alone can be meant.
func (s *keySet) find(kid string) *key {
	if kid != "" {
		return s.byID[kid]
	}
	if len(s.byID) == 1 {
		for _, k := range s.byID {
			return k
		}
	}
	return nil
}

// reuse keeps the key objects of old that did not change, so that memo entries made with them stay good. It
// returns old itself if nothing changed.
func (s *keySet) reuse(old *keySet) *keySet {
	if old == nil {
		return s
	}
	same := len(s.byID) == len(old.byID)
	for id, k := range s.byID {
		if o, ok := old.byID[id]; ok && o.equal(k) {
			s.byID[id] = o
		} else {
			same = false
		}
	}
	if same && s.skipped == old.skipped && slices.Equal(s.notes, old.notes) {
		return old
	}
	return s
}

// ids returns the kids in order, for Status.
func (s *keySet) ids() []string {
	if s == nil {
		return nil
	}
	list := make([]string, 0, len(s.byID))
	for id := range s.byID {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// staticKeys makes a set of configured keys.
func staticKeys(prefix string, list []PublicKey, allowed algSet) (*keySet, error) {
	set := &keySet{byID: make(map[string]*key, len(list))}
	for i, p := range list {
		field := fmt.Sprintf("%s.Keys[%d]", prefix, i)
		if p.ID == "" && len(list) > 1 {
			return nil, configError(field+".ID", "is empty: with several keys each needs its kid")
		}
		if p.Key == nil {
			return nil, configError(field+".Key", "is missing")
		}
		if secret, ok := p.Key.([]byte); ok {
			if !allowed.hasFamily(hmac) {
				return nil, configError(field+".Key", "is symmetric, but Algorithms lists no HS algorithm")
			}
			p.Key = bytes.Clone(secret)
		}
		k, err := newKey(p.ID, p.Algorithm, p.Key, allowed)
		if err != nil {
			return nil, configError(field, "cannot be used: %v", err)
		}
		if _, ok := set.byID[k.id]; ok {
			return nil, configError(field+".ID", "%q is taken by another key", k.id)
		}
		set.byID[k.id] = k
	}
	return set, nil
}

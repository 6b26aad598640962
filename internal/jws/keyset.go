package jws

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// MaxKeyID is the greatest length of a kid in bytes: a statement could not name a longer one.
const MaxKeyID = 512

// Key is one verification key. It is immutable.
type Key struct {
	ID     string
	Public any // what the signing method of golang-jwt takes
	Algs   AlgSet
	same   []byte // equal for equal keys, whatever their id and algorithms
}

// Verify checks the signature of what Split gave as Signed. alg must be one of the key's.
func (k *Key) Verify(alg Alg, signed string, signature []byte) error {
	if !k.Algs.Has(alg) {
		return ErrAlgorithm
	}
	return algorithms[alg].method.Verify(signed, signature, k.Public)
}

// ErrAlgorithm means that the key is for another algorithm.
var ErrAlgorithm = errors.New("the key is for another algorithm")

// NewKey binds a key to algorithms: those it can do, those the issuer allows and, if declared, the one it is for
// (RFC 8725 section 3.1).
func NewKey(id, declared string, public any, allowed AlgSet) (*Key, error) {
	algs, err := algsOf(public)
	if err != nil {
		return nil, err
	}
	if declared != "" {
		i, ok := AlgByName(declared)
		if !ok {
			return nil, fmt.Errorf("the algorithm %q is none of %s", declared, AlgNames())
		}
		if !algs.Has(i) {
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
	if len(id) > MaxKeyID {
		return nil, fmt.Errorf("the kid has %d bytes; at most %d are accepted", len(id), MaxKeyID)
	}
	return &Key{ID: id, Public: public, Algs: algs, same: same}, nil
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

func (k *Key) equal(o *Key) bool {
	return k.ID == o.ID && k.Algs == o.Algs && bytes.Equal(k.same, o.same)
}

// KeySet is the keys of an issuer as one reading found them. It is immutable once it is in use.
type KeySet struct {
	byID    map[string]*Key
	Skipped int      // keys of the document that cannot be used here
	Notes   []string // why, and what else an operator should know
}

// NewKeySet returns an empty set.
func NewKeySet() *KeySet { return &KeySet{byID: make(map[string]*Key)} }

// Len returns how many keys can be used.
func (s *KeySet) Len() int { return len(s.byID) }

// Has reports whether a key has exactly this kid.
func (s *KeySet) Has(kid string) bool { return s.byID[kid] != nil }

// Add refuses a key by which a kid would not name one key.
func (s *KeySet) Add(k *Key) error {
	if old, ok := s.byID[k.ID]; ok {
		if old.equal(k) {
			return nil
		}
		return fmt.Errorf("two different keys have the kid %q", k.ID)
	}
	s.byID[k.ID] = k
	return nil
}

// Find returns the key for a kid. Without kid only a key that is alone can be meant.
func (s *KeySet) Find(kid string) *Key {
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

// Reuse keeps the key objects of old that did not change, so that memo entries made with them stay good. It
// returns old itself if nothing changed.
func (s *KeySet) Reuse(old *KeySet) *KeySet {
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
	if same && s.Skipped == old.Skipped && slices.Equal(s.Notes, old.Notes) {
		return old
	}
	return s
}

// IDs returns the kids in order, for Status.
func (s *KeySet) IDs() []string {
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

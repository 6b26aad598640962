package jws

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// algorithm is one value of alg. The methods are named here and not looked up in golang-jwt's registry, which any
// package of the program may change.
type algorithm struct {
	name   string
	method jwt.SigningMethod
	family family
	curve  elliptic.Curve // family ec
	secret int            // family hmac: least length of the key in bytes, RFC 7518 section 3.2
}

type family uint8

const (
	ec family = iota + 1
	rsaKey
	okp
	hmac
)

// Alg is an algorithm: its place in algorithms.
type Alg uint8

// AlgSet is a set of algorithms, one bit for each.
type AlgSet uint16

// algorithms is constant. `none` is not an algorithm.
var algorithms = [...]algorithm{
	{name: "ES256", method: jwt.SigningMethodES256, family: ec, curve: elliptic.P256()},
	{name: "ES384", method: jwt.SigningMethodES384, family: ec, curve: elliptic.P384()},
	{name: "ES512", method: jwt.SigningMethodES512, family: ec, curve: elliptic.P521()},
	{name: "RS256", method: jwt.SigningMethodRS256, family: rsaKey},
	{name: "RS384", method: jwt.SigningMethodRS384, family: rsaKey},
	{name: "RS512", method: jwt.SigningMethodRS512, family: rsaKey},
	{name: "PS256", method: pss(jwt.SigningMethodPS256), family: rsaKey},
	{name: "PS384", method: pss(jwt.SigningMethodPS384), family: rsaKey},
	{name: "PS512", method: pss(jwt.SigningMethodPS512), family: rsaKey},
	{name: "EdDSA", method: jwt.SigningMethodEdDSA, family: okp},
	{name: "HS256", method: jwt.SigningMethodHS256, family: hmac, secret: 32},
	{name: "HS384", method: jwt.SigningMethodHS384, family: hmac, secret: 48},
	{name: "HS512", method: jwt.SigningMethodHS512, family: hmac, secret: 64},
}

// pss demands the salt that RFC 7518 section 3.5 does: as long as the hash. golang-jwt accepts any.
func pss(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: m.SigningMethodRSA,
		Options:          m.Options,
		VerifyOptions:    &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}
}

// AlgByName compares exactly: alg is case-sensitive (RFC 7515 section 4.1.1).
func AlgByName(name string) (Alg, bool) {
	for i := range algorithms {
		if algorithms[i].name == name {
			return Alg(i), true
		}
	}
	return 0, false
}

// With returns the set and alg.
func (s AlgSet) With(alg Alg) AlgSet { return s | 1<<alg }

// Has reports whether alg is one of the set.
func (s AlgSet) Has(alg Alg) bool { return s&(1<<alg) != 0 }

// HasHMAC reports whether the set holds an algorithm with a symmetric key.
func (s AlgSet) HasHMAC() bool {
	return s&algsWhere(func(a *algorithm) bool { return a.family == hmac }) != 0
}

// AlgNames lists all algorithms, for messages.
func AlgNames() string {
	names := make([]string, len(algorithms))
	for i := range algorithms {
		names[i] = algorithms[i].name
	}
	return strings.Join(names, ", ")
}

const (
	minRSABits = 2048
	maxRSABits = 8192 // beyond it a verification is slow enough to be an attack
)

// algsOf returns the algorithms a key can be used with, or why it is refused.
func algsOf(key any) (AlgSet, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return 0, fmt.Errorf("the RSA key is empty")
		}
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return 0, fmt.Errorf("the RSA key has %d bits; %d to %d are accepted", n, minRSABits, maxRSABits)
		}
		if k.E < 3 || k.E&1 == 0 {
			return 0, fmt.Errorf("the RSA key has the unsafe exponent %d", k.E)
		}
		if roca(k.N) {
			return 0, errors.New("the RSA key was made by a chip whose keys can be factored (CVE-2017-15361): replace it")
		}
		return algsWhere(func(a *algorithm) bool { return a.family == rsaKey }), nil
	case *ecdsa.PublicKey:
		if k == nil || k.Curve == nil {
			return 0, fmt.Errorf("the EC key is empty")
		}
		set := algsWhere(func(a *algorithm) bool { return a.family == ec && a.curve == k.Curve })
		if set == 0 {
			return 0, fmt.Errorf("the curve %s is not supported", k.Curve.Params().Name)
		}
		if _, err := k.ECDH(); err != nil {
			return 0, fmt.Errorf("the EC key is not a point of its curve: %w", err)
		}
		return set, nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return 0, fmt.Errorf("the Ed25519 key has %d bytes, not %d", len(k), ed25519.PublicKeySize)
		}
		return algsWhere(func(a *algorithm) bool { return a.family == okp }), nil
	case []byte:
		set := algsWhere(func(a *algorithm) bool { return a.family == hmac && len(k) >= a.secret })
		if set == 0 {
			return 0, fmt.Errorf("the symmetric key has %d bytes; HS256 needs 32, HS384 48, HS512 64 (RFC 7518 section 3.2)", len(k))
		}
		return set, nil
	}
	return 0, fmt.Errorf("keys of type %T are not supported", key)
}

func algsWhere(fits func(*algorithm) bool) AlgSet {
	var set AlgSet
	for i := range algorithms {
		if fits(&algorithms[i]) {
			set |= 1 << i
		}
	}
	return set
}

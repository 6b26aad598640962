package verifier_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// allSigners is one signer for every asymmetric algorithm.
func allSigners(t *testing.T, rsaKey *rsa.PrivateKey) []signer {
	t.Helper()
	list := []signer{
		{"k", jwt.SigningMethodRS256, rsaKey}, {"k", jwt.SigningMethodRS384, rsaKey}, {"k", jwt.SigningMethodRS512, rsaKey},
		{"k", jwt.SigningMethodPS256, rsaKey}, {"k", jwt.SigningMethodPS384, rsaKey}, {"k", jwt.SigningMethodPS512, rsaKey},
	}
	for curve, method := range map[elliptic.Curve]jwt.SigningMethod{
		elliptic.P256(): jwt.SigningMethodES256, elliptic.P384(): jwt.SigningMethodES384, elliptic.P521(): jwt.SigningMethodES512,
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, signer{"k", method, key})
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return append(list, signer{"k", jwt.SigningMethodEdDSA, key})
}

func unb64(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// mirrored turns (r, s) into (r, n − s), which is as valid.
func mirrored(sig []byte) string {
	half := len(sig) / 2
	s := new(big.Int).SetBytes(sig[half:])
	s.Sub(elliptic.P256().Params().N, s)
	out := append([]byte(nil), sig...)
	s.FillBytes(out[half:])
	return base64.RawURLEncoding.EncodeToString(out)
}

package jws_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"strings"
	"testing"

	"github.com/quash-auth/quash/internal/jws"
)

// TestSalt: RFC 7518 section 3.5 leaves no choice of the salt's length.
func TestSalt(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jws.NewKey("", "PS256", &private.PublicKey, all)
	if err != nil {
		t.Fatal(err)
	}
	ps256, _ := jws.AlgByName("PS256")
	sum := sha256.Sum256([]byte("a.b"))
	for _, salt := range []int{1, 20, 31, 32, 33, 222} {
		signature, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Verify(ps256, "a.b", signature); (err == nil) != (salt == 32) {
			t.Errorf("a salt of %d bytes: got %v", salt, err)
		}
	}
}

// TestROCA: a modulus that is a power of 65537 modulo all small primes is refused, its neighbour is not.
func TestROCA(t *testing.T) {
	t.Parallel()
	product := big.NewInt(1)
	for p := int64(3); p <= 167; p += 2 {
		if n := big.NewInt(p); n.ProbablyPrime(0) {
			product.Mul(product, n)
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(12345), product)
	n.Add(n, new(big.Int).Mul(product, new(big.Int).Rsh(new(big.Int).Lsh(big.NewInt(1), 2047), uint(product.BitLen()-2))))
	if _, err := jws.NewKey("", "", &rsa.PublicKey{N: n, E: 65537}, all); n.BitLen() < 2048 || err == nil || !strings.Contains(err.Error(), "CVE-2017-15361") {
		t.Errorf("%d bits: got %v", n.BitLen(), err)
	}
	n.Add(n, big.NewInt(2))
	if _, err := jws.NewKey("", "", &rsa.PublicKey{N: n, E: 65537}, all); err != nil {
		t.Errorf("another modulus: got %v", err)
	}
}
